"""Runs that are trained as one program of stacked networks."""

import json
import shutil

import pytest

from model import replicas
from model.batches import GpuMemory
from pipeline.train.monitor import TrainingMonitor
from tests.helpers import Digits, contents, run_in_process

# momentum, dropout and cosine rates, in chunks of 100 steps
OPTIONS = ("--recipe", "modern", "--layers", "20,12,3", "--batch-size", 8, "--num-steps", 500, "--stack", 3)


def train(workspace, *options):
    return run_in_process("train", "--workspace", workspace, *OPTIONS, *options)


def records(workspace):
    """The run records by seed, without what differs from one time to another."""
    found = [json.loads(path.read_bytes()) for path in workspace.glob("runs/*/run.json")]
    varying = {"seconds", "finished", "record_sha256", "resumed_at"}
    for record in found:
        record["tables"] = [table for table in record["tables"] if table["table"] != "learning_curve"]  # has seconds
    return {
        record["config"]["seed"]: {name: value for name, value in record.items() if name not in varying}
        for record in found
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacked")
    digits = Digits(num_train=97).write(folder / "digits")
    done = run_in_process("preprocess", "--workspace", folder / "ws", "--dataset", digits, "--num-shards", 2)
    assert done.code == 0, done.err
    return folder / "ws"


@pytest.fixture(scope="module")
def stacked(prepared, tmp_path_factory):
    """A workspace with the runs of five seeds: a stack of three, and one of two and a copy."""
    workspace = shutil.copytree(prepared, tmp_path_factory.mktemp("five") / "ws")
    done = train(workspace, "--seeds", "1-5")
    assert done.code == 0, done.err
    return workspace


def test_run_of_a_stack_has_the_bytes_that_it_has_without_the_others(stacked, prepared, tmp_path):
    workspace = shutil.copytree(prepared, tmp_path / "ws")
    assert train(workspace, "--seed", 2).code == 0
    assert records(workspace) == {2: records(stacked)[2]}
    assert records(stacked)[2]["config"]["stack"] == 3
    reproduced = run_in_process("reproduce", "--workspace", workspace)
    assert reproduced.code == 0, reproduced.out


@pytest.mark.thorough
def test_batches_that_are_gathered_on_a_gpu_give_the_same_bytes(stacked, prepared, tmp_path, monkeypatch):
    """The CPU stands for the GPU: its memory holds the split once."""
    workspace = shutil.copytree(prepared, tmp_path / "ws")
    start = replicas.start_engine
    monkeypatch.setattr(replicas, "start_engine", lambda *arguments: start(*arguments)._replace(gpu=GpuMemory("CPU:0")))
    assert train(workspace, "--seeds", "1-5").code == 0
    assert records(workspace) == records(stacked)


@pytest.mark.thorough
def test_missing_runs_are_trained_to_the_same_bytes(stacked, tmp_path):
    workspace = shutil.copytree(stacked, tmp_path / "ws")
    for path in workspace.glob("runs/*/run.json"):
        if json.loads(path.read_bytes())["config"]["seed"] in (1, 4):
            shutil.rmtree(path.parent)
    assert train(workspace, "--seeds", "1-5").code == 0
    assert records(workspace) == records(stacked)


@pytest.mark.parametrize(
    ("failing", "steps"),
    [
        ({1, 2, 3}, [200, 200, 200]),
        pytest.param({2}, [200, 300, 300], marks=pytest.mark.thorough),  # trained apart then
    ],
    ids=["same step", "other steps"],
)
def test_interrupted_runs_are_resumed_to_the_same_bytes(failing, steps, stacked, prepared, tmp_path, monkeypatch):
    workspace = shutil.copytree(prepared, tmp_path / "ws")
    report = TrainingMonitor.report

    def fail(self, point, parameters):
        if point.step == 300 and self.config.seed in failing:
            raise OSError("no more")
        report(self, point, parameters)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingMonitor, "report", fail)
        assert train(workspace, "--seeds", "1-5").code == 5
    assert sorted(int(path.name.split("-")[1]) for path in workspace.glob("runs/*/checkpoints/*")) == steps
    done = train(workspace, "--seeds", "1-5")
    assert done.code == 0, done.err
    assert records(workspace) == records(stacked)
    assert not [name for name in contents(workspace) if "checkpoint" in name]
