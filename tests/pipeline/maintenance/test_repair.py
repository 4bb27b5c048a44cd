"""`verify --repair`: exactly the damaged files are restored, with the recorded bytes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import decode_parameters, encode_parameters
from model.errors import CorruptArtefact
from pipeline.cli.maintenance_output import build_verify_output
from pipeline.maintenance import repair_artefacts
from pipeline.maintenance.repair import failure_of, repair
from pipeline.maintenance.verify import find_scope, verify
from pipeline.train.run_record import PARAMETERS_NAME, load_run
from tests.damage import damage, find
from tests.helpers import Digits, backbeam, contents


@pytest.fixture
def workspace(everything, tmp_path):
    return shutil.copytree(everything / "ws", tmp_path / "ws")


def modification_times(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}


def check_repair(workspace: Path, before: dict[str, bytes], times: dict[Path, int], expected: set[Path]) -> None:
    """Repair by the real command, and check that the expected files are restored and no others are written."""
    done = backbeam("verify", workspace, "--repair", "--json")
    assert done.code == 0, done.err
    assert done.json["sound"]
    assert set(map(Path, done.json["repaired"])) == expected
    after = contents(workspace)
    assert set(after) == set(before)
    with_times = {name for name in before if name.endswith(("run.json", "learning_curve.parquet"))}
    assert {name for name in before if after[name] != before[name]} <= with_times
    times_after = modification_times(workspace)
    written = {path for path in times if times_after[path] != times[path]}
    assert written - expected - {workspace / ".lock"} == set()


KINDS_DAMAGED_TOGETHER = [
    ("shard", "rejected", "validation table", "parameters"),
    ("evaluation table", "champion", "answers", "seeds table"),
]


@pytest.mark.parametrize("kinds", KINDS_DAMAGED_TOGETHER, ids=" ".join)
def test_damaged_files_are_restored_byte_by_byte(kinds, workspace):
    before = contents(workspace)
    times = modification_times(workspace)
    paths = {find(workspace, kind) for kind in kinds}
    for path in paths:
        damage(path, "flip a bit" if path.suffix != ".json" else "delete")
    check_repair(workspace, before, times, paths)


def test_a_truncated_table_is_restored(workspace):
    before = contents(workspace)
    times = modification_times(workspace)
    path = next(workspace.glob("reports/slices/*seed2*/slices.parquet"))
    damage(path, "truncate")
    check_repair(workspace, before, times, {path})
    assert contents(workspace) == before | {".lock": b""}


def test_an_emptied_learning_curve_is_rebuilt_and_its_digest_recorded(workspace):
    before = contents(workspace)
    times = modification_times(workspace)
    damage(next(workspace.glob("reports/learning_curve/*seed1*/*.parquet")), "empty")
    name = next(workspace.glob("runs/*seed1*")).name
    curve = workspace / f"reports/learning_curve/run={name}/learning_curve.parquet"
    check_repair(workspace, before, times, {curve, workspace / "runs" / name / "run.json"})
    old = json.loads(before[f"runs/{name}/run.json"])
    new = json.loads((workspace / "runs" / name / "run.json").read_bytes())
    assert {key for key in old if old[key] != new[key]} == {"tables", "record_sha256"}


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

    monkeypatch.setattr(repair_artefacts, "rebuild_run", retrain)
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
    done = backbeam("evaluate", path.parent.name, "--workspace", workspace)
    assert done.code == 0, done.err
    assert contents(workspace) == before


@pytest.mark.slow
def test_a_missing_or_changed_source_is_reported(everything, tmp_path):
    shutil.copytree(everything / "digits", tmp_path / "digits")
    options = ("--num-classes", 3, "--max-rejected", 1)
    workspace = tmp_path / "ws"
    assert backbeam("preprocess", "--workspace", workspace, "--dataset", tmp_path / "digits", *options).code == 0
    [shard] = workspace.glob("datasets/*/train-*.tfrecord")
    damage(shard, "cut a byte")
    before = contents(workspace)
    images = tmp_path / "digits" / "train-images-idx3-ubyte"
    data = images.read_bytes()
    images.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    changed = backbeam("verify", workspace, "--repair")
    assert changed.code == 3
    assert f"{tmp_path / 'digits'} is no longer what" in changed.err
    shutil.rmtree(tmp_path / "digits")
    gone = backbeam("verify", workspace, "--repair")
    assert gone.code == 3
    assert str(tmp_path / "digits") in gone.err
    assert contents(workspace) == before
    assert "Traceback" not in changed.err + gone.err


def test_stray_files_and_lost_origins_are_not_repaired(workspace):
    stray = find(workspace, "shard").with_name("train-00003-of-00004.tfrecord")
    stray.write_bytes(b"mine")
    damage(find(workspace, "origin"), "empty")
    done = backbeam("verify", workspace, "--repair", "--json")
    assert (done.code, done.json["repaired"]) == (4, [])
    assert {fault["kind"] for fault in done.json["faults"]} == {"origin", "stray"}
    assert "`backbeam preprocess` with its options" in done.err
    assert stray.read_bytes() == b"mine"


@pytest.mark.slow
def test_a_joined_data_set_is_restored(tmp_path):
    sources = [Digits(seed=seed).write(tmp_path / f"digits{seed}") for seed in (1, 2)]
    options = [word for source in sources for word in ("--dataset", source)]
    workspace = tmp_path / "ws"
    assert backbeam("preprocess", "--workspace", workspace, *options).code == 0
    before = contents(workspace)
    for path in workspace.glob("datasets/digits2-*/*.tfrecord"):
        path.unlink()
    done = backbeam("verify", workspace, "--repair")
    assert done.code == 0, done.err
    assert contents(workspace) == before
    assert verify(find_scope(workspace)).faults == ()
