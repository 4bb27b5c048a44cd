"""Runs that are interrupted and resumed end with the same files as runs that are not."""

import shutil
import signal

import pytest

from pipeline.storage.files import digest_of
from tests.helpers import Digits, backbeam, contents, killed_at
from tests.pipeline.train.interruption import (
    NUM_STEPS,
    QUICK,
    RECIPE_OPTIONS,
    checkpoints,
    command,
    interrupt_training,
    kill_while_writing,
    reproducible_contents,
    resumed_at,
    steps,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace with a data set whose epochs end in the middle of a chunk, and no run."""
    folder = tmp_path_factory.mktemp("resume")
    digits = Digits(num_train=433).write(folder / "digits")
    done = backbeam("preprocess", "--workspace", folder / "ws", "--dataset", digits, "--num-shards", 3)
    assert done.code == 0, done.err
    return folder / "ws"


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory):
    """Return a function from a name in RECIPE_OPTIONS to the workspace of an uninterrupted run, trained once."""
    workspaces = {}

    def train(name):
        if name not in workspaces:
            workspaces[name] = shutil.copytree(prepared, tmp_path_factory.mktemp(name) / "ws")
            done = backbeam(*command(workspaces[name], *RECIPE_OPTIONS[name]))
            assert done.code == 0, done.err
        return workspaces[name]

    return train


@pytest.fixture
def workspace(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "ws")


@pytest.mark.parametrize(
    "name",
    [
        "article-manual",
        *(pytest.param(name, marks=pytest.mark.slow) for name in RECIPE_OPTIONS if name != "article-manual"),
    ],
)
def test_run_interrupted_three_times_gives_the_same_files(name, uninterrupted, workspace):
    options = RECIPE_OPTIONS[name]
    no_interval = (*options, "--checkpoint-every", 0)
    code, log = interrupt_training(signal.SIGTERM, 4_000, workspace, *no_interval)
    assert code == 143, log
    [first] = steps(workspace)
    assert first >= 3_000
    assert f"left at step {first}: the same command goes on from there" in log
    assert not list(workspace.glob("runs/*/run.json"))

    code, log = interrupt_training(signal.SIGINT, first + 6_000, workspace, *no_interval)
    assert code == 130, log
    assert f"going on from step {first}, where" in log
    assert f"step {first + 1000:>6}:" in log
    assert f"step {first:>6}:" not in log
    second = steps(workspace)[-1]
    assert steps(workspace) == [first, second]

    code, log = interrupt_training(signal.SIGKILL, 24_000, workspace, *options, "--checkpoint-every", 2_000)
    assert code == -signal.SIGKILL, log
    third = steps(workspace)[-1]
    assert third >= 22_000
    assert third % 2_000 == 0

    done = backbeam(*command(workspace, *options))
    assert done.code == 0, done.err
    assert resumed_at(workspace) == [first, second, third]
    assert reproducible_contents(workspace) == reproducible_contents(uninterrupted(name))
    assert not checkpoints(workspace)
    assert not [path for path in contents(workspace) if ".tmp" in path or "checkpoint" in path]


def test_run_killed_during_a_checkpoint_write_resumes_from_the_previous_one(uninterrupted, workspace):
    kill_while_writing(30_000, workspace)
    names = [path.name for path in checkpoints(workspace)]
    assert [name for name in names if name.endswith(".tmp")]
    done = backbeam(*command(workspace, *QUICK, "--checkpoint-every", 0))
    assert done.code == 0, done.err
    assert resumed_at(workspace) == [20_000]
    assert reproducible_contents(workspace) == reproducible_contents(uninterrupted("article-manual"))


def test_temporary_file_of_a_killed_write_is_deleted_on_resume(workspace):
    kill_while_writing(30_000, workspace)
    code, log = interrupt_training(signal.SIGTERM, 40_000, workspace, *QUICK)
    assert code == 143, log
    assert all(path.name.startswith("step-") for path in checkpoints(workspace))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        pytest.param((), 2, marks=pytest.mark.slow),
        pytest.param(("--keep-checkpoints", 1), 1, marks=pytest.mark.slow),
        (("--keep-checkpoints", 3), 3),
    ],
)
def test_number_of_kept_checkpoints_is_an_option(options, kept, workspace):
    kill_while_writing(60_000, workspace, *options)
    complete = [path for path in checkpoints(workspace) if not path.name.startswith(".")]
    assert [int(path.name.split("-")[1]) for path in complete] == [20_000, 30_000, 40_000, 50_000][-kept:]


def test_checkpoints_of_a_complete_run_are_deleted(workspace):
    options = (*QUICK, "--checkpoint-every", 30_000)
    assert killed_at("os.remove", r"/step-\d+[^/]*$", *command(workspace, *options)) == -signal.SIGKILL
    assert steps(workspace) == [30_000, 60_000]
    again = backbeam(*command(workspace, *QUICK), "--json")
    assert (again.code, again.json["skipped"]) == (0, ["train"])
    assert not checkpoints(workspace)


def flip_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def extend(path):
    path.write_bytes(path.read_bytes() + bytes(16))


def empty(path):
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def two_checkpoints(prepared, tmp_path_factory):
    workspace = shutil.copytree(prepared, tmp_path_factory.mktemp("two") / "ws")
    kill_while_writing(30_000, workspace)
    return workspace


@pytest.mark.parametrize(
    "damage", [flip_bit, *(pytest.param(change, marks=pytest.mark.slow) for change in (truncate, extend, empty))]
)
def test_run_resumes_from_the_previous_checkpoint_if_the_newest_is_corrupt(
    damage, two_checkpoints, uninterrupted, tmp_path
):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    *_, previous, newest = (path for path in checkpoints(workspace) if not path.name.startswith("."))
    damage(newest)
    done = backbeam(*command(workspace, *QUICK, "--quiet"))
    assert done.code == 0, done.err
    assert f"train: warning: {newest} is corrupt" in done.err
    assert previous.name not in done.err
    assert resumed_at(workspace) == [10_000]
    assert reproducible_contents(workspace) == reproducible_contents(uninterrupted("article-manual"))


@pytest.mark.slow
def test_run_resumes_from_the_previous_checkpoint_if_the_newest_is_deleted(two_checkpoints, uninterrupted, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    checkpoints(workspace)[-1].unlink()
    done = backbeam(*command(workspace, *QUICK, "--quiet"))
    assert (done.code, done.err.count("warning")) == (0, 0)
    assert resumed_at(workspace) == [10_000]
    assert reproducible_contents(workspace) == reproducible_contents(uninterrupted("article-manual"))


def test_checkpoints_with_swapped_names_are_rejected(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    *_, first, second = checkpoints(workspace)
    first_data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(first_data)
    done = backbeam(*command(workspace, *QUICK))
    assert done.code == 4, done.err
    assert str(first) in done.err
    assert str(second) in done.err


@pytest.mark.slow
def test_corrupt_checkpoint_does_not_count_as_kept(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    newest = checkpoints(workspace)[-1]
    flip_bit(newest)
    code, log = interrupt_training(signal.SIGTERM, 12_000, workspace, *QUICK)
    assert code == 143, log
    assert newest.name not in {path.name for path in checkpoints(workspace)}
    assert len(steps(workspace)) == 2
    assert backbeam(*command(workspace, *QUICK)).err.count("warning") == 0


def test_run_with_only_corrupt_checkpoints_is_an_error_and_not_changed(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    sound = [path for path in checkpoints(workspace) if not path.name.startswith(".")]
    for path in sound:
        flip_bit(path)
    before = {name: data for name, data in contents(workspace / "runs").items() if not name.endswith(".tmp")}
    done = backbeam(*command(workspace, *QUICK))
    assert done.code == 4, done.err
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert all(str(path) in last for path in sound)
    assert f"delete the folder {sound[0].parent} to train this run from the start" in last
    assert contents(workspace / "runs") == before
    shutil.rmtree(sound[0].parent)
    assert backbeam(*command(workspace, *QUICK)).code == 0
    assert resumed_at(workspace) == []


def test_checkpoint_of_another_run_is_rejected(two_checkpoints, tmp_path):
    """The checkpoint verifies and has the same shapes, but another seed."""
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    [folder] = workspace.glob("runs/*")
    code, log = interrupt_training(signal.SIGTERM, 5_000, workspace, *QUICK, "--seed", 2)
    assert code == 143, log
    [other] = set(workspace.glob("runs/*")) - {folder}
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    done = backbeam(*command(workspace, *QUICK))
    assert done.code == 4, done.err
    assert f"is of the run {other.name}, expected {folder.name}" in done.err


@pytest.mark.slow
def test_checkpoint_named_for_another_step_is_rejected(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    newest = checkpoints(workspace)[-1]
    newest.rename(newest.with_name(f"step-{90_000:010d}-{digest_of(newest.read_bytes())}.safetensors"))
    done = backbeam(*command(workspace, *QUICK))
    assert done.code == 0, done.err
    assert "is corrupt: it is of step 20000" in done.err
    assert resumed_at(workspace) == [10_000]


def test_every_interrupted_run_of_several_leaves_a_checkpoint(uninterrupted, workspace):
    code, log = interrupt_training(signal.SIGTERM, 9_000, workspace, *QUICK, "--seeds", "1-2", "--checkpoint-every", 0)
    assert code == 143, log
    saved = steps(workspace)
    assert len(saved) == 2
    assert all(f"is left at step {step}: " in log for step in saved)
    done = backbeam(*command(workspace, *QUICK, "--seeds", "1-2"))
    assert done.code == 0, done.err
    assert not checkpoints(workspace)
    expected = reproducible_contents(uninterrupted("article-manual"))
    files = reproducible_contents(workspace)
    assert {name: files[name] for name in expected} == expected


@pytest.mark.slow
def test_run_with_several_windows_resumes_to_the_same_files(tmp_path):
    """Each window holds one of three shards."""
    digits = Digits(num_train=1500, num_test=20, height=28, width=28).write(tmp_path / "digits")  # 1.1 MiB of pixels
    assert backbeam("preprocess", "--workspace", tmp_path / "a", "--dataset", digits, "--num-shards", 3).code == 0
    workspaces = (tmp_path / "a", shutil.copytree(tmp_path / "a", tmp_path / "b"))
    options = ("train", "--num-steps", 5_300, "--window-mib", 1)
    arguments = (*options, "--workspace", workspaces[0], "--checkpoint-every", 1000)
    assert killed_at("os.rename", r"\.step-0000005000", *arguments) == -signal.SIGKILL
    for workspace in workspaces:
        done = backbeam(*options, "--workspace", workspace)
        assert done.code == 0, done.err
    assert resumed_at(workspaces[0]) == [4_000]
    assert reproducible_contents(workspaces[0]) == reproducible_contents(workspaces[1])


@pytest.mark.slow
def test_run_on_several_devices_resumes_to_the_same_files(workspace, tmp_path):
    options = ("--recipe", "modern", "--layers", "20,8,3", "--replicas", 2, "--device", "cpu", "--num-steps", 3_500)
    alone = shutil.copytree(workspace, tmp_path / "alone")
    arguments = (*command(workspace, *options), "--checkpoint-every", 1000)
    assert killed_at("os.rename", r"\.step-0000003000", *arguments) == -signal.SIGKILL
    for folder in (workspace, alone):
        done = backbeam(*command(folder, *options))
        assert done.code == 0, done.err
    assert resumed_at(workspace) == [2_000]
    assert reproducible_contents(workspace) == reproducible_contents(alone)


@pytest.mark.slow
def test_tensorboard_log_continues_after_resume(workspace):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = (*QUICK, "--tensorboard")
    assert killed_at("os.rename", r"\.step-0000003000", *command(workspace, *options), "--checkpoint-every", 1000) < 0
    done = backbeam(*command(workspace, *options, "--num-steps", NUM_STEPS))
    assert done.code == 0, done.err
    [folder] = workspace.glob("runs/*/tensorboard")
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    logged = {event.step for event in events.Tensors("accuracy of the first test examples")}
    assert logged == set(range(0, NUM_STEPS + 1, 1000))


@pytest.mark.parametrize("arguments", [("--checkpoint-every", -1), ("--keep-checkpoints", 0)])
def test_checkpoint_options_out_of_range_are_rejected(arguments, workspace):
    done = backbeam(*command(workspace, *arguments))
    assert done.code == 2
    assert arguments[0] in done.err


def prepare_warm_start(workspace, **changed):
    """Train a short run; return its folder and the options for a run that starts with its parameters."""
    done = backbeam(*command(workspace), "--num-steps", 20, "--json")
    assert done.code == 0, done.err
    [run] = (workspace / "runs").glob("article-*")
    start = {"run_id": run.name, "sha256": digest_of((run / "parameters.safetensors").read_bytes())} | changed
    config = workspace.parent / "warm.toml"
    config.write_text("[training.warm_start]\n" + "".join(f'{name} = "{value}"\n' for name, value in start.items()))
    return run, ("--config", config)


def test_resumed_run_does_not_read_the_parameters_of_its_warm_start(workspace):
    start, options = prepare_warm_start(workspace)
    uninterrupted = shutil.copytree(workspace, workspace.parent / "uninterrupted")
    assert backbeam(*command(uninterrupted, *options)).code == 0
    assert interrupt_training(signal.SIGTERM, 3000, workspace, *options)[0] == 143
    shutil.move(start / "parameters.safetensors", workspace.parent)
    done = backbeam(*command(workspace, *options))
    assert (done.code, "going on from step" in done.err) == (0, True), done.err
    shutil.move(workspace.parent / "parameters.safetensors", start)
    assert reproducible_contents(workspace) == reproducible_contents(uninterrupted)


def test_rejected_warm_start_leaves_the_workspace_as_it_was(workspace):
    start, options = prepare_warm_start(workspace)
    before = contents(workspace)
    done = backbeam(*command(workspace, *options, "--layers", "20,7,3"))
    assert (done.code, "needs its layers, 20-30-3; those here are 20-7-3" in done.err) == (2, True), done.err
    _, gone = prepare_warm_start(workspace, sha256="0" * 64)
    assert backbeam(*command(workspace, *gone)).code == 4
    assert contents(workspace) == before
    assert [path.name for path in (workspace / "runs").iterdir()] == [start.name]
