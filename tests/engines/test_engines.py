"""The same bytes from every engine, and a clear failure when a worker is killed, by the real command."""

import os
import re
import sys

import pytest
import requests

from tests.engines.catalogue import CHILDREN, EMBEDDED, ENGINES, FLINK_CLUSTER, KILLABLE, NOTES, with_table
from tests.engines.isolation import isolated
from tests.engines.stages import LAST_WRITTEN, STEPS, WRITTEN, command_of, run_on, run_twice_on, workspace_without
from tests.helpers import BACKBEAM, Digits, artefacts, contents, run_in_process


def parametrized(engines):
    marked = [pytest.param(x, id=x.name, marks=[] if x.quick else pytest.mark.engines) for x in engines]
    return pytest.mark.parametrize("engine", marked)


@parametrized((*ENGINES, *EMBEDDED, FLINK_CLUSTER))
@pytest.mark.thorough
def test_the_same_bytes(engine, digits, expected, tmp_path):
    done = run_on(engine, tmp_path, ["run", "--dataset", digits, *STEPS], writes=tmp_path / "writes")
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


IN_DRIVER = [engine for engine in ENGINES if engine.name in ("this process", "Python job service, loopback")]


def failing(stage, engine):
    later = [stage != "preprocess", not engine.quick]
    marks = ([pytest.mark.engines] if any(later) else []) + ([pytest.mark.slow] if all(later) and engine.killed else [])
    return pytest.param(stage, engine, id=f"{stage}-{engine.name}", marks=marks)


@pytest.mark.parametrize(
    ("stage", "engine"),
    [
        failing(stage, engine)
        for stage in WRITTEN
        for engine in (*KILLABLE, *IN_DRIVER)
        if engine.arguments or stage != "validate"  # which is no Beam job without them
    ],
)
@pytest.mark.thorough
def test_a_killed_worker_or_a_disk_that_fails(stage, engine, digits, expected, tmp_path):
    """While a shard, what a validation found, or predictions are written: a clear error, nothing left, done again."""
    check_failure(stage, WRITTEN[stage], engine, digits, expected, tmp_path)


@pytest.mark.parametrize("stage", LAST_WRITTEN)
@pytest.mark.engines
def test_a_worker_killed_in_the_last_step_of_a_job(stage, digits, expected, tmp_path):
    check_failure(stage, LAST_WRITTEN[stage], CHILDREN, digits, expected, tmp_path)


def check_failure(stage, written, engine, digits, expected, tmp_path):
    """A worker is killed, or the disk fails, when a file is written: a clear error, nothing left, done again."""
    workspace = workspace_without(stage, expected, tmp_path)
    request = tmp_path / "request"
    before = contents(workspace)
    request.write_text(written)
    probe = {"kill" if engine.killed else "fail": request}
    failed, after, again = run_twice_on(engine, tmp_path, command_of(stage, digits), **probe)
    assert not request.exists()
    assert failed.code == (7 if engine.killed else 5), failed.err
    assert ("backbeam: the engine failed" if engine.killed else "the probe lets this fail") in failed.err
    lines = [line for line in failed.err.splitlines() if not re.search(r": [\d,]+ of [\d,]+ examples", line)]
    assert len(lines) == 2, failed.err  # what it is at, and how that ended; on a slow machine, how far it is too
    for name in ("engine.log", ".lock-holder.json"):  # the next command clears up the latter
        assert after.pop(name, b"nothing written, nothing kept")
    assert after == before
    assert again.code == 0, again.err
    assert artefacts(workspace) == artefacts(expected)


WAIT_FOR_JOB = """
import sys, time, urllib.request
while b'"RUNNING"' not in urllib.request.urlopen(sys.argv[1], timeout=10).read():
    time.sleep(0.1)
"""


@pytest.mark.engines
def test_a_command_that_is_terminated_leaves_no_job_on_a_flink_cluster(tmp_path):
    told = FLINK_CLUSTER.told()
    overview = f"http://{os.environ['BACKBEAM_TEST_FLINK_MASTER']}/v1/jobs/overview"
    digits = Digits(num_train=200_000, num_test=10, height=28, width=28).write(tmp_path / "digits")
    command = [BACKBEAM, "preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", *told]
    script = f'"$@" & "{sys.executable}" -c "$WAIT_FOR_JOB" {overview}; kill -TERM $!; wait $!'
    environment = {"WAIT_FOR_JOB": WAIT_FOR_JOB}
    commands = [["sh", "-c", script, "sh", *command]]
    [done] = isolated(commands, FLINK_CLUSTER.server_commands, tmp_path, environment, own_network=False)
    assert done.code == 143, done.err
    [job] = re.findall(r"cancelled job (\w+) on", done.err)
    jobs = requests.get(overview, timeout=10).json()["jobs"]
    assert [each["state"] for each in jobs if each["jid"] == job] == ["CANCELED"]


@pytest.mark.parametrize("option", ["--runner=FnApiRunner", "--direct_num_workers=3"])
def test_workers_are_chosen_once(option, digits, tmp_path):
    done = run_in_process(
        "preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", "--workers", 2, "--", option
    )
    assert done.code == 2
    assert f"--workers 2 and {option}" in done.err
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("option", ["--dry_run=True", "--template_location=job.json"])
def test_an_engine_that_would_run_the_job_is_not_asked_to_build_it_only(option, digits, tmp_path):
    done = run_in_process("preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", "--", option)
    assert done.code == 2
    assert f"{option} goes with --runner=DataflowRunner" in done.err
    assert not list(tmp_path.glob("ws/datasets/*"))


def test_the_table_of_the_notes_is_what_is_tested():
    notes = NOTES.read_text()
    assert with_table(notes) == notes, "run python -m tests.engines.catalogue"
