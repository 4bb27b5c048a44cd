"""`verify` finds every kind of damage to every kind of file, and other commands reject damaged files."""

import hashlib
import shutil
from pathlib import Path

import pytest

from model.errors import BadUsage
from pipeline.maintenance.findings import CheckedItem, ExpectedFile, check_expected
from pipeline.maintenance.verify import find_scope, verify
from pipeline.preprocess.dataset import load_dataset
from tests.damage import DAMAGES, KINDS, damage, find
from tests.helpers import contents, run_in_process


@pytest.fixture(scope="session")
def intact(everything, tmp_path_factory) -> Path:
    """A workspace with every kind of file, which tests must not change.

    A copy, because `verify` locks it, and other processes of the tests copy the first one meanwhile.
    """
    return shutil.copytree(everything / "ws", tmp_path_factory.mktemp("intact") / "ws")


@pytest.fixture
def workspace(intact, tmp_path):
    """A copy to change."""
    return shutil.copytree(intact, tmp_path / "ws")


def test_an_intact_workspace_has_no_faults(intact):
    before = contents(intact)
    done = run_in_process("verify", intact, "--json")
    assert (done.code, done.json["sound"], done.json["faults"], done.json["leftovers"]) == (0, True, [], [])
    files = {name: data for name, data in contents(intact).items() if name != ".lock"}
    assert (done.json["num_files"], done.json["num_bytes"]) == (len(files), sum(map(len, files.values())))
    assert contents(intact) == before
    text = run_in_process("verify", "--workspace", intact)
    assert text.out == f"{len(files):,} files checked, {done.json['num_bytes']:,} bytes: all sound\n"


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_to_every_kind_of_file_is_found(kind, how, workspace):
    path = find(workspace, kind)
    damage(path, how)
    found = verify(find_scope(workspace))
    assert [(fault.kind, fault.path) for fault in found.faults] == [(kind, path)]


def test_the_command_lists_all_faults_and_exits_with_code_4(workspace):
    kinds = ("shard", "parameters", "seeds table", "origin")
    paths = {str(find(workspace, kind)): kind for kind in kinds}
    for path in paths:
        damage(Path(path), "delete")
    done = run_in_process("verify", workspace, "--json")
    assert (done.code, done.json["sound"]) == (4, False)
    assert {fault["path"]: fault["kind"] for fault in done.json["faults"]} == paths
    assert all(fault["found"] == "nothing" for fault in done.json["faults"])
    before = contents(workspace)
    text = run_in_process("verify", workspace)
    assert text.code == 4
    assert all(path in text.out for path in paths)
    assert min(paths) in text.err
    assert contents(workspace) == before


def test_exchanged_shards_are_found_by_verify_and_train(workspace):
    paths = sorted(workspace.glob("datasets/digits-*/train-*.tfrecord"))[:2]
    first, second = (path.read_bytes() for path in paths)
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)
    assert [fault.path for fault in verify(find_scope(workspace)).faults] == paths
    done = run_in_process("train", "digits", "--workspace", workspace, "--num-steps", 30)
    assert (done.code, done.out) == (4, "")
    assert str(paths[0]) in done.err


@pytest.mark.parametrize("how", ["huge record", "15 bytes of a huge record"])
@pytest.mark.parametrize("command", ["train", "validate", "evaluate"])
def test_a_record_length_of_a_terabyte_is_rejected_by_every_reader(command, how, workspace):
    path = find(workspace, "shard")
    damage(path, how)
    arguments = {
        "train": ("digits", "--num-steps", 30),
        "validate": ("digits",),
        "evaluate": (find(workspace, "run").parent.name,),
    }
    done = run_in_process(command, *arguments[command], "--workspace", workspace)
    assert (done.code, done.out) == (4, "")
    assert str(path) in done.err


def test_wrong_counts_in_a_manifest_are_found(intact):
    folder = find(intact, "manifest").parent
    manifest = load_dataset(folder).manifest
    shard = manifest.splits["train"].shards[0]
    wrong = (
        {"num_examples": shard.num_examples + 1},
        {"class_counts": tuple(reversed((*shard.class_counts[:-1], shard.class_counts[-1] + 1)))},
        {"pixel_sum": shard.pixel_sum + 1},
        {"pixel_square_sum": 0},
    )
    intact = CheckedItem(folder / shard.name, shard.num_bytes)
    assert check_expected(ExpectedFile("shard", "x", folder / shard.name, shard, manifest)) == intact
    for change in wrong:
        expected = ExpectedFile("shard", "x", folder / shard.name, shard.model_copy(update=change), manifest)
        assert next(iter(change)) in check_expected(expected).expected


def test_files_that_no_record_names_are_faults(workspace):
    shard = find(workspace, "shard")
    table = find(workspace, "evaluation table")
    strays = [shard.with_name("train-00003-of-00004.tfrecord"), table.with_name("more.parquet")]
    other = table.parent.with_name("run=gone") / "test-00000-of-00001.parquet"
    other.parent.mkdir()
    for path in (*strays, other):
        path.write_bytes(table.read_bytes())
    found = verify(find_scope(workspace))
    assert {(fault.kind, fault.path) for fault in found.faults} == {("stray", path) for path in (*strays, other)}


def test_the_missing_data_set_of_a_run_is_a_fault(workspace):
    folder = find(workspace, "manifest").parent
    shutil.rmtree(folder)
    faults = verify(find_scope(workspace)).faults
    assert ("manifest", folder / "manifest.json") in {(fault.kind, fault.path) for fault in faults}


def test_temporary_files_of_a_killed_process_are_listed_but_no_fault(workspace):
    left = find(workspace, "shard").with_name(".train-00001-of-00003.tfrecord.1.abc.tmp")
    left.write_bytes(b"half")
    (workspace / "datasets" / ".scratch-digits").mkdir()
    done = run_in_process("verify", workspace, "--json")
    assert (done.code, done.json["sound"]) == (0, True)
    assert done.json["leftovers"] == [str(workspace / "datasets" / ".scratch-digits"), str(left)]


@pytest.mark.parametrize(("kind", "other"), [("shard", "parameters"), ("parameters", "shard")])
def test_one_folder_can_be_verified_alone(kind, other, workspace):
    damage(find(workspace, other), "empty")
    assert run_in_process("verify", find(workspace, kind).parent).code == 0
    damage(find(workspace, kind), "empty")
    done = run_in_process("verify", find(workspace, kind).parent, "--json")
    assert (done.code, [fault["kind"] for fault in done.json["faults"]]) == (4, [kind])


def test_a_folder_that_is_no_workspace_is_rejected(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(BadUsage, match="no workspace"):
        find_scope(tmp_path / "other")
    assert run_in_process("verify", tmp_path / "missing").code == 2


def test_only_damaged_checkpoints_of_an_interrupted_run_are_faults(workspace):
    folder = workspace / "runs" / "broken-off" / "checkpoints"
    folder.mkdir(parents=True)
    data = b"what a run had"
    path = folder / f"step-0000000100-{hashlib.sha256(data).hexdigest()}.safetensors"
    path.write_bytes(data)
    assert verify(find_scope(workspace)).faults == ()
    path.write_bytes(data[:-1])
    (folder / "step-0000000200-nothing.safetensors").write_bytes(data)
    faults = verify(find_scope(workspace)).faults
    assert sorted((fault.kind, fault.path.name[:15]) for fault in faults) == [
        ("checkpoint", "step-0000000100"),
        ("checkpoint", "step-0000000200"),
    ]
