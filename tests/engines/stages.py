"""What tests of engines do: the stages on an engine, with a probe in every process, and a look at what they left."""

import os
import shutil
import sys
from pathlib import Path

from pipeline.storage.tables import EVALUATION_TABLES
from tests.engines.isolation import isolated
from tests.helpers import BACKBEAM, Digits, backbeam, contents, without_time_made

PROBE = os.pathsep.join([str(Path(__file__).with_name("probe")), os.environ.get("PYTHONPATH", "")])
STEPS = ("--num-steps", "20", "--num-shards", "3")
WRITTEN = {
    "preprocess": "train-00001-of-00003.tfrecord",
    "validate": "result.json",
    "evaluate": "train-00001-of-00003.parquet",
}
LAST_WRITTEN = {"preprocess": "manifest.json", "evaluate": "evaluation.json"}  # by the last step of the stage's job


def run_on(engine, folder, command, **probe):
    """Run a backbeam command on a workspace, on an engine; see probe/sitecustomize.py."""
    [done] = _isolated(engine, folder, [_words(engine, folder, command)], probe)
    return done


def run_twice_on(engine, folder, command, **probe):
    """Run a command twice beside the same servers; return what became of each, and the files after the first."""
    words, between = _words(engine, folder, command), folder / "between"
    failed, _, again = _isolated(engine, folder, [words, ["cp", "-r", folder / "ws", between], words], probe)
    return failed, contents(between), again


def _words(engine, folder, command):
    command = [sys.executable, "-m", "tests.engines.small_jobs", *command]
    return [*command, "--workspace", folder / "ws", *engine.told()]


def _isolated(engine, folder, commands, probe):
    told = {f"BACKBEAM_PROBE_{name.upper()}": str(value) for name, value in probe.items()}
    environment = {"PYTHONPATH": PROBE} | engine.environment | told
    return isolated(commands, engine.server_commands, folder, environment, own_network=engine.own_network)


def preprocess_isolated(folder, *told, servers=None, environment=None):
    """Preprocess small digits beside servers; return what became of it."""
    place = ("--dataset", Digits().write(folder / "digits"), "--workspace", folder / "ws")
    [done] = isolated([[BACKBEAM, "preprocess", *place, *told]], servers or {}, folder, environment)
    return done


def check_shards(folder):
    """Check that `preprocess_isolated` made what the engine in this process makes."""
    expected = backbeam("preprocess", "--dataset", folder / "digits", "--workspace", folder / "expected")
    assert expected.code == 0, expected.err
    assert without_time_made(contents(folder / "ws")) == without_time_made(contents(folder / "expected"))


def command_of(stage, digits):
    return [stage, "--dataset", digits, "--num-shards", "3"] if stage == "preprocess" else [stage]


def workspace_without(stage, made, folder):
    workspace = shutil.copytree(made, folder / "ws")
    if stage == "preprocess":
        shutil.rmtree(workspace / "datasets")
        return workspace
    if stage == "validate":
        shutil.rmtree(workspace / "reports" / "validation")
        next(workspace.glob("datasets/*/validation.json")).unlink()
        return workspace
    for table in EVALUATION_TABLES:
        shutil.rmtree(workspace / "reports" / table)
    next(workspace.glob("runs/*/evaluation.json")).unlink()
    return workspace
