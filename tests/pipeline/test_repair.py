"""Repair by the real command: exactly the bad files come back, with the bytes that they had."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.care.verification import find_scope, verify
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
    ("shard", "rejected", "validation table", "group"),
    ("parameters", "evaluation table"),
    ("champion", "contest", "answers"),
    ("evaluation",),
    ("manifest", "validation"),
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


@pytest.mark.parametrize("kind", ["run", "training table"])
def test_what_tells_times_comes_back_with_the_same_parameters(kind, workspace):
    before, times = contents(workspace), stamps(workspace)
    path = find(workspace, kind) if kind == "run" else next(workspace.glob("reports/learning_curve/*seed1*/*.parquet"))
    damage(path, "empty")
    name = next(workspace.glob("runs/*seed1*")).name
    curve = workspace / f"reports/learning_curve/run={name}/learning_curve.parquet"
    repair(workspace, before, times, {curve, workspace / "runs" / name / "run.json"})
    if kind != "run":  # what the record says besides is as it was
        old = json.loads(before[f"runs/{name}/run.json"])
        new = json.loads((workspace / "runs" / name / "run.json").read_bytes())
        assert {key for key in old if old[key] != new[key]} == {"tables", "record_sha256"}


def test_a_lost_record_and_its_files_come_back_one_after_the_other(workspace):
    before = contents(workspace)
    for kind in ("manifest", "shard", "rejected", "validation table"):
        damage(find(workspace, kind), "delete")
    done = backbeam("verify", workspace, "--repair")
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


def test_parameters_that_do_not_come_out_as_they_were_are_left(workspace):
    """Where no record says what the parameters were, others are not put in their place."""
    folder = find(workspace, "run").parent
    for name in ("run.json", "evaluation.json"):
        (folder / name).unlink()
    path, data = find(workspace, "parameters"), find(workspace, "parameters").read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    before = contents(workspace)
    done = backbeam("verify", workspace, "--repair")
    assert done.code == 4
    assert "the parameters are others (by up to" in done.err
    assert contents(workspace) == before


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
    for path in (*workspace.glob("datasets/*-and-*/manifest.json"), *workspace.glob("datasets/digits2-*/*.tfrecord")):
        path.unlink()
    done = backbeam("verify", workspace, "--repair")
    assert done.code == 0, done.err
    assert contents(workspace) == before
    assert verify(find_scope(workspace)).faults == ()
