"""The same bytes from every engine, and a clear failure when a worker is killed, by the real command."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.tables import EVALUATION_TABLES
from tests.engines.catalogue import ENGINES, KILLABLE, NOTES, with_table
from tests.engines.isolation import isolated
from tests.helpers import BACKBEAM, Digits, backbeam, contents

PROBE = os.pathsep.join([str(Path(__file__).with_name("probe")), os.environ.get("PYTHONPATH", "")])
STEPS = ("--num-steps", "20", "--num-shards", "3")


def parametrized(engines):
    marked = [pytest.param(x, id=x.name, marks=[] if x.quick else pytest.mark.engines) for x in engines]
    return pytest.mark.parametrize("engine", marked)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return Digits(num_train=600, num_test=200).write(tmp_path_factory.mktemp("source") / "digits")


@pytest.fixture(scope="module")
def expected(tmp_path_factory, digits):
    """What the engine in this process, asked for nothing, makes of the digits."""
    workspace = tmp_path_factory.mktemp("expected") / "ws"
    done = backbeam("run", "--dataset", digits, *STEPS, "--workspace", workspace)
    assert done.code == 0, done.err
    return workspace


def run_on(told, servers, folder, commands, environment):
    """Run backbeam commands on a workspace, on an engine."""
    place = ("--workspace", folder / "ws")
    every = [[BACKBEAM, *command, *place, *told] for command in commands]
    return isolated(every, servers, folder, environment)


def artefacts(workspace):
    """All that does not tell times."""
    kept = contents(workspace).items()
    return {name: data for name, data in kept if not name.endswith(("run.json", "learning_curve.parquet"))}


@parametrized(ENGINES)
def test_the_same_bytes(engine, digits, expected, tmp_path):
    environment = {"PYTHONPATH": PROBE, "BACKBEAM_PROBE_WRITES": str(tmp_path / "writes")}
    commands = [["run", "--dataset", digits, *STEPS]]
    [done] = run_on(engine.told(), engine.server_commands, tmp_path, commands, environment)
    assert done.code == 0, done.err
    assert artefacts(tmp_path / "ws") == artefacts(expected)
    assert "INFO" not in done.err
    assert "WARNING" not in done.err
    check_writes(tmp_path)


def check_writes(folder):
    """Every process wrote below the workspace, but for the servers' own files."""
    written = (folder / "writes").read_text().splitlines()
    assert any("/ws/datasets/.scratch-" in path for path in written)
    strange = [path for path in written if not path.startswith((str(folder), "/dev/"))]
    assert strange == []


WRITTEN = {"preprocess": "train-00001-of-00003.tfrecord", "evaluate": "train-00001-of-00003.parquet"}


@parametrized(KILLABLE)
@pytest.mark.parametrize("stage", ["preprocess", pytest.param("evaluate", marks=pytest.mark.engines)])
def test_a_killed_worker(stage, engine, digits, expected, tmp_path):
    """While it writes a shard, or its predictions: that fails clearly, leaves nothing, and can be done again."""
    discard(shutil.copytree(expected, tmp_path / "ws"), stage)
    before, kill = contents(tmp_path / "ws"), tmp_path / "kill"
    kill.write_text(WRITTEN[stage])
    environment = {"PYTHONPATH": PROBE, "BACKBEAM_PROBE_KILL": str(kill)}
    command = [stage] if stage == "evaluate" else [stage, "--dataset", digits, *STEPS[2:]]
    [failed] = run_on(engine.told(), engine.server_commands, tmp_path, [command], environment)
    assert not kill.exists()
    assert failed.code == 7, failed.err
    assert failed.err.count("backbeam: the engine failed") == 1
    assert len(failed.err.splitlines()) == 2, failed.err  # what it is at, and how that ended
    after = contents(tmp_path / "ws")
    assert after.pop("engine.log", b"nothing written, nothing kept")
    assert after == before
    [again] = run_on(engine.told(), engine.server_commands, tmp_path, [command], environment)
    assert again.code == 0, again.err
    assert artefacts(tmp_path / "ws") == artefacts(expected)


def discard(workspace, stage):
    """Make a stage undone."""
    if stage == "preprocess":
        shutil.rmtree(workspace / "datasets")
        return
    for table in EVALUATION_TABLES:
        shutil.rmtree(workspace / "reports" / table)
    next(workspace.glob("runs/*/evaluation.json")).unlink()


@pytest.mark.parametrize("option", ["--runner=FnApiRunner", "--direct_num_workers=3"])
def test_workers_are_chosen_once(option, digits, tmp_path):
    done = backbeam("preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", "--workers", 2, "--", option)
    assert done.code == 2
    assert f"--workers 2 and {option}" in done.err
    assert not (tmp_path / "ws").exists()


def test_the_table_of_the_notes_is_what_is_tested():
    notes = NOTES.read_text()
    assert with_table(notes) == notes, "run python -m tests.engines.catalogue"
