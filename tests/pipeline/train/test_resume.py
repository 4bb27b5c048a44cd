"""Runs that are interrupted and resumed end with the same files as runs that are not."""

import json
import re
import shutil
import signal
import subprocess

import pyarrow.parquet as pq
import pytest

from model.tensor_file import decode_about, decode_tensors, encode_tensors
from pipeline.storage.files import digest_of
from pipeline.train.run_lookup import find_run
from tests.damage import damage
from tests.helpers import BACKBEAM, Digits, backbeam, contents, killed_at, run_in_process

NUM_STEPS = 80_000  # in chunks of 1,000: short enough to wait for, long enough to interrupt by a signal
FEW_STEPS = ("--num-steps", 4000)  # where an operation on the disk decides when the process is killed


def command(workspace, *options):
    return ("train", "--workspace", workspace, "--num-steps", NUM_STEPS, *options)


def interrupt_training(signal_number, step, workspace, *options):
    """Train until the log reports a step, and send a signal; return the exit code and the log."""
    arguments = [BACKBEAM, *command(workspace, *options)]
    with subprocess.Popen(list(map(str, arguments)), stderr=subprocess.PIPE, text=True) as running:
        lines = []
        for line in running.stderr:
            lines.append(line)
            if f"step {step:>6}:" in line:
                running.send_signal(signal_number)
        return running.wait(60), "".join(lines)


def finish(workspace, *options):
    """Train to the last step, in a new process, whose XLA has the threads that the network asks for; return the log."""
    done = backbeam(*command(workspace, *options))
    assert done.code == 0, done.err
    return done.err


def kill_while_writing(step, workspace, *options):
    """Train until the checkpoint of a step is about to be renamed into place, and kill the process."""
    arguments = (*command(workspace, *FEW_STEPS), "--checkpoint-every", 1000, *options)
    assert killed_at("os.rename", rf"\.step-{step:010d}", *arguments) == -signal.SIGKILL


def checkpoints(workspace):
    """The checkpoint files, the oldest of each run first."""
    return sorted(workspace.glob("runs/*/checkpoints/*"))


def steps(workspace):
    return [int(path.name.split("-")[1]) for path in checkpoints(workspace)]


def reproducible_contents(workspace):
    """The files of all runs, without times and without the steps at which a run was resumed."""
    files = {}
    for name, data in contents(workspace).items():
        if name.endswith("/learning_curve.parquet"):
            files[name] = pq.read_table(workspace / name).drop(["seconds"]).to_pylist()[1:]  # the first loss is NaN
        elif name.endswith("/run.json"):
            record = json.loads(data)
            record["tables"] = [table for table in record["tables"] if table["table"] != "learning_curve"]
            varying = {"seconds", "finished", "record_sha256", "resumed_at"}
            files[name] = {key: value for key, value in record.items() if key not in varying}
        elif name.startswith(("runs/", "reports/")) and "validation" not in name:
            files[name] = data
    return files


def resumed_at(workspace):
    [path] = workspace.glob("runs/*/run.json")
    return json.loads(path.read_bytes()).get("resumed_at", [])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace with a data set whose epochs end in the middle of a chunk, and no run."""
    folder = tmp_path_factory.mktemp("resume")
    digits = Digits(num_train=433).write(folder / "digits")
    done = run_in_process("preprocess", "--workspace", folder / "ws", "--dataset", digits, "--num-shards", 3)
    assert done.code == 0, done.err
    return folder / "ws"


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory):
    """The reproducible contents of a workspace with an uninterrupted run."""
    workspace = shutil.copytree(prepared, tmp_path_factory.mktemp("uninterrupted") / "ws")
    finish(workspace)
    return reproducible_contents(workspace)


@pytest.fixture
def workspace(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "ws")


@pytest.mark.thorough
def test_run_interrupted_three_times_gives_the_same_files(uninterrupted, workspace):
    no_interval = ("--checkpoint-every", 0)
    code, log = interrupt_training(signal.SIGTERM, 4_000, workspace, *no_interval)
    assert code == 143, log
    [first] = steps(workspace)
    assert first >= 3_000
    assert f"has a checkpoint of step {first}: the same command continues from it" in log
    assert not list(workspace.glob("runs/*/run.json"))

    printed = first // 1000 * 1000  # a chunk of 100 steps later the run may have been asked to stop
    code, log = interrupt_training(signal.SIGINT, printed + 6_000, workspace, *no_interval)
    assert code == 130, log
    assert f"continuing from the checkpoint of step {first}" in log
    assert f"step {printed + 1000:>6}:" in log
    assert f"step {printed:>6}:" not in log
    second = steps(workspace)[-1]
    assert steps(workspace) == [first, second]

    code, log = interrupt_training(signal.SIGKILL, 24_000, workspace, "--checkpoint-every", 2_000)
    assert code == -signal.SIGKILL, log
    third = steps(workspace)[-1]
    assert third >= 22_000
    assert third % 2_000 == 0

    finish(workspace)
    assert resumed_at(workspace) == [first, second, third]
    assert reproducible_contents(workspace) == uninterrupted
    assert not checkpoints(workspace)
    assert not [path for path in contents(workspace) if ".tmp" in path or "checkpoint" in path]


@pytest.mark.thorough
def test_checkpoints_of_a_complete_run_are_deleted(workspace):
    ended = killed_at("os.remove", r"/step-\d+[^/]*$", *command(workspace, *FEW_STEPS), "--checkpoint-every", 1500)
    assert (ended, steps(workspace)) == (-signal.SIGKILL, [1500, 3000])
    again = run_in_process(*command(workspace, *FEW_STEPS), "--json")
    assert (again.code, again.json["skipped"]) == (0, ["train"])
    assert not checkpoints(workspace)


@pytest.fixture(scope="module")
def two_checkpoints(prepared, tmp_path_factory):
    workspace = shutil.copytree(prepared, tmp_path_factory.mktemp("two") / "ws")
    kill_while_writing(3000, workspace)
    return workspace


@pytest.mark.thorough
def test_run_resumes_from_the_previous_checkpoint_if_the_newest_is_corrupt(two_checkpoints, prepared, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    unfinished, previous, newest = checkpoints(workspace)
    assert unfinished.name.endswith(".tmp")
    damage(newest, "flip a bit")
    log = finish(workspace, *FEW_STEPS, "--quiet")
    assert f"train: warning: {newest} is corrupt" in log
    assert previous.name not in log
    assert resumed_at(workspace) == [1000]
    assert not checkpoints(workspace)
    uninterrupted = shutil.copytree(prepared, tmp_path / "uninterrupted")
    finish(uninterrupted, *FEW_STEPS)
    assert reproducible_contents(workspace) == reproducible_contents(uninterrupted)


@pytest.mark.thorough
def test_run_with_only_corrupt_checkpoints_is_an_error_and_not_changed(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    sound = [path for path in checkpoints(workspace) if not path.name.startswith(".")]
    for path in sound:
        damage(path, "flip a bit")
    before = {name: data for name, data in contents(workspace / "runs").items() if not name.endswith(".tmp")}
    done = run_in_process(*command(workspace, *FEW_STEPS))
    assert done.code == 4, done.err
    last = done.err.splitlines()[-1]
    assert all(str(path) in last for path in sound)
    assert f"delete the folder {sound[0].parent} to train this run from the start" in last
    assert contents(workspace / "runs") == before
    shutil.rmtree(sound[0].parent)
    finish(workspace, *FEW_STEPS)
    assert resumed_at(workspace) == []


@pytest.mark.thorough
def test_every_interrupted_run_of_several_leaves_a_checkpoint(uninterrupted, workspace):
    code, log = interrupt_training(signal.SIGTERM, 9_000, workspace, "--seeds", "1-2", "--checkpoint-every", 0)
    assert code == 143, log
    saved = steps(workspace)
    assert len(saved) == 2
    assert all(f"has a checkpoint of step {step}: " in log for step in saved)
    finish(workspace, "--seeds", "1-2")
    assert not checkpoints(workspace)
    files = reproducible_contents(workspace)
    assert {name: files[name] for name in uninterrupted} == uninterrupted


@pytest.mark.slow
def test_tensorboard_log_continues_after_resume(workspace):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = (*FEW_STEPS, "--tensorboard")
    assert killed_at("os.rename", r"\.step-0000003000", *command(workspace, *options), "--checkpoint-every", 1000) < 0
    finish(workspace, *options)
    [folder] = workspace.glob("runs/*/tensorboard")
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    logged = {event.step for event in events.Tensors("accuracy of the first test examples")}
    assert logged == set(range(0, 4001, 100))


@pytest.mark.parametrize("arguments", [("--checkpoint-every", -1), ("--keep-checkpoints", 0)])
def test_checkpoint_options_out_of_range_are_rejected(arguments, workspace):
    done = run_in_process(*command(workspace, *arguments))
    assert done.code == 2
    assert arguments[0] in done.err


def prepare_warm_start(workspace, **changed):
    """Train a short run; return its folder and the options for a run that starts with its parameters."""
    done = run_in_process(*command(workspace), "--num-steps", 20, "--json")
    assert done.code == 0, done.err
    [run] = (workspace / "runs").glob("article-*")
    start = {"run_id": run.name, "sha256": digest_of((run / "parameters.safetensors").read_bytes())} | changed
    config = workspace.parent / "warm.toml"
    config.write_text("[training.warm_start]\n" + "".join(f'{name} = "{value}"\n' for name, value in start.items()))
    return run, ("--config", config)


@pytest.mark.thorough
def test_resumed_run_does_not_read_the_parameters_of_its_warm_start(workspace):
    start, options = prepare_warm_start(workspace)
    uninterrupted = shutil.copytree(workspace, workspace.parent / "uninterrupted")
    finish(uninterrupted, *options)
    assert interrupt_training(signal.SIGTERM, 3000, workspace, *options)[0] == 143
    shutil.move(start / "parameters.safetensors", workspace.parent)
    assert "continuing from the checkpoint of step" in finish(workspace, *options)
    shutil.move(workspace.parent / "parameters.safetensors", start)
    assert reproducible_contents(workspace) == reproducible_contents(uninterrupted)


@pytest.mark.thorough
def test_rejected_warm_start_leaves_the_workspace_as_it_was(workspace):
    start, options = prepare_warm_start(workspace)
    before = contents(workspace)
    done = run_in_process(*command(workspace, *options, "--layers", "20,7,3"))
    assert (done.code, "needs its layers, 20-30-3; those here are 20-7-3" in done.err) == (2, True), done.err
    _, gone = prepare_warm_start(workspace, sha256="0" * 64)
    assert run_in_process(*command(workspace, *gone)).code == 4
    assert contents(workspace) == before
    assert [path.name for path in (workspace / "runs").iterdir()] == [start.name]


@pytest.mark.thorough
def test_a_run_that_an_earlier_version_began_is_completed_and_made_again(workspace):
    """That version kept neither statistics of layers nor parameters of early steps."""
    kill_while_writing(2000, workspace)
    [path] = [each for each in checkpoints(workspace) if each.name.startswith("step-")]
    data = path.read_bytes()
    tensors = decode_tensors(data, path.name)
    earlier = {name: part for name, part in tensors.items() if not re.match(r"layers\.|[0-9]", name)}
    assert len(earlier) < len(tensors)
    stripped = encode_tensors(earlier, decode_about(data, path.name))
    path.unlink()
    step_name = "-".join(path.name.split("-")[:2])
    path.with_name(f"{step_name}-{digest_of(stripped)}.safetensors").write_bytes(stripped)
    done = run_in_process(*command(workspace, *FEW_STEPS), "--json")
    assert done.code == 0, done.err
    run = find_run(workspace, None)[0]
    assert (run.resumed_at, run.early_parameters) == ((1000,), None)
    assert not (workspace / "reports" / "layer_statistics").exists()
    assert run_in_process("verify", workspace).code == 0
    reproduced = run_in_process("reproduce", "--workspace", workspace)
    assert reproduced.code == 0, reproduced.out
