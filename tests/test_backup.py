"""Backups by the commands of docs/operations.md: a workspace that was lost is restored, is sound, and goes on."""

import fcntl
import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.storage.lock import lock_workspace
from tests.helpers import contents, run_in_one_process, run_in_process
from tests.page_scripts import find_script, run_script

find = partial(find_script, "operations.md", "Backup and restore")
LOCKED = find("flock --timeout 3600 backbeam-workspace/.lock tar -cf backup.tar")
ORDERED = find("for part in")
SMALL = find("--exclude='*.tfrecord'")
RESTORE = find("tar -xf backup.tar")

WORKSPACE = "backbeam-workspace"


class Place(NamedTuple):
    """A folder with a workspace of the page's name, and the folders of its sources."""

    folder: Path
    sources: Path

    @property
    def workspace(self) -> Path:
        return self.folder / WORKSPACE


@pytest.fixture
def place(everything, tmp_path):
    shutil.copytree(everything / "ws", tmp_path / WORKSPACE)
    return Place(tmp_path, everything)


@pytest.mark.thorough
@pytest.mark.parametrize("backup", [LOCKED, ORDERED], ids=["locked", "ordered"])
def test_a_lost_workspace_is_restored(backup, place):
    before = contents(place.workspace)
    run_script(backup, place.folder)
    shutil.rmtree(place.workspace)
    assert "all sound" in run_script(RESTORE, place.folder)
    assert contents(place.workspace) == before


@pytest.mark.thorough
def test_a_restored_workspace_goes_on(place):
    run_script(LOCKED, place.folder)
    shutil.rmtree(place.workspace)
    run_script("tar -xf backup.tar", place.folder)
    where = ("--workspace", place.workspace, "--json")
    images = place.sources / "digits" / "t10k-images-idx3-ubyte"
    retraining = ("--dataset", place.sources / "others", "--num-steps", 20, "--seed")
    runs, champion, predicted, unchanged, retrained, verified = run_in_one_process(
        ("runs", *where),
        ("champion", *where),
        ("predict", images, "--run", "champion", *where),
        ("retrain", *where, *retraining, 3),
        ("retrain", *where, *retraining, 4),
        ("verify", *where),
    )
    assert {done.code for done in (runs, champion, predicted, unchanged, retrained, verified)} == {0}, retrained.err
    assert champion.json["run_id"] in {run["run_id"] for run in runs.json["runs"]}
    assert len(runs.json["runs"]) == 3
    assert len(predicted.json["predictions"]) == 20
    assert (unchanged.json["outcome"], retrained.json["entry"]) == ("unchanged", unchanged.json["entry"] + 1)
    assert verified.json["sound"]


@pytest.mark.thorough
def test_what_a_small_backup_leaves_out_is_made_again(place):
    run_script(SMALL.replace("small.tar", "backup.tar"), place.folder)
    assert (place.folder / "backup.tar").stat().st_size > 0
    before = {name: data for name, data in contents(place.workspace).items() if not name.startswith(".")}
    shutil.rmtree(place.workspace)
    run_script("tar -xf backup.tar", place.folder)
    left_out = {*before} - {*contents(place.workspace)}
    assert {name.rpartition(".")[2] for name in left_out} == {"tfrecord", "parquet"}
    assert run_in_process("verify", "--workspace", place.workspace).code == 4
    [repaired] = run_in_one_process(("verify", "--repair", "--workspace", place.workspace, "--json"))
    assert (repaired.code, repaired.json["sound"]) == (0, True), repaired.err
    assert {name: data for name, data in contents(place.workspace).items() if not name.startswith(".")} == before


def test_commands_that_write_wait_for_a_backup(place):
    with (place.workspace / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the program `flock` does
        for command in (("prune", "--keep", 0), ("verify",), ("rollback",)):
            done = run_in_process(*command, "--workspace", place.workspace)
            assert (done.code, "is in use by another process" in done.err) == (6, True), done.err
    assert run_in_process("verify", "--workspace", place.workspace).code == 0


def test_a_backup_waits_for_a_command(place):
    with lock_workspace(place.workspace), pytest.raises(AssertionError):
        run_script(LOCKED.replace("3600", "0"), place.folder)
    assert not (place.folder / "backup.tar").exists()
