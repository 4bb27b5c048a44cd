"""Atomic writes, verified reads and cleanup, on the disk and in a store."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from unittest.mock import Mock

import pytest

from model.errors import BadUsage, CorruptArtefact, EngineFailed, StorageFailed
from pipeline.storage.files import (
    check_files_exist,
    create_folder_atomically,
    digest_of,
    remove_on_failure,
    remove_tree,
    write_atomically,
    write_if_absent,
)
from pipeline.storage.places import RemotePath
from pipeline.storage.records import FileInfo
from tests.helpers import contents


@pytest.fixture(params=["disk", "store"])
def place(request, tmp_path, memory):
    """The place of a file that does not exist yet, whose folder does not exist either."""
    return tmp_path / "a" / "x" if request.param == "disk" else RemotePath("memory://b/a/x")


def written(tmp_path, memory):
    """Return the content of all files, on the disk and in the store, by name."""
    return contents(tmp_path) | {uri.removeprefix("memory://b/"): data for uri, data in memory.items()}


@pytest.mark.parametrize(
    ("write", "exists"), [(write_atomically, False), (write_atomically, True), (write_if_absent, False)]
)
def test_a_failed_write_changes_nothing(write, exists, place, tmp_path, memory):
    def failing_chunks():
        yield b"new"
        raise OSError("disk full")

    if exists:
        write_atomically(place, b"old")
    with pytest.raises(OSError, match="disk full"):
        write(place, failing_chunks())
    assert written(tmp_path, memory) == ({"a/x": b"old"} if exists else {})


def test_a_write_creates_folders_and_replaces_a_file(place, tmp_path, memory):
    write_atomically(place, b"old")
    write_atomically(place, [b"n", b"ew"])
    assert written(tmp_path, memory) == {"a/x": b"new"}
    write_atomically(place, b"")
    assert written(tmp_path, memory) == {"a/x": b""}


def test_a_new_file_never_replaces_one(place, tmp_path, memory):
    assert write_if_absent(place, [b"n", b"ew"])
    assert not write_if_absent(place, b"another")
    assert written(tmp_path, memory) == {"a/x": b"new"}


def test_exactly_one_of_several_writers_writes_each_absent_file(tmp_path):
    start = Barrier(6)

    def race(number):
        start.wait()
        return sum(write_if_absent(tmp_path / str(name), b"%d" % number) for name in range(50))

    with ThreadPoolExecutor(6) as pool:
        num_won = list(pool.map(race, range(6)))
    files = list(contents(tmp_path).values())
    assert len(files) == 50
    assert [files.count(b"%d" % number) for number in range(6)] == num_won


def test_a_file_that_matches_its_record_is_read(place):
    write_atomically(place, b"abc")
    info = FileInfo(name="x", num_bytes=3, sha256=digest_of(b"abc"))
    assert FileInfo.of(place) == info
    info.check(place.parent)
    assert info.read(place.parent) == b"abc"


@pytest.mark.parametrize(
    ("data", "message"), [(b"abcd", "expected 3 bytes, found 4"), (b"abd", "expected .* SHA-256"), (None, "missing")]
)
@pytest.mark.parametrize("check", [FileInfo.check, FileInfo.read])
def test_a_file_that_does_not_match_its_record_is_corrupt(data, message, check, tmp_path):
    if data is not None:
        (tmp_path / "x").write_bytes(data)
    info = FileInfo(name="x", num_bytes=3, sha256=digest_of(b"abc"))
    with pytest.raises(CorruptArtefact, match=f"{tmp_path / 'x'} is .*{message}"):
        check(info, tmp_path)


@pytest.mark.parametrize("complete", [True, False])
def test_files_are_kept_on_failure_once_their_record_exists(complete, tmp_path):
    folder, record = tmp_path / "tables", tmp_path / "record.json"
    folder.mkdir()

    def interrupt():
        with remove_on_failure(folder, record=record):
            if complete:
                record.write_bytes(b"{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert folder.exists() == complete


def test_deleting_a_folder_does_not_follow_links(tmp_path):
    write_atomically(tmp_path / "elsewhere" / "kept", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_atomically(tmp_path / "folder" / "file", b"y")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="link to a folder elsewhere"):
        remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "folder")
    assert contents(tmp_path / "elsewhere") == {"kept": b"x"}
    assert not (tmp_path / "folder").exists()


def test_missing_files_are_found_before_a_record_names_them(tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    check_files_exist(tmp_path, ["one"])
    for folder, missing in ((tmp_path, "two"), (tmp_path / "cleared", "one")):
        with pytest.raises(EngineFailed, match=f"{missing} is gone: the job was given up"):
            check_files_exist(folder, ["one", "two"])


def write_folder(target, meanwhile):
    with create_folder_atomically(target) as folder:
        (folder / "file").write_bytes(b"written")
        meanwhile()


@pytest.mark.parametrize("problem", [OSError, KeyboardInterrupt])
def test_failed_folder_leaves_nothing(problem, tmp_path):
    with pytest.raises(problem):
        write_folder(tmp_path / "target", Mock(side_effect=problem))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_another_process_finished_first_is_kept(tmp_path):
    target = tmp_path / "target"
    with pytest.raises(BadUsage, match="exists"):
        write_folder(target, lambda: write_atomically(target / "second", b"done"))
    assert contents(tmp_path) == {"target/second": b"done"}
