"""The failpoint of `pipeline.failpoint`; what it is for is in tests/faults."""

import pytest

from model.errors import StorageFailed
from pipeline import failpoint, storage
from tests.helpers import backbeam


@pytest.fixture
def arm():
    yield lambda text: failpoint.arm({failpoint.VARIABLE: text})
    failpoint.arm({})


@pytest.mark.parametrize("text", ["", "0:kill", "1", "x:EIO", "1:EPERM", "1-:EIO", "-1:EIO", "count:", "1:EIO:"])
def test_what_is_no_failpoint_is_refused(text, tmp_path):
    done = backbeam("recipes", environment={failpoint.VARIABLE: text})
    assert (done.code, done.out) == (2, "")
    assert f"{failpoint.VARIABLE}={text!r}: expected N:MODE" in done.err


def test_the_nth_operation_fails_and_no_other(arm, tmp_path):
    path, listed = tmp_path / "x", tmp_path / "listed"
    arm(f"3:EIO:{listed}")
    with pytest.raises(StorageFailed, match=r"cannot write .*: Input/output error"):
        storage.write_atomically(path, b"torn")
    assert [line.split()[1] for line in listed.read_text().splitlines()] == ["create", "write", "write", "delete"]
    assert not list(tmp_path.glob(".*"))
    storage.write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_every_operation_from_the_nth_on_fails(arm, tmp_path):
    arm("3+:ENOSPC")
    with pytest.raises(StorageFailed, match=r"cannot write .*: No space left"):  # not that it cannot be deleted
        storage.write_atomically(tmp_path / "x", b"torn")
    [left] = tmp_path.glob(".*")
    assert left.read_bytes() == b"to"


def test_unarmed_nothing_is_counted(arm, tmp_path):
    arm(f"count:{tmp_path / 'listed'}")
    failpoint.arm({})
    storage.write_atomically(tmp_path / "x", b"whole")
    assert not (tmp_path / "listed").exists()
    assert failpoint.pieces(b"whole") == (b"whole",)


def test_it_is_of_this_process_alone():
    environment = {failpoint.VARIABLE: "count"}
    failpoint.arm(environment)
    failpoint.arm({})
    assert environment == {}
