"""Interrupt training at a step, and read what a workspace holds afterwards."""

import json
import signal
import subprocess

import pyarrow.parquet as pq

from tests.helpers import BACKBEAM, contents, killed_at

NUM_STEPS = 80_000  # in chunks of 1,000: short enough to wait for, long enough to interrupt
RECIPE_OPTIONS = {
    "article-manual": ("--recipe", "article-manual"),
    "article-autodiff": ("--recipe", "article-autodiff"),
    "modern": ("--recipe", "modern", "--layers", "20,8,3"),  # momentum, dropout, cosine rates
    "compare": ("--recipe", "nielsen-30", "--layers", "20,8,3", "--step", "compare"),
}
QUICK = RECIPE_OPTIONS["article-manual"]


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


def kill_while_writing(step, workspace, *options):
    """Train until the checkpoint of a step is about to be renamed into place, and kill the process."""
    arguments = (*command(workspace, *QUICK), "--checkpoint-every", 10_000, *options)
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
