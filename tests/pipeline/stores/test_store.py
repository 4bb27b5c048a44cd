import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from model.errors import StorageFailed
from pipeline.stores import amazon as store_s3
from pipeline.stores import store as stores
from pipeline.stores.store import find_store
from tests.emulators import BUCKET, Amazon, amazon, google, wire

LARGE = bytes(range(256)) * (80 * 2**10)  # 20 MiB


class Breaks(io.BytesIO):
    """A file that cannot be read to its end."""

    def read(self, size=-1, /):
        if size < 0 or self.tell() + size > len(self.getbuffer()) // 2:
            raise OSError("the disk failed")
        return super().read(size)


@pytest.fixture(params=[amazon, google])
def emulated(request, tmp_path, monkeypatch):
    with request.param(tmp_path) as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(store_s3, "_ONE_REQUEST", 2**20)
        stores._open_store.cache_clear()
        yield started
        find_store(started.uri("x"))._client.close()
        stores._open_store.cache_clear()


def test_an_object_in_parts_is_put_whole_or_not_at_all(emulated):
    store, uri = find_store(emulated.uri("x")), emulated.uri("large/object")
    with pytest.raises((OSError, StorageFailed)):
        store.put(uri, Breaks(LARGE), len(LARGE))
    assert store.size(uri) is None
    assert list(store.walk(emulated.uri("large"))) == []
    if isinstance(emulated, Amazon):
        assert "Uploads" not in emulated.client.list_multipart_uploads(Bucket=BUCKET)
    store.put(uri, io.BytesIO(LARGE), len(LARGE))
    assert store.size(uri) == len(LARGE)
    assert store.read(uri) == LARGE
    assert store.read(uri, 2**23 - 1, 3) == LARGE[2**23 - 1 :][:3]
    assert store.read(uri, len(LARGE)) == b""


def test_a_new_object_never_replaces_one(emulated):
    store = find_store(emulated.uri("x"))
    for name, size in (("small", 10), ("large", len(LARGE))):
        uri = emulated.uri(name)
        assert store.put_new(uri, io.BytesIO(LARGE[:size]), size)
        assert not store.put_new(uri, io.BytesIO(LARGE[1:size]), size - 1)
        assert not store.put_new(uri, io.BytesIO(LARGE[:size]), size)
        assert store.read(uri) == LARGE[:size]
    if isinstance(emulated, Amazon):
        assert "Uploads" not in emulated.client.list_multipart_uploads(Bucket=BUCKET)


def test_only_the_version_that_was_read_is_replaced(emulated):
    store, uri = find_store(emulated.uri("x")), emulated.uri("lock")
    assert store.read_version(uri) is None
    assert not store.replace(uri, b"first", "1")
    assert store.put_new(uri, io.BytesIO(b"first"), 5)
    data, version = store.read_version(uri)
    assert data == b"first"
    assert store.replace(uri, b"second", version)
    assert not store.replace(uri, b"third", version)
    assert store.read(uri) == b"second"


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_of_many_that_put_at_once_one_does(emulated, size):
    store, uri = find_store(emulated.uri("x")), emulated.uri("raced")
    with ThreadPoolExecutor(6) as pool:
        contents = [LARGE[number : size - 1] for number in range(6)]
        won = list(pool.map(lambda content: store.put_new(uri, io.BytesIO(content), len(content)), contents))
    assert sum(won) == 1
    assert store.read(uri) == contents[won.index(True)]


def test_a_put_whose_answer_is_lost_was_ours(emulated, monkeypatch):
    with wire(emulated, b"an unusual content", 0, "unheard") as broken:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{broken.address}")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{broken.address}")
        store, uri = find_store(emulated.uri("x")), emulated.uri("ours")
        assert store.put_new(uri, io.BytesIO(b"an unusual content"), 18)
        assert broken.broken.is_set()
        assert not store.put_new(uri, io.BytesIO(b"an unusual content"), 18)


@pytest.mark.slow
def test_more_objects_than_a_listing_gives_at_once(emulated):
    store, folder = find_store(emulated.uri("x")), emulated.uri("many")
    uris = [f"{folder}/{number:04}" for number in range(1001 if isinstance(emulated, Amazon) else 20)]
    for uri in uris:
        store.put(uri, io.BytesIO(b""), 0)
    store.put(f"{folder}0/other", io.BytesIO(b"x"), 1)
    assert sorted(store.walk(folder)) == uris
    store.delete(store.walk(folder))
    assert list(store.walk(folder)) == []
    store.delete(uris[:1])
    assert store.read(f"{folder}0/other") == b"x"
