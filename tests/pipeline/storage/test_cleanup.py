"""What killed processes leave is cleared away by the next that writes, and by no other."""

import os
import subprocess
import sys

import pytest

from model.errors import StorageFailed
from pipeline.maintenance.verify import find_scope, verify
from pipeline.storage.cleanup import list_stale_files, remove_stale_files
from pipeline.storage.files import create_folder_atomically, write_without_lock
from pipeline.storage.lock import lock_workspace

NOTE = ".lock-holder.json"


@pytest.fixture
def gone():
    """The number of a process that is no more."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def leave(workspace, number):
    """Leave what a killed process would, and return it."""
    places = [workspace / ".temporary" / "x", workspace / "datasets" / ".scratch-a" / "x"]
    places += [workspace / name / f".x.{number}.abc.tmp" for name in ("datasets/a", "reports/pages")]
    for place in places:
        place.parent.mkdir(parents=True)
        place.write_bytes(b"half")
    return sorted((places[0].parent, places[1].parent, *places[2:]))


def test_stale_files_are_listed_and_removed(gone, tmp_path):
    left = leave(tmp_path, gone)
    assert sorted(list_stale_files(tmp_path)) == left
    remove_stale_files(tmp_path)
    assert not list_stale_files(tmp_path)


def test_temporary_files_of_another_live_process_are_kept(tmp_path):
    left = leave(tmp_path, os.getppid())
    remove_stale_files(tmp_path)
    assert sorted(list_stale_files(tmp_path)) == left[2:]
    other = tmp_path / "datasets" / "a" / f".x.{os.getpid()}.abc.tmp"  # a container's processes have the same number
    other.write_bytes(b"half")
    remove_stale_files(tmp_path)
    assert not other.exists()


def test_locking_removes_stale_files_only_if_a_note_was_left(gone, tmp_path):
    left = leave(tmp_path, gone)
    with lock_workspace(tmp_path):
        assert sorted(list_stale_files(tmp_path)) == left  # no note says that anybody was killed
    (tmp_path / NOTE).write_bytes(b"{}")
    with lock_workspace(tmp_path, clears=False):
        assert sorted(verify(find_scope(tmp_path)).leftovers) == left
    assert (tmp_path / NOTE).exists()
    with lock_workspace(tmp_path):
        assert not list_stale_files(tmp_path)
    assert not (tmp_path / NOTE).exists()


@pytest.mark.parametrize(
    ("problem", "stays"), [(StorageFailed("full"), True), (OSError(), True), (ValueError(), False)]
)
def test_the_note_is_kept_after_a_storage_failure(problem, stays, tmp_path):
    def work():
        with lock_workspace(tmp_path):
            raise problem

    with pytest.raises(type(problem)):
        work()
    assert (tmp_path / NOTE).exists() == stays


def test_writing_without_the_lock_removes_stale_files_of_the_same_name_only(gone, tmp_path):
    mine, another = tmp_path / f".x.{gone}.abc.tmp", tmp_path / f".y.{gone}.abc.tmp"
    for path in (mine, another):
        path.write_bytes(b"half")
    write_without_lock(tmp_path / "x", b"whole")
    assert sorted(tmp_path.iterdir()) == [another, tmp_path / "x"]
    with create_folder_atomically(tmp_path / "y"):
        pass
    assert sorted(tmp_path.iterdir()) == [tmp_path / "x", tmp_path / "y"]
