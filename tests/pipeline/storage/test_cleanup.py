"""Removal of temporary files that killed processes left in a workspace."""

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
def ended_process_id():
    """The id of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def write_stale_files(workspace, number):
    """Write temporary files of a process with this id, and return what `list_stale_files` should list, sorted."""
    in_folders = [workspace / ".temporary" / "x", workspace / "datasets" / ".scratch-a" / "x"]
    named = [workspace / name / f".x.{number}.abc.tmp" for name in ("datasets/a", "reports/pages")]
    for path in (*in_folders, *named):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    return sorted([*(path.parent for path in in_folders), *named])


def test_stale_files_are_listed_and_removed(ended_process_id, tmp_path):
    stale = write_stale_files(tmp_path, ended_process_id)
    assert sorted(list_stale_files(tmp_path)) == stale
    remove_stale_files(tmp_path)
    assert not list_stale_files(tmp_path)


def test_temporary_files_of_another_live_process_are_kept(tmp_path):
    stale = write_stale_files(tmp_path, os.getppid())
    remove_stale_files(tmp_path)
    assert sorted(list_stale_files(tmp_path)) == stale[2:]
    same_id = tmp_path / "datasets" / "a" / f".x.{os.getpid()}.abc.tmp"  # containers reuse process ids
    same_id.write_bytes(b"half")
    remove_stale_files(tmp_path)
    assert not same_id.exists()


def test_locking_removes_stale_files_only_if_a_note_was_left(ended_process_id, tmp_path):
    stale = write_stale_files(tmp_path, ended_process_id)
    with lock_workspace(tmp_path):
        assert sorted(list_stale_files(tmp_path)) == stale  # there is no note of a killed process
    (tmp_path / NOTE).write_bytes(b"{}")
    with lock_workspace(tmp_path, clears=False):
        assert sorted(verify(find_scope(tmp_path)).leftovers) == stale
    assert (tmp_path / NOTE).exists()
    with lock_workspace(tmp_path):
        assert not list_stale_files(tmp_path)
    assert not (tmp_path / NOTE).exists()


@pytest.mark.parametrize(
    ("problem", "is_kept"), [(StorageFailed("full"), True), (OSError(), True), (ValueError(), False)]
)
def test_the_note_is_kept_after_a_storage_failure(problem, is_kept, tmp_path):
    def fail_while_locked():
        with lock_workspace(tmp_path):
            raise problem

    with pytest.raises(type(problem)):
        fail_while_locked()
    assert (tmp_path / NOTE).exists() == is_kept


def test_writing_without_the_lock_removes_stale_files_of_the_same_name_only(ended_process_id, tmp_path):
    stale = tmp_path / f".x.{ended_process_id}.abc.tmp"
    stale_of_y = tmp_path / f".y.{ended_process_id}.abc.tmp"
    for path in (stale, stale_of_y):
        path.write_bytes(b"half")
    write_without_lock(tmp_path / "x", b"whole")
    assert sorted(tmp_path.iterdir()) == [stale_of_y, tmp_path / "x"]
    with create_folder_atomically(tmp_path / "y"):
        pass
    assert sorted(tmp_path.iterdir()) == [tmp_path / "x", tmp_path / "y"]
