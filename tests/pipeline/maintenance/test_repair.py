"""`verify --repair`: exactly the damaged files are restored, with the recorded bytes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import decode_parameters, encode_parameters
from model.errors import CorruptArtefact
from pipeline.cli.maintenance_output import build_verify_output
from pipeline.maintenance import rebuild, repair_artefacts
from pipeline.maintenance.repair import failure_of, repair
from pipeline.maintenance.verify import find_scope, verify
from pipeline.train.run_record import PARAMETERS_NAME, load_run
from tests.damage import damage, find
from tests.helpers import Digits, contents, run_in_process


@pytest.fixture
def workspace(everything, tmp_path):
    return shutil.copytree(everything / "ws", tmp_path / "ws")


def modification_times(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}


DAMAGED_TOGETHER = [
    {"shard": "flip a bit", "rejected": "empty", "parameters": "flip a bit", "training table": "empty"},
    {"validation table": "flip a bit", "evaluation table": "truncate", "champion": "delete", "answers": "flip a bit"}
    | {"seeds table": "flip a bit"},
]


@pytest.mark.parametrize("damages", DAMAGED_TOGETHER, ids=" ".join)
def test_damaged_files_and_no_others_are_restored_byte_by_byte(damages, workspace):
    before = contents(workspace)
    times = modification_times(workspace)
    expected = {find(workspace, kind) for kind in damages}
    for kind, how in damages.items():
        damage(find(workspace, kind), how)
    # the learning curve has times, so that it is another file, whose digest the run's record tells
    record = find(workspace, "run")
    with_times = {find(workspace, "training table"), record} if "training table" in damages else set()
    done = run_in_process("verify", workspace, "--repair", "--json")
    assert done.code == 0, done.err
    assert done.json["sound"]
    assert set(map(Path, done.json["repaired"])) == expected | with_times
    after = contents(workspace)
    assert {workspace / name for name in {*before, *after} if after.get(name) != before.get(name)} == with_times
    written = {path for path, time in modification_times(workspace).items() if times[path] != time}
    assert written - expected - with_times - {workspace / ".lock"} == set()
    old, new = (json.loads(files[str(record.relative_to(workspace))]) for files in (before, after))
    assert {key for key in old if old[key] != new[key]} == ({"tables", "record_sha256"} if with_times else set())


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["early parameters", "layer statistics"])
def test_what_a_run_keeps_of_its_training_is_verified_and_restored(kind, tmp_path):
    place = ("--workspace", tmp_path / "ws")
    source = Digits().write(tmp_path / "digits")
    for command in (("preprocess", "--dataset", source), ("train", "--num-steps", 150)):
        done = run_in_process(*command, *place)
        assert done.code == 0, done.err
    pattern = {
        "early parameters": "runs/*/early-parameters.safetensors",
        "layer statistics": "reports/layer_s*/*/*.parquet",
    }
    [path] = (tmp_path / "ws").glob(pattern[kind])
    before = path.read_bytes()
    damage(path, "flip a bit")
    found = run_in_process("verify", tmp_path / "ws", "--json")
    assert found.code == 4
    assert str(path) in found.err
    repaired = run_in_process("verify", tmp_path / "ws", "--repair", "--json")
    assert repaired.code == 0, repaired.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(("how", "difference"), [("delete", "SHA-256 [0-9a-f]{64}"), ("keep", "by up to 0.25")])
def test_retraining_that_gives_other_parameters_changes_nothing(how, difference, workspace, tmp_path, monkeypatch):
    run = find(workspace, "run").parent
    curve = find(workspace, "training table")
    recorded = (run / PARAMETERS_NAME).read_bytes()

    def retrain(workspace, record, dataset, scratch):
        layers = decode_parameters(recorded)
        shifted = (layers[0]._replace(biases=np.asarray(layers[0].biases) + np.float32(0.25)), *layers[1:])
        (scratch / "runs" / run.name).mkdir(parents=True)
        (scratch / "runs" / run.name / PARAMETERS_NAME).write_bytes(encode_parameters(shifted, {}))
        return load_run(run)

    monkeypatch.setattr(rebuild, "rebuild_run", retrain)
    if how == "delete":
        (run / PARAMETERS_NAME).unlink()
    damage(curve, "truncate")
    before = contents(workspace)
    faulty = {str(run / PARAMETERS_NAME), str(curve)}
    with pytest.raises(CorruptArtefact, match=rf"the parameters are others \({difference}\): nothing was changed"):
        repair_artefacts.repair_run(workspace, run.name, faulty, tmp_path / "scratch")
    assert contents(workspace) == before


REMEDIES = {
    "manifest": "delete {folder}, and give `backbeam preprocess`",
    "validation": "delete {path}, and give `backbeam validate {folder.name}`",
    "run": "delete {folder}, and give `backbeam train`",
    "evaluation": "delete {path}, and give `backbeam evaluate {folder.name}`",
    "group": "delete {path}, and give `backbeam run --seeds`",
    "contest": "delete {folder}, and the next `backbeam retrain`",
}


@pytest.mark.parametrize("how", ["delete", "flip a bit"])
def test_a_lost_record_is_reported_with_what_to_delete_and_what_to_run(how, workspace):
    # in two rounds, because without a manifest or run record the records that depend on it are not checked
    for kinds in (("validation", "evaluation", "group", "contest"), ("manifest", "run")):
        paths = {kind: find(workspace, kind) for kind in kinds}
        for path in paths.values():
            damage(path, how)
        before = contents(workspace)
        result = repair(find_scope(workspace), {})
        assert result.repaired == ()
        assert contents(workspace) == before
        reasons = "".join(f"{refusal.reason}\n" for refusal in result.refused)
        for kind, path in paths.items():
            remedy = REMEDIES[kind].format(path=path, folder=path.parent)
            assert remedy in reasons
            assert any(remedy in str(part) for part in build_verify_output(result.verified)[1])
        assert isinstance(failure_of(result), CorruptArtefact)


def test_the_proposed_command_restores_a_lost_record(workspace):
    before = contents(workspace)
    path = find(workspace, "evaluation")
    path.unlink()
    done = run_in_process("evaluate", path.parent.name, "--workspace", workspace)
    assert done.code == 0, done.err
    assert contents(workspace) == before


@pytest.mark.thorough
def test_a_missing_or_changed_source_is_reported(everything, tmp_path):
    shutil.copytree(everything / "digits", tmp_path / "digits")
    options = ("--num-classes", 3, "--max-rejected", 1)
    workspace = tmp_path / "ws"
    assert run_in_process("preprocess", "--workspace", workspace, "--dataset", tmp_path / "digits", *options).code == 0
    [shard] = workspace.glob("datasets/*/train-*.tfrecord")
    damage(shard, "cut a byte")
    before = contents(workspace)
    images = tmp_path / "digits" / "train-images-idx3-ubyte"
    data = images.read_bytes()
    images.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    changed = run_in_process("verify", workspace, "--repair")
    assert changed.code == 3
    assert f"{tmp_path / 'digits'} is no longer what" in changed.err
    shutil.rmtree(tmp_path / "digits")
    gone = run_in_process("verify", workspace, "--repair")
    assert gone.code == 3
    assert str(tmp_path / "digits") in gone.err
    assert contents(workspace) == before


def test_stray_files_and_lost_origins_are_not_repaired(workspace):
    stray = find(workspace, "shard").with_name("train-00003-of-00004.tfrecord")
    stray.write_bytes(b"mine")
    damage(find(workspace, "origin"), "empty")
    done = run_in_process("verify", workspace, "--repair", "--json")
    assert (done.code, done.json["repaired"]) == (4, [])
    assert {fault["kind"] for fault in done.json["faults"]} == {"origin", "stray"}
    assert "`backbeam preprocess` with its options" in done.err
    assert stray.read_bytes() == b"mine"


@pytest.mark.thorough
def test_a_joined_data_set_is_restored(tmp_path):
    sources = [Digits(seed=seed).write(tmp_path / f"digits{seed}") for seed in (1, 2)]
    options = [word for source in sources for word in ("--dataset", source)]
    workspace = tmp_path / "ws"
    assert run_in_process("preprocess", "--workspace", workspace, *options).code == 0
    before = contents(workspace)
    for path in workspace.glob("datasets/digits2-*/*.tfrecord"):
        path.unlink()
    done = run_in_process("verify", workspace, "--repair")
    assert done.code == 0, done.err
    assert contents(workspace) == before
    assert verify(find_scope(workspace)).faults == ()
