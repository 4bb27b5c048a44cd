"""Training in several processes, by the real command."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.train.run_lookup import find_run
from tests.helpers import BACKBEAM, Digits, backbeam, contents, free_addresses, run_in_process

pytestmark = pytest.mark.thorough

OPTIONS = ("--recipe", "modern", "--layers", "20,30,20,3", "--replicas", "2", "--json")
SHORT, LONG, ENDLESS = ("--num-steps", "1200"), ("--num-steps", "9000"), ("--num-steps", "100000000")
PARAMETERS = "parameters.safetensors"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    digits = Digits(num_train=600).write(folder / "digits")
    assert backbeam("preprocess", "--workspace", folder / "ws", "--dataset", digits, "--num-shards", 5).code == 0
    return folder / "ws"


@pytest.fixture
def workspace(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "ws")


@contextlib.contextmanager
def workers(workspace, *options, more=((), ())):
    addresses, running = list(free_addresses(2)), []
    try:
        for index in range(2):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            command = [BACKBEAM, "train", "--workspace", workspace, *OPTIONS, *options, *more[index]]
            environment = os.environ | {"TF_CONFIG": json.dumps(task)}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
            running.append(subprocess.Popen(list(map(str, command)), **pipes))
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def parameters(workspace):
    [path] = Path(workspace).glob(f"runs/*/{PARAMETERS}")
    return path.read_bytes()


@pytest.fixture(scope="module")
def mirrored(prepared, tmp_path_factory):
    workspace = shutil.copytree(prepared, tmp_path_factory.mktemp("mirrored") / "ws")
    done = backbeam("train", "--workspace", workspace, *OPTIONS, *SHORT, "--device", "cpu")
    assert done.code == 0, done.err
    return workspace


def test_two_processes_write_what_two_devices_of_one_write(mirrored, workspace):
    with workers(workspace, *SHORT) as running:
        ends = [process.communicate(timeout=200) for process in running]
        assert [process.returncode for process in running] == [0, 0], ends
    chief, worker = (json.loads(out) for out, _ in ends)
    assert chief["run_id"] == worker["run_id"]
    assert worker["task_index"] == 1
    assert parameters(workspace) == parameters(mirrored)
    assert find_run(workspace, None)[0].device == "CPU:0 of each of 2 workers"
    assert not [name for name in contents(workspace) if "tmp" in name]


def test_a_damaged_shard_that_the_worker_checks_is_the_same_error_in_both_processes_before_they_train(workspace):
    [shard] = workspace.glob("datasets/*/train-00004-*")
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    before = contents(workspace)
    with workers(workspace, *SHORT) as running:
        ends = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [4, 4], ends
    chief, worker = (json.loads(out)["error"] for out, _ in ends)
    assert chief == worker
    assert f"{shard.name} is corrupt" in chief["message"]
    assert contents(workspace) == before


def wait_for_training(process):
    for line in process.stderr:
        if "step   1000" in line:
            return
    raise AssertionError("it ended before it trained")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "how"),
    [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGTERM), (1, signal.SIGSTOP)],
    ids=["worker", "chief", "terminated worker", "frozen worker"],
)
def test_the_loss_of_a_process_ends_the_other(lost, how, mirrored, tmp_path):
    """TensorFlow takes ten seconds without a heartbeat for the end of a process that is frozen."""
    workspace = shutil.copytree(mirrored, tmp_path / "ws")
    before = contents(workspace)
    with workers(workspace, *ENDLESS) as running:
        for process in running:
            wait_for_training(process)
        running[lost].send_signal(how)
        out, err = running[1 - lost].communicate(timeout=120)
        assert running[1 - lost].returncode == 7, err
        assert how != signal.SIGTERM or running[lost].wait(60) == 143
    assert json.loads(out)["error"]["code"] == 7
    if how == signal.SIGKILL:
        assert "another worker of the cluster is gone or does not answer" in " ".join(err.split())
    assert "Traceback" not in err
    left = {name for name in contents(workspace) if name not in before}
    if lost == 1:  # a chief that was killed can clear nothing away; what it began has no record
        assert [name.split("/")[2] for name in left] == ["checkpoints"]
    assert before.items() <= contents(workspace).items()
    assert len(list(workspace.glob("runs/*/run.json"))) == 1


@pytest.fixture
def broken_off(workspace):
    """The workspace of a cluster that lost a worker, and the step of the checkpoint that its chief left."""
    with workers(workspace, *LONG) as running:
        for process in running:
            wait_for_training(process)
        running[1].kill()
        _, err = running[0].communicate(timeout=60)
        assert running[0].returncode == 7, err
    [path] = workspace.glob("runs/*/checkpoints/*")
    return workspace, int(path.name.split("-")[1])


@pytest.mark.slow
def test_a_cluster_goes_on_where_it_lost_a_worker(broken_off, prepared, tmp_path):
    workspace, step = broken_off
    with workers(workspace, *LONG) as running:
        ends = [process.communicate(timeout=300) for process in running]
        assert [process.returncode for process in running] == [0, 0], ends
    assert all(f"continuing from the checkpoint of step {step}" in err for _, err in ends)
    assert find_run(workspace, None)[0].resumed_at == (step,)
    alone = shutil.copytree(prepared, tmp_path / "alone")
    done = backbeam("train", "--workspace", alone, *OPTIONS, *LONG, "--device", "cpu")
    assert done.code == 0, done.err
    assert parameters(workspace) == parameters(alone)
    assert not list(workspace.glob("runs/*/checkpoints"))


@pytest.mark.slow
def test_workers_that_would_go_on_from_different_steps_do_not_begin(broken_off, prepared):
    workspace, step = broken_off
    with workers(workspace, *LONG, more=((), ("--workspace", prepared))) as running:
        ends = [process.communicate(timeout=60) for process in running]
        assert [process.returncode for process in running] == [2, 2], ends
    for _, err in ends:
        assert f"from step {step} but task 1 would train" in " ".join(err.split())
        assert "the same checkpoints to go on from" in " ".join(err.split())
    assert list(workspace.glob("runs/*/checkpoints/*"))


TWO = {"cluster": {"worker": ["a:1", "b:1"]}}
CHIEF = {"task": {"type": "worker", "index": 0}}


@pytest.mark.parametrize(
    ("arguments", "task", "message"),
    [
        (("train",), TWO, "the task is missing"),
        (("train", "--replicas", "5"), TWO | CHIEF, "names 2 workers but num_replicas is 5"),
        (("run",), TWO | CHIEF, "only `backbeam train` works in several"),
        (("run", "--device", "gpu:99"), {}, "--device gpu:99 needs 100 or more GPUs but TensorFlow sees"),
    ],
)
def test_what_is_refused(arguments, task, message, workspace):
    before = contents(workspace)
    done = run_in_process(*arguments, "--workspace", workspace, environment={"TF_CONFIG": json.dumps(task)})
    assert done.code == 2, done.err
    assert message in done.err
    assert contents(workspace) == before
