"""Failpoints, with single operations of `pipeline.storage.files`."""

import pytest

from model.errors import StorageFailed
from pipeline.storage import local_disk as disk
from pipeline.storage.files import write_atomically
from tests.faults.failpoint import Failpoint


def test_only_the_nth_operation_fails(monkeypatch, tmp_path):
    path = tmp_path / "x"
    log = tmp_path / "operations"
    monkeypatch.setattr(disk, "hook", Failpoint(f"3:EIO:{log}"))
    with pytest.raises(StorageFailed, match=r"cannot write .*: Input/output error"):
        write_atomically(path, b"torn")
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["create", "write", "write", "delete"]
    assert not list(tmp_path.glob(".*"))
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_every_operation_from_the_nth_on_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(disk, "hook", Failpoint("3+:ENOSPC"))
    with pytest.raises(StorageFailed, match=r"cannot write .*: No space left"):  # not the later error of the cleanup
        write_atomically(tmp_path / "x", b"torn")
    [left] = tmp_path.glob(".*")
    assert left.read_bytes() == b"to"
