"""Repair by the real command: exactly the bad files come back, with the bytes that they had."""

import json
import shutil
from pathlib import Path

import pytest

from model.errors import CorruptArtefact
from pipeline.cli.maintenance_output import verified_parts
from pipeline.maintenance.repair import failure_of
from pipeline.maintenance.repair import repair as repair_workspace
from pipeline.maintenance.verify import find_scope, verify
from tests.damage import damage, find
from tests.helpers import Digits, backbeam, contents


@pytest.fixture
def workspace(everything, tmp_path):
    return shutil.copytree(everything / "ws", tmp_path / "ws")


def stamps(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}


def repair(workspace: Path, before: dict[str, bytes], times: dict[Path, int], expected: set[Path]) -> None:
    """Repair, and check that the expected files came back and no other was touched."""
    done = backbeam("verify", workspace, "--repair", "--json")
    assert done.code == 0, done.err
    assert done.json["sound"]
    assert set(map(Path, done.json["repaired"])) == expected
    after = contents(workspace)
    assert set(after) == set(before)
    timed = {name for name in before if name.endswith(("run.json", "learning_curve.parquet"))}
    assert {name for name in before if after[name] != before[name]} <= timed
    later = stamps(workspace)
    changed = {path for path in times if path not in expected and later[path] != times[path]}
    assert changed - {workspace / ".lock"} == set()


GROUPS = [
    ("shard", "rejected", "validation table", "parameters"),
    ("evaluation table", "champion", "answers"),
]


@pytest.mark.parametrize("kinds", GROUPS, ids=" ".join)
def test_what_is_bad_comes_back_byte_by_byte(kinds, workspace):
    before, times = contents(workspace), stamps(workspace)
    paths = {find(workspace, kind) for kind in kinds}
    for path in paths:
        damage(path, "flip a bit" if path.suffix != ".json" else "delete")
    repair(workspace, before, times, paths)


@pytest.mark.parametrize("name", ["reports/seeds/*/seeds.parquet", "reports/slices/*seed2*/slices.parquet"])
def test_a_table_comes_back(name, workspace):
    before, times, path = contents(workspace), stamps(workspace), next(workspace.glob(name))
    damage(path, "truncate")
    repair(workspace, before, times, {path})
    assert contents(workspace) == before | {".lock": b""}


def test_a_lost_learning_curve_comes_back_with_the_same_parameters(workspace):
    before, times = contents(workspace), stamps(workspace)
    damage(next(workspace.glob("reports/learning_curve/*seed1*/*.parquet")), "empty")
    name = next(workspace.glob("runs/*seed1*")).name
    curve = workspace / f"reports/learning_curve/run={name}/learning_curve.parquet"
    repair(workspace, before, times, {curve, workspace / "runs" / name / "run.json"})
    old = json.loads(before[f"runs/{name}/run.json"])
    new = json.loads((workspace / "runs" / name / "run.json").read_bytes())
    assert {key for key in old if old[key] != new[key]} == {"tables", "record_sha256"}


LOST = {
    "manifest": "delete {folder}, and give `backbeam preprocess`",
    "validation": "delete {path}, and give `backbeam validate {folder.name}`",
    "run": "delete {folder}, and give `backbeam train`",
    "evaluation": "delete {path}, and give `backbeam evaluate {folder.name}`",
    "group": "delete {path}, and give `backbeam run --seeds`",
    "contest": "delete {folder}, and the next `backbeam retrain`",
}


@pytest.mark.parametrize("how", ["delete", "flip a bit"])
def test_a_lost_record_is_named_with_what_to_delete_and_what_to_run(how, workspace):
    for kinds in (("validation", "evaluation", "group", "contest"), ("manifest", "run")):  # the latter hide the former
        paths = {kind: find(workspace, kind) for kind in kinds}
        for path in paths.values():
            damage(path, how)
        before = contents(workspace)
        found = repair_workspace(find_scope(workspace), {})
        assert found.repaired == ()
        assert contents(workspace) == before
        reasons = "".join(f"{refusal.reason}\n" for refusal in found.refused)
        for kind, path in paths.items():
            remedy = LOST[kind].format(path=path, folder=path.parent)
            assert remedy in reasons
            assert any(remedy in str(part) for part in verified_parts(found.verified))
        assert isinstance(failure_of(found), CorruptArtefact)


def test_doing_again_what_a_lost_record_names_restores_every_byte(workspace):
    before, path = contents(workspace), find(workspace, "evaluation")
    path.unlink()
    done = backbeam("evaluate", path.parent.name, "--workspace", workspace)
    assert done.code == 0, done.err
    assert contents(workspace) == before


@pytest.mark.slow
def test_a_source_that_is_gone_or_changed_is_named(everything, tmp_path):
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


def test_what_nothing_can_make_again(workspace):
    stray = find(workspace, "shard").with_name("train-00003-of-00004.tfrecord")
    stray.write_bytes(b"mine")
    damage(find(workspace, "origin"), "empty")
    done = backbeam("verify", workspace, "--repair", "--json")
    assert (done.code, done.json["repaired"]) == (4, [])
    assert {fault["kind"] for fault in done.json["faults"]} == {"origin", "stray"}
    assert "`backbeam preprocess` with its options" in done.err
    assert stray.read_bytes() == b"mine"


@pytest.mark.slow
def test_a_joint_data_set_comes_back(tmp_path):
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
