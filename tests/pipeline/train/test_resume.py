"""Runs that are broken off and go on, by the real command: nothing tells them from those that were left alone."""

import json
import shutil
import signal
import subprocess

import pyarrow.parquet as pq
import pytest

from pipeline.storage.files import digest_of
from tests.helpers import BACKBEAM, Digits, backbeam, contents, killed_at

NUM_STEPS = 80_000  # in chunks of 1,000: fast enough to wait for, long enough to break off
RUNS = {
    "article-manual": ("--recipe", "article-manual"),
    "article-autodiff": ("--recipe", "article-autodiff"),
    "modern": ("--recipe", "modern", "--layers", "20,8,3"),  # momentum, dropout, cosine rates
    "compare": ("--recipe", "nielsen-30", "--layers", "20,8,3", "--step", "compare"),
}
QUICK = RUNS["article-manual"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace with a data set whose epochs end in the middle of a chunk, and no run."""
    folder = tmp_path_factory.mktemp("resume")
    digits = Digits(num_train=433).write(folder / "digits")
    done = backbeam("preprocess", "--workspace", folder / "ws", "--dataset", digits, "--num-shards", 3)
    assert done.code == 0, done.err
    return folder / "ws"


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """Return the workspace of a run that was left alone, by the name of its options."""
    made = {}

    def find(name):
        if name not in made:
            made[name] = shutil.copytree(prepared, tmp_path_factory.mktemp(name) / "ws")
            done = backbeam(*command(made[name], *RUNS[name]))
            assert done.code == 0, done.err
        return made[name]

    return find


@pytest.fixture
def workspace(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "ws")


def command(workspace, *options):
    return ("train", "--workspace", workspace, "--num-steps", NUM_STEPS, *options)


def broken_off(number, step, workspace, *options):
    """Train until the log tells of a step, and send a signal; return the exit code and the log."""
    arguments = [BACKBEAM, *command(workspace, *options)]
    with subprocess.Popen(list(map(str, arguments)), stderr=subprocess.PIPE, text=True) as running:
        heard = []
        for line in running.stderr:
            heard.append(line)
            if f"step {step:>6}:" in line:
                running.send_signal(number)
        return running.wait(60), "".join(heard)


def checkpoints(workspace):
    """The files of checkpoints, the oldest first, by the seed of their run."""
    return sorted(workspace.glob("runs/*/checkpoints/*"))


def steps(workspace):
    return [int(path.name.split("-")[1]) for path in checkpoints(workspace)]


def timeless(workspace):
    """What runs leave, without what tells times, and without the steps at which they went on."""
    found = {}
    for name, data in contents(workspace).items():
        if name.endswith("/learning_curve.parquet"):
            found[name] = pq.read_table(workspace / name).drop(["seconds"]).to_pylist()[1:]  # the first loss is NaN
        elif name.endswith("/run.json"):
            record = json.loads(data)
            record["tables"] = [table for table in record["tables"] if table["table"] != "learning_curve"]
            ours = {"seconds", "finished", "record_sha256", "resumed_at"}
            found[name] = {key: value for key, value in record.items() if key not in ours}
        elif name.startswith(("runs/", "reports/")) and "validation" not in name:
            found[name] = data
    return found


def resumed_at(workspace):
    [path] = workspace.glob("runs/*/run.json")
    return json.loads(path.read_bytes()).get("resumed_at", [])


@pytest.mark.parametrize(
    "name",
    ["article-manual", *(pytest.param(name, marks=pytest.mark.slow) for name in RUNS if name != "article-manual")],
)
def test_broken_off_again_and_again_it_ends_as_if_it_had_been_left_alone(name, undisturbed, workspace):
    options = RUNS[name]
    only_then = (*options, "--checkpoint-every", 0)
    code, log = broken_off(signal.SIGTERM, 4_000, workspace, *only_then)
    assert code == 143, log
    [first] = steps(workspace)
    assert first >= 3_000
    assert f"left at step {first}: the same command goes on from there" in log
    assert not list(workspace.glob("runs/*/run.json"))

    code, log = broken_off(signal.SIGINT, first + 6_000, workspace, *only_then)
    assert code == 130, log
    assert f"going on from step {first}, where" in log
    assert f"step {first + 1000:>6}:" in log
    assert f"step {first:>6}:" not in log
    second = steps(workspace)[-1]
    assert steps(workspace) == [first, second]

    code, log = broken_off(signal.SIGKILL, 24_000, workspace, *options, "--checkpoint-every", 2_000)
    assert code == -signal.SIGKILL, log
    third = steps(workspace)[-1]
    assert third >= 22_000
    assert third % 2_000 == 0

    done = backbeam(*command(workspace, *options))
    assert done.code == 0, done.err
    assert resumed_at(workspace) == [first, second, third]
    assert timeless(workspace) == timeless(undisturbed(name))
    assert not checkpoints(workspace)
    assert not [path for path in contents(workspace) if ".tmp" in path or "checkpoint" in path]


def killed_while_writing(step, workspace, *options):
    """Train until the checkpoint of a step is about to be put in place."""
    arguments = (*command(workspace, *QUICK), "--checkpoint-every", 10_000, *options)
    assert killed_at("os.rename", rf"\.step-{step:010d}", *arguments) == -signal.SIGKILL


def test_killed_while_a_checkpoint_is_written_the_one_before_holds(undisturbed, workspace):
    killed_while_writing(30_000, workspace)
    left = [path.name for path in checkpoints(workspace)]
    assert [name for name in left if name.endswith(".tmp")]
    done = backbeam(*command(workspace, *QUICK, "--checkpoint-every", 0))
    assert done.code == 0, done.err
    assert resumed_at(workspace) == [20_000]
    assert timeless(workspace) == timeless(undisturbed("article-manual"))


def test_what_a_killed_write_left_is_cleared_when_the_run_goes_on(workspace):
    killed_while_writing(30_000, workspace)
    code, log = broken_off(signal.SIGTERM, 40_000, workspace, *QUICK)
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
def test_so_many_checkpoints_are_kept(options, kept, workspace):
    killed_while_writing(60_000, workspace, *options)
    complete = [path for path in checkpoints(workspace) if not path.name.startswith(".")]
    assert [int(path.name.split("-")[1]) for path in complete] == [20_000, 30_000, 40_000, 50_000][-kept:]


def test_checkpoints_that_a_killed_process_left_of_a_complete_run_are_cleared(workspace):
    options = (*QUICK, "--checkpoint-every", 30_000)
    assert killed_at("os.remove", r"/step-\d+[^/]*$", *command(workspace, *options)) == -signal.SIGKILL
    assert steps(workspace) == [30_000, 60_000]
    again = backbeam(*command(workspace, *QUICK), "--json")
    assert (again.code, again.json["skipped"]) == (0, ["train"])
    assert not checkpoints(workspace)


def spoil(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def extend(path):
    path.write_bytes(path.read_bytes() + bytes(16))


def empty(path):
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def two_checkpoints(prepared, tmp_path_factory):
    workspace = shutil.copytree(prepared, tmp_path_factory.mktemp("two") / "ws")
    killed_while_writing(30_000, workspace)
    return workspace


@pytest.mark.parametrize(
    "damage", [spoil, *(pytest.param(each, marks=pytest.mark.slow) for each in (cut, extend, empty))]
)
def test_the_one_before_is_taken_where_the_newest_does_not_verify(damage, two_checkpoints, undisturbed, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    *_, before, newest = (path for path in checkpoints(workspace) if not path.name.startswith("."))
    damage(newest)
    done = backbeam(*command(workspace, *QUICK, "--quiet"))
    assert done.code == 0, done.err
    assert f"train: warning: {newest} is corrupt" in done.err
    assert before.name not in done.err
    assert resumed_at(workspace) == [10_000]
    assert timeless(workspace) == timeless(undisturbed("article-manual"))


@pytest.mark.slow
def test_where_the_newest_is_deleted_the_one_before_is_the_newest(two_checkpoints, undisturbed, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    checkpoints(workspace)[-1].unlink()
    done = backbeam(*command(workspace, *QUICK, "--quiet"))
    assert (done.code, done.err.count("warning")) == (0, 0)
    assert resumed_at(workspace) == [10_000]
    assert timeless(workspace) == timeless(undisturbed("article-manual"))


def test_two_that_change_places_are_both_refused(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    *_, first, second = checkpoints(workspace)
    data = first.read_bytes(), second.read_bytes()
    second.write_bytes(data[0])
    first.write_bytes(data[1])
    done = backbeam(*command(workspace, *QUICK))
    assert done.code == 4, done.err
    assert str(first) in done.err
    assert str(second) in done.err


@pytest.mark.slow
def test_a_damaged_one_does_not_take_the_place_of_a_sound_one(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    newest = checkpoints(workspace)[-1]
    spoil(newest)
    code, log = broken_off(signal.SIGTERM, 12_000, workspace, *QUICK)
    assert code == 143, log
    assert newest.name not in {path.name for path in checkpoints(workspace)}
    assert len(steps(workspace)) == 2
    assert backbeam(*command(workspace, *QUICK)).err.count("warning") == 0


def test_none_that_verifies_is_an_error_and_nothing_is_touched(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    sound = [path for path in checkpoints(workspace) if not path.name.startswith(".")]
    for path in sound:
        spoil(path)
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


def test_a_checkpoint_of_another_run_is_refused(two_checkpoints, tmp_path):
    """Sound in itself, and of the same shape, but trained from another seed."""
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    [folder] = workspace.glob("runs/*")
    code, log = broken_off(signal.SIGTERM, 5_000, workspace, *QUICK, "--seed", 2)
    assert code == 143, log
    [other] = set(workspace.glob("runs/*")) - {folder}
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    done = backbeam(*command(workspace, *QUICK))
    assert done.code == 4, done.err
    assert f"is of the run {other.name}, expected {folder.name}" in done.err


@pytest.mark.slow
def test_a_file_under_the_name_of_another_step_is_refused(two_checkpoints, tmp_path):
    workspace = shutil.copytree(two_checkpoints, tmp_path / "ws")
    newest = checkpoints(workspace)[-1]
    newest.rename(newest.with_name(f"step-{90_000:010d}-{digest_of(newest.read_bytes())}.safetensors"))
    done = backbeam(*command(workspace, *QUICK))
    assert done.code == 0, done.err
    assert "is corrupt: it is of step 20000" in done.err
    assert resumed_at(workspace) == [10_000]


def test_every_run_that_was_going_on_leaves_a_checkpoint(undisturbed, workspace):
    code, log = broken_off(signal.SIGTERM, 9_000, workspace, *QUICK, "--seeds", "1-2", "--checkpoint-every", 0)
    assert code == 143, log
    left = steps(workspace)
    assert len(left) == 2
    assert all(f"is left at step {step}: " in log for step in left)
    done = backbeam(*command(workspace, *QUICK, "--seeds", "1-2"))
    assert done.code == 0, done.err
    assert not checkpoints(workspace)
    ours = timeless(workspace)
    assert {name: ours[name] for name in timeless(undisturbed("article-manual"))} == timeless(
        undisturbed("article-manual")
    )


@pytest.mark.slow
def test_the_split_is_held_window_by_window(tmp_path):
    """A window that holds one of three shards."""
    digits = Digits(num_train=1500, num_test=20, height=28, width=28).write(tmp_path / "digits")  # 1.1 MiB of pixels
    assert backbeam("preprocess", "--workspace", tmp_path / "a", "--dataset", digits, "--num-shards", 3).code == 0
    workspaces = tmp_path / "a", shutil.copytree(tmp_path / "a", tmp_path / "b")
    options = ("train", "--num-steps", 5_300, "--window-mib", 1)
    arguments = (*options, "--workspace", workspaces[0], "--checkpoint-every", 1000)
    assert killed_at("os.rename", r"\.step-0000005000", *arguments) == -signal.SIGKILL
    for workspace in workspaces:
        done = backbeam(*options, "--workspace", workspace)
        assert done.code == 0, done.err
    assert resumed_at(workspaces[0]) == [4_000]
    assert timeless(workspaces[0]) == timeless(workspaces[1])


@pytest.mark.slow
def test_devices_side_by_side_go_on_too(workspace, tmp_path):
    options = ("--recipe", "modern", "--layers", "20,8,3", "--replicas", 2, "--device", "cpu", "--num-steps", 3_500)
    alone = shutil.copytree(workspace, tmp_path / "alone")
    arguments = (*command(workspace, *options), "--checkpoint-every", 1000)
    assert killed_at("os.rename", r"\.step-0000003000", *arguments) == -signal.SIGKILL
    for each in (workspace, alone):
        done = backbeam(*command(each, *options))
        assert done.code == 0, done.err
    assert resumed_at(workspace) == [2_000]
    assert timeless(workspace) == timeless(alone)


@pytest.mark.slow
def test_a_log_for_tensorboard_goes_on(workspace):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = (*QUICK, "--tensorboard")
    assert killed_at("os.rename", r"\.step-0000003000", *command(workspace, *options), "--checkpoint-every", 1000) < 0
    done = backbeam(*command(workspace, *options, "--num-steps", NUM_STEPS))
    assert done.code == 0, done.err
    [folder] = workspace.glob("runs/*/tensorboard")
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    found = {event.step for event in events.Tensors("accuracy of the first test examples")}
    assert found == set(range(0, NUM_STEPS + 1, 1000))


@pytest.mark.parametrize("arguments", [("--checkpoint-every", -1), ("--keep-checkpoints", 0)])
def test_what_is_refused(arguments, workspace):
    done = backbeam(*command(workspace, *arguments))
    assert done.code == 2
    assert arguments[0] in done.err


def warm_start(workspace, **changed):
    """Train a run to begin with; return the options for one that begins with its parameters."""
    done = backbeam(*command(workspace), "--num-steps", 20, "--json")
    assert done.code == 0, done.err
    [run] = (workspace / "runs").glob("article-*")
    start = {"run_id": run.name, "sha256": digest_of((run / "parameters.safetensors").read_bytes())} | changed
    config = workspace.parent / "warm.toml"
    config.write_text("[training.warm_start]\n" + "".join(f'{name} = "{value}"\n' for name, value in start.items()))
    return run, ("--config", config)


def test_what_goes_on_from_a_checkpoint_needs_no_more_of_a_warm_start(workspace):
    start, options = warm_start(workspace)
    undisturbed = shutil.copytree(workspace, workspace.parent / "undisturbed")
    assert backbeam(*command(undisturbed, *options)).code == 0
    assert broken_off(signal.SIGTERM, 3000, workspace, *options)[0] == 143
    shutil.move(start / "parameters.safetensors", workspace.parent)
    done = backbeam(*command(workspace, *options))
    assert (done.code, "going on from step" in done.err) == (0, True), done.err
    shutil.move(workspace.parent / "parameters.safetensors", start)
    assert timeless(workspace) == timeless(undisturbed)


def test_a_warm_start_that_cannot_be_leaves_nothing_behind(workspace):
    start, options = warm_start(workspace)
    before = contents(workspace)
    done = backbeam(*command(workspace, *options, "--layers", "20,7,3"))
    assert (done.code, "needs its layers, 20-30-3; those here are 20-7-3" in done.err) == (2, True), done.err
    _, gone = warm_start(workspace, sha256="0" * 64)
    assert backbeam(*command(workspace, *gone)).code == 4
    assert contents(workspace) == before
    assert [path.name for path in (workspace / "runs").iterdir()] == [start.name]
