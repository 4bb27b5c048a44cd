"""`ObjectStore` against emulators of the three stores, and the translation of errors."""

import io
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from model.errors import BadUsage, StorageFailed
from pipeline import processes
from pipeline.storage import object_store
from pipeline.storage.object_store import find_store, open_remote
from tests.emulators import BUCKET, SECRET, Amazon, amazon, azure, google, wire
from tests.helpers import free_addresses

LARGE = bytes(range(256)) * (44 * 2**10)  # 11 MiB
UNUSUAL = b"an unusual content"
NO_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_ACCOUNT_KEY"),
)

SECRETS = {
    "AWS_ACCESS_KEY_ID": "an-identity",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET,
    "AZURE_STORAGE_ACCOUNT_NAME": "name",
    "AZURE_STORAGE_SAS_TOKEN": f"sv=1&sig={SECRET}",
}


class FailingFile(io.BytesIO):
    """A file that cannot be read to its end."""

    def read(self, size=-1, /):
        if size < 0 or self.tell() + size > len(self.getbuffer()) // 2:
            raise OSError("the disk failed")
        return super().read(size)


@pytest.fixture(scope="module", params=[amazon, google, azure])
def started(request, tmp_path_factory):
    with request.param(tmp_path_factory.mktemp("emulator")) as emulated:
        yield emulated


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Remove credentials from the environment, and clear the cache of clients after the test."""
    for name in NO_CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    yield
    object_store._open.cache_clear()


@pytest.fixture
def emulated(started, monkeypatch):
    set_environment(monkeypatch, started.environment)
    monkeypatch.setattr(object_store, "_PART_BYTES", 5 * 2**20)  # S3 takes no smaller parts
    return started


@pytest.fixture
def uri(emulated, request):
    """A URI for this test only."""
    return emulated.uri(request.node.name.partition("[")[0])


def set_environment(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    object_store._open.cache_clear()


def test_a_multipart_upload_is_atomic(emulated, uri):
    store = find_store(uri)
    with pytest.raises(StorageFailed, match="the data to upload cannot be read"):
        store.put(f"{uri}/object", FailingFile(LARGE), len(LARGE))
    assert store.size(f"{uri}/object") is None
    assert list(store.walk(uri)) == []
    if isinstance(emulated, Amazon):
        assert not emulated.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    store.put(f"{uri}/object", io.BytesIO(LARGE), len(LARGE))
    assert store.size(f"{uri}/object") == len(LARGE)
    assert store.read(f"{uri}/object") == LARGE
    assert store.read(f"{uri}/object", 2**22 - 1, 3) == LARGE[2**22 - 1 :][:3]
    assert store.read(f"{uri}/object", 2**23) == LARGE[2**23 :]


def test_reading_past_the_end_returns_the_existing_bytes(uri):
    store = find_store(uri)
    for data, reads in ((b"short", [b"shor", b"rt", b"", b""]), (b"", [b""] * 4)):
        store.put(uri, io.BytesIO(data), len(data))
        assert [store.read(uri, start, 4) for start in (0, 3, 5, 9)] == reads
        assert (store.read(uri), store.size(uri)) == (data, len(data))


def test_object_names_may_contain_any_characters(emulated, uri):
    store = find_store(uri)
    names = ["a b", "ü%20é", "x?y#z", "a+b&c=d", "~(*)'!"]
    for name in names:
        store.put(f"{uri}/{name}", io.BytesIO(name.encode()), len(name.encode()))
    folder = uri.rpartition("/")[2]
    assert emulated.contents(folder) == {name: name.encode() for name in names}
    assert sorted(store.walk(uri)) == sorted(f"{uri}/{name}" for name in names)
    assert sorted(store.list_folder(uri)[0]) == sorted(store.walk(uri))
    assert [store.read(f"{uri}/{name}") for name in names] == [name.encode() for name in names]
    store.delete([f"{uri}/missing", *store.walk(uri), f"{uri}/missing too"])
    assert emulated.names(folder) == []


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_exactly_one_of_several_concurrent_new_objects_is_written(uri, size):
    store = find_store(uri)
    place = f"{uri}/{size}"
    with ThreadPoolExecutor(6) as pool:
        contents = [LARGE[number : size - 1] for number in range(6)]
        won = list(pool.map(lambda content: store.put_new(place, io.BytesIO(content), len(content)), contents))
    assert sum(won) == 1
    written = contents[won.index(True)]
    assert not store.put_new(place, io.BytesIO(written), len(written))
    assert store.read(place) == written


def test_exactly_one_replacement_of_a_version_succeeds(uri):
    store = find_store(uri)
    assert store.read_version(uri) is None
    assert not store.replace(uri, b"first", "1")
    assert store.put_new(uri, io.BytesIO(b"first"), 5)
    data, version = store.read_version(uri)
    assert data == b"first"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.replace(uri, b"%d" % number, version), range(24)))
    assert sum(won) == 1
    assert store.read(uri) == b"%d" % won.index(True)
    assert not store.replace(uri, b"late", version)


def test_a_write_whose_answer_is_lost_counts_as_written(emulated, uri, monkeypatch):
    with wire(emulated, UNUSUAL, 0, "unheard") as broken:
        set_environment(monkeypatch, emulated.reached_by(broken.address))
        store = find_store(uri)
        assert store.put_new(uri, io.BytesIO(UNUSUAL), len(UNUSUAL))
        assert broken.broken.is_set()
        assert not store.put_new(uri, io.BytesIO(UNUSUAL), len(UNUSUAL))


def test_content_of_another_process_after_a_lost_answer_does_not_count(emulated, uri, monkeypatch):
    """The answer to the first attempt is lost; another process writes an object of equal size before the second."""
    with wire(emulated, UNUSUAL, 0, "once") as broken:
        set_environment(monkeypatch, emulated.reached_by(broken.address))
        monkeypatch.setattr(time, "sleep", lambda _: emulated.put(uri.rpartition("/")[2], UNUSUAL[::-1]))
        assert not find_store(uri).put_new(uri, io.BytesIO(UNUSUAL), len(UNUSUAL))
        assert broken.broken.is_set()
    assert emulated.get(uri.rpartition("/")[2]) == UNUSUAL[::-1]


def test_an_interrupted_download_is_retried(emulated, uri, monkeypatch):
    emulated.put(uri.rpartition("/")[2], LARGE)
    with wire(emulated, b"GET /", 0, "halved") as broken:
        set_environment(monkeypatch, emulated.reached_by(broken.address))
        assert find_store(uri).read(uri) == LARGE
        assert broken.broken.is_set()


def test_a_stream_reads_one_state_of_an_object(emulated, uri):
    store = find_store(uri)
    store.put(uri, io.BytesIO(LARGE), len(LARGE))
    with open_remote(uri) as stream:
        assert stream.read(2**22) == LARGE[: 2**22]
        store.put(uri, io.BytesIO(LARGE[::-1]), len(LARGE))
        with pytest.raises(StorageFailed, match="replaced while it was read"):
            stream.read()


def test_a_missing_bucket_is_a_storage_failure(emulated):
    uri = f"{emulated.scheme}://no-such-bucket/folder/x"
    store = find_store(uri)
    for work in (
        lambda: store.put(uri, io.BytesIO(b"x"), 1),
        lambda: store.put(uri, io.BytesIO(LARGE), len(LARGE)),
        lambda: store.put_new(uri, io.BytesIO(b"x"), 1),
        lambda: list(store.walk(uri)),
        lambda: store.list_folder(uri),
        lambda: store.delete([uri]),
    ):
        with pytest.raises(StorageFailed, match=f"storage: {uri}: there is no bucket or container of that name"):
            work()


def test_a_signal_ends_a_request_without_an_answer(emulated, uri, monkeypatch):
    def exit_on_signal(*_):
        raise SystemExit(143)

    monkeypatch.setattr(processes, "ENDING_SECONDS", 0.01)
    before = signal.signal(signal.SIGALRM, exit_on_signal)
    with wire(emulated, UNUSUAL, 0, "silent") as broken:
        set_environment(monkeypatch, emulated.reached_by(broken.address))
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        began = time.monotonic()
        with pytest.raises(SystemExit):
            find_store(uri).put(uri, io.BytesIO(UNUSUAL), len(UNUSUAL))
        assert time.monotonic() - began < object_store._ANSWER_SECONDS / 2
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("scheme", "first", "profile"),
    [
        ("s3", "AWS_ACCESS_KEY_ID", {"AWS_PROFILE": "unknown"}),
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS", {}),
        ("az", "AZURE_STORAGE_ACCOUNT_NAME", {}),
    ],
)
def test_missing_credentials_are_named(scheme, first, profile, tmp_path, monkeypatch):
    [unused] = free_addresses(1)  # replaces the metadata server that gives credentials
    environment = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AZURE_STORAGE_ACCOUNT_NAME": "name"}
    environment |= {"GCE_METADATA_HOST": unused, "GCE_METADATA_IP": unused}
    environment |= {"AZURE_MSI_ENDPOINT": f"http://{unused}/token", "AWS_CONFIG_FILE": str(tmp_path / "none")}
    set_environment(monkeypatch, environment | profile)
    monkeypatch.setitem(object_store._RETRIES, "retry_timeout", timedelta(0))
    uri = f"{scheme}://bucket/name"
    with pytest.raises(StorageFailed, match=f"{uri}: no credentials that can be used: set {first}"):
        find_store(uri).size(uri)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_no_secret_is_in_a_message(scheme, tmp_path, monkeypatch):
    [unused] = free_addresses(1)
    (tmp_path / "key.json").write_text(f'{{"type": "{SECRET}"}}')
    monkeypatch.setitem(object_store._RETRIES, "retry_timeout", timedelta(0))
    unreachable = [{name: f"http://user:{SECRET}@{unused}/"} for name in object_store._ENDPOINTS[scheme]]
    for changed in [*unreachable, {"GOOGLE_APPLICATION_CREDENTIALS": SECRET} if scheme == "gs" else {}]:
        with monkeypatch.context() as patched:
            patched.setattr(time, "sleep", lambda _: None)
            set_environment(patched, SECRETS | {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")} | changed)
            uri = f"{scheme}://bucket/name"
            if not changed:
                patched.setenv(object_store._ENDPOINTS[scheme][0], f"http://{unused}")
            with pytest.raises(StorageFailed) as failed:
                find_store(uri).put_new(uri, io.BytesIO(b"x"), 1)
        assert uri in str(failed.value)
        assert SECRET not in str(failed.value)


def test_a_profile_gives_credentials(tmp_path, monkeypatch):
    (tmp_path / "credentials").write_text("[ours]\naws_access_key_id=an-identity\naws_secret_access_key=a-secret\n")
    profile = {"AWS_PROFILE": "ours", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    with amazon(tmp_path) as store:
        set_environment(monkeypatch, profile | {"AWS_ENDPOINT_URL_S3": f"http://{store.address}"})
        find_store(store.uri("x")).put(store.uri("x"), io.BytesIO(b"x"), 1)
        assert store.get("x") == b"x"


def test_a_profile_needs_boto3(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "ours")
    monkeypatch.setattr(object_store, "find_spec", lambda name: None)
    with pytest.raises(BadUsage, match=r"AWS_PROFILE is set, and needs boto3: pip install 'backbeam\[aws\]'"):
        find_store("s3://bucket/x").size("s3://bucket/x")
