"""Data sets are checked by workers as by one process."""

import shutil

import pytest

from model.errors import CorruptArtefact, StorageFailed
from pipeline.preprocess.dataset import (
    check_dataset,
    find_damage,
    find_damage_in_share,
    list_dataset_files,
    load_dataset,
)
from pipeline.preprocess.manifest import MANIFEST_NAME
from tests.helpers import Digits, contents, run_in_process
from tests.small_tasks import Workers


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A workspace with two data sets and both joined."""
    folder = tmp_path_factory.mktemp("built")
    places = [Digits(seed=seed).write(folder / name) for seed, name in enumerate(("first", "second"))]
    done = run_in_process("preprocess", "--workspace", folder / "ws", "--num-shards", 5, *places)
    assert done.code == 0, done.err
    return folder / "ws"


def find(workspace, name):
    [path] = workspace.glob(f"datasets/{name}-{'?' * 12}/{MANIFEST_NAME}")
    return path.parent


def damage(workspace):
    """Damage two shards, of which the second is missing; return the folder."""
    folder = find(workspace, "first")
    path = folder / "train-00002-of-00005.tfrecord"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (folder / "train-00004-of-00005.tfrecord").unlink()
    return folder


@pytest.mark.parametrize("name", ["first", "first-and-second"])
def test_workers_share_the_files_of_a_large_data_set(name, small_tasks, built):
    workers = Workers()
    folder = find(built, name)
    assert check_dataset(folder, workers) == check_dataset(folder)
    num_files = sum(path.suffix == ".tfrecord" for path in built.glob("datasets/*/*"))
    assert workers.num_tasks == (num_files if name == "first-and-second" else num_files / 2)


def test_one_process_checks_a_small_data_set(built):
    workers = Workers()
    check_dataset(find(built, "first"), workers)
    assert workers.num_tasks == 0


def test_the_first_damaged_file_is_the_same_error_as_in_one_process(small_tasks, built, tmp_path):
    folder = damage(shutil.copytree(built, tmp_path / "ws"))
    with pytest.raises(CorruptArtefact, match=r"train-00002-of-00005\.tfrecord is corrupt") as expected:
        check_dataset(folder)
    with pytest.raises(CorruptArtefact) as raised:
        check_dataset(folder, Workers())
    assert (str(raised.value), raised.value.hint) == (str(expected.value), expected.value.hint)
    assert raised.value.hint


@pytest.mark.parametrize("name", ["first", "first-and-second"])
@pytest.mark.parametrize("num_shares", [1, 2, 3, 50])
def test_processes_check_a_share_each(num_shares, name, built, tmp_path):
    workspace = shutil.copytree(built, tmp_path / "ws")
    dataset = load_dataset(find(workspace, name))
    files = list_dataset_files(dataset)
    assert len(files) > 5
    shares = range(num_shares)
    assert [find_damage_in_share(dataset, share, num_shares) for share in shares] == [None] * num_shares
    for folder, file in files:
        place = folder / file.name
        data = place.read_bytes()
        place.write_bytes(data[:-1] + b"?")
        found = [damage for share in shares if (damage := find_damage_in_share(dataset, share, num_shares))]
        assert [message for message, _ in found] == [find_damage(files)[0]]
        place.write_bytes(data)
    (dataset.folder.parent / find(workspace, "second").name / "manifest.json").write_text("{}")
    found = {find_damage_in_share(dataset, share, num_shares) for share in shares}
    assert (found == {None}) == (name == "first")
    assert len(found) == 1


def test_a_file_that_cannot_be_read_is_an_error_of_storage(built, monkeypatch):
    def fail(*_):
        raise OSError("the disk fails")

    monkeypatch.setattr("pipeline.storage.records.FileInfo.check", fail)
    with pytest.raises(StorageFailed, match=r"^storage: the disk fails$"):
        check_dataset(find(built, "first"))


@pytest.mark.thorough
@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged"])
def test_commands_let_workers_check(damaged, small_tasks, built, tmp_path, monkeypatch):
    workspace = shutil.copytree(built, tmp_path / "ws")
    if damaged:
        damage(workspace)
    command = ("validate", find(workspace, "first").name, "--workspace", workspace, "--json")
    one = run_in_process(*command)
    assert one.code == (4 if damaged else 0)
    before = contents(workspace)
    monkeypatch.setattr("pipeline.preprocess.dataset.map_here", None)  # the driver reads nothing
    monkeypatch.setattr("pipeline.preprocess.scan_runner.map_here", None)
    two = run_in_process(*command, "--workers", 2)
    assert (two.code, two.json.get("error")) == (one.code, one.json.get("error")), two.err
    assert contents(workspace) == before
