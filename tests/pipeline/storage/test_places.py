import pickle
import posixpath
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import BadUsage
from pipeline.storage.files import file_size, open_binary, read_range, remove_file, remove_tree
from pipeline.storage.object_store import RemoteStream
from pipeline.storage.places import RemotePath, is_remote, list_once, place_of

NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


def test_empty_name_is_refused():
    with pytest.raises(BadUsage, match=r"is empty: write one, or \. for the current folder"):
        place_of("")


@given(NAMES, st.lists(NAMES, min_size=1, max_size=5), NAMES)
def test_names_and_joins_equal_those_of_paths(bucket, names, new_name):
    remote = RemotePath(f"s3://{bucket}")
    local = PurePosixPath(f"/{bucket}")
    for name in names:
        remote = remote / name
        local = local / name
    assert str(remote) == "s3:/" + posixpath.join("/", bucket, *names)
    assert (remote.name, remote.stem) == (local.name, local.stem)
    assert str(remote.parent) == f"s3:/{local.parent}"
    assert remote.with_name(new_name) == remote.parent / new_name
    assert (remote.parent / remote.name) == remote == place_of(str(remote)) == pickle.loads(pickle.dumps(remote))  # noqa: S301
    assert place_of(f"{remote}//") == remote
    assert is_remote(str(remote))


@pytest.mark.parametrize("uri", ["s3://", "s3:///name", "s3://bucket//name", "s3://bucket/../other", "s3://bucket/."])
def test_malformed_uris_are_rejected(uri):
    with pytest.raises(BadUsage, match="expected SCHEME://BUCKET/NAME"):
        place_of(uri)
    with pytest.raises(BadUsage):
        _ = RemotePath("s3://bucket").parent


def test_text_without_a_scheme_is_a_local_path():
    assert place_of("a/b") == place_of(Path("a/b")) == Path("a/b")
    with pytest.raises(BadUsage, match=r"there is no store for hdfs://; expected s3://, gs:// or az://"):
        RemotePath("hdfs://bucket/name").exists()


@pytest.fixture
def two_folders(memory):
    """Objects in two folders, a-1 and a-10."""
    memory.update({f"memory://b/ws/{folder}/{name}": b"x" for folder in ("a-1", "a-10") for name in ("m.json", "s")})
    return memory


def test_deleting_a_folder_keeps_folders_with_a_longer_name(two_folders):
    remove_tree(RemotePath("memory://b/ws/a-1"))
    assert set(two_folders) == {"memory://b/ws/a-10/m.json", "memory://b/ws/a-10/s"}


def test_glob_and_existence_of_objects_and_folders(two_folders):
    place = RemotePath("memory://b/ws")
    assert {str(path) for path in place.glob("*/m.json")} == {"memory://b/ws/a-1/m.json", "memory://b/ws/a-10/m.json"}
    assert list(place.glob("m.json")) == []
    assert {str(path) for path in (place / "a-1").glob("m*")} == {"memory://b/ws/a-1/m.json"}
    assert place.list_children() == [place / "a-1", place / "a-10"]
    assert RemotePath("memory://b").list_children() == [place]
    assert place.is_dir()
    assert not place.exists()
    assert not RemotePath("memory://b/ws/a").is_dir()
    assert (place / "a-1" / "s").is_file()


def test_listed_folder_keeps_what_the_store_listed_first(two_folders):
    place = list_once(RemotePath("memory://b/ws"))
    assert place.is_dir()
    two_folders.clear()
    assert {str(path) for path in place.glob("a-1/*")} == {"memory://b/ws/a-1/m.json", "memory://b/ws/a-1/s"}
    assert list(place.glob("*")) == []
    assert list_once(place) is place
    assert list_once(Path("a")) == Path("a")


def test_reading_a_missing_object_raises_and_deleting_it_does_not(memory):
    place = RemotePath("memory://b/x")
    for read in (place.read_bytes, lambda: file_size(place), lambda: open_binary(place)):
        with pytest.raises(FileNotFoundError, match="memory://b/x"):
            read()
    remove_file(place)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # every example puts its own object
@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=6))
def test_a_stream_reads_the_bytes_of_any_range(memory, data, reads):
    memory["memory://b/x"] = data
    place = RemotePath("memory://b/x")
    with RemoteStream(place.uri, len(data)) as stream:
        for start, count in reads:
            stream.seek(start)
            assert stream.read(count) == data[start : start + count]
            assert read_range(place, start, count) == data[start : start + count]
    with open_binary(place) as stream:
        assert stream.read() == data
