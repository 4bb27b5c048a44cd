"""`backbeam schedule` with real processes and real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model.errors import CorruptArtefact
from pipeline.cli.schedule_command import COMMAND
from pipeline.schedule.state import ScheduleHealth, ScheduleState, find_health_problem, load_state, write_record
from pipeline.storage.lock import lock_workspace
from tests.helpers import backbeam, run_in_process
from tests.pipeline.schedule import fake_retrain

NOON = ("--cron", "0 12 * * *")


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch) -> Path:
    """A workspace; fake runs write their notes to its parent folder."""
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path))
    return tmp_path / "ws"


@pytest.fixture
def start(workspace) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts schedulers, which do not outlive the test."""
    started = []

    def start_scheduler(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, fake_retrain.__file__, "schedule", *NOON, "--workspace", str(workspace), *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start_scheduler
    for process in started:
        process.kill()
        process.communicate()


def save_missed_due_times(workspace: Path) -> None:
    """Save a state according to which a run is due now."""
    handled = datetime.now(UTC) - timedelta(hours=50)
    state = ScheduleState(expression="0 12 * * *", timezone="UTC", handled=handled)
    write_record(workspace / "schedule.json", state)


def wait_for(condition: Callable[[], Any]) -> Any:
    for _ in range(600):
        if found := condition():
            return found
        time.sleep(0.1)
    raise TimeoutError(condition)


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_bytes()) if file.exists() else {}


def status(workspace: Path) -> str | None:
    return read(workspace / "schedule-health.json").get("status")


def start_run(workspace: Path, start, monkeypatch) -> tuple[subprocess.Popen, int]:
    """Start a scheduler with a run that takes long; return the scheduler and the process id of the run."""
    save_missed_due_times(workspace)
    monkeypatch.setenv("FAKE_SECONDS", "300")
    return start(), wait_for(lambda: read(workspace.parent / "started"))["pid"]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc/self").exists() else True


def test_sigint_ends_a_waiting_scheduler_and_check_reports_whether_it_runs(workspace, start):
    scheduler = start()
    wait_for(lambda: status(workspace) == "waiting")
    health = read(workspace / "schedule-health.json")
    assert (health["pid"], health["consecutive_failures"]) == (scheduler.pid, 0)
    assert run_in_process("schedule", "--check", "--workspace", workspace).code == 0
    second = start()
    assert f"in use by process {scheduler.pid} " in second.communicate(timeout=60)[1]
    assert second.returncode == 6
    scheduler.send_signal(signal.SIGINT)
    out, err = scheduler.communicate(timeout=60)
    assert (scheduler.returncode, out, status(workspace)) == (130, "", "stopped")
    assert f"next due {health['next_due']}" in err
    assert not (workspace.parent / "started").exists()
    checked = run_in_process("schedule", "--check", "--workspace", workspace)
    assert checked.code == 1
    assert "has stopped" in checked.err


def test_sigterm_is_forwarded_to_the_run_which_resumes_at_the_next_start(workspace, start, monkeypatch):
    scheduler, run = start_run(workspace, start, monkeypatch)
    wait_for(lambda: status(workspace) == "running")
    scheduler.terminate()
    _, err = scheduler.communicate(timeout=60)
    assert scheduler.returncode == 143
    assert (workspace.parent / "ended").read_text() == str(int(signal.SIGTERM))
    assert not is_running(run)
    assert "it resumes at the next start" in err
    state = load_state(workspace / "schedule.json")
    assert (state.exit_code, state.failures) == (143, 0)
    monkeypatch.setenv("FAKE_SECONDS", "0")
    health_file = workspace.parent / "health" / "schedule.json"
    again = start("--once", "--health-file", str(health_file))
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "retries what was due" in err
    assert "run-1 promoted: better by 0.5 points\n" in err
    assert read(health_file)["status"] == "stopped"


def test_a_second_signal_kills_a_run_that_ignores_the_first(workspace, start, monkeypatch):
    monkeypatch.setenv("FAKE_DEAF", "1")
    scheduler, run = start_run(workspace, start, monkeypatch)
    scheduler.terminate()
    for line in scheduler.stderr:
        if "signal 15 is passed on" in line:
            break
    assert is_running(run)
    scheduler.terminate()
    scheduler.communicate(timeout=60)
    assert scheduler.returncode == 143
    assert not is_running(run)


def test_a_run_ends_when_its_scheduler_is_killed_and_is_retried(workspace, start, monkeypatch):
    scheduler, run = start_run(workspace, start, monkeypatch)
    scheduler.kill()
    scheduler.communicate()
    wait_for(lambda: not is_running(run))
    assert (workspace.parent / "ended").read_text() == str(int(signal.SIGTERM))
    start()
    wait_for(lambda: status(workspace) == "backing-off")
    assert read(workspace / "schedule-health.json")["consecutive_failures"] == 1


def test_a_killed_run_is_a_failure_and_the_scheduler_continues(workspace, start, monkeypatch):
    save_missed_due_times(workspace)
    monkeypatch.setenv("FAKE_CODE", str(-signal.SIGKILL))
    scheduler = start()
    wait_for(lambda: status(workspace) == "backing-off")
    health = read(workspace / "schedule-health.json")
    assert (health["exit_code"], health["outcome"]) == (-9, "signal 9 killed the run")
    assert scheduler.poll() is None


def test_once_forwards_options_and_exits_with_the_code_of_the_run(workspace, start, monkeypatch):
    monkeypatch.setenv("FAKE_CODE", "3")
    scheduler = start("--once", "--seed", "3", "--quiet", "--", "--direct_num_workers=2")
    _, err = scheduler.communicate(timeout=60)
    assert scheduler.returncode == 3, err
    options = ["--seed", "3", "--workspace", str(workspace), "--json", "--quiet", "--", "--direct_num_workers=2"]
    assert read(workspace.parent / "started")["arguments"] == ["retrain", *options]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--cron is missing"),
        (("--cron", "61 * * * *"), "61"),
        (("--cron", "@daily", "--nonsense", "3"), "--nonsense"),
        (("--cron", "@daily", "--once", "--jitter", "5"), "--jitter"),
        (("--cron", "@daily", "--name", "nightly"), "a schedule trains several"),
        (("--cron", "@daily", "--jitter", "inf"), "Invalid value for '--jitter'"),
    ],
)
def test_invalid_options_are_rejected_before_anything_is_written(options, message, workspace):
    done = run_in_process("schedule", *options, "--workspace", workspace)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not workspace.exists()


def test_an_unreadable_state_file_is_reported(tmp_path):
    (tmp_path / "schedule.json").write_text("{")
    with pytest.raises(CorruptArtefact, match=r"schedule\.json is not a schedule's state"):
        load_state(tmp_path / "schedule.json")


def test_a_stale_or_missing_health_file_is_a_health_problem(tmp_path):
    file = tmp_path / "health.json"
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert "no scheduler was started" in find_health_problem(file, now)
    write_record(file, ScheduleHealth(status="running", updated=now))
    assert find_health_problem(file, now + timedelta(seconds=80)) is None
    for minutes in (5, -5):
        assert "hangs or was killed" in find_health_problem(file, now + timedelta(minutes=minutes))
    file.write_text("{}")
    assert "is not a schedule's health file" in find_health_problem(file, now)


def test_a_real_run_is_terminated_when_its_scheduler_ends(workspace):
    with lock_workspace(workspace):
        command = [*COMMAND, "run", "--workspace", str(workspace), "--wait", "300"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            assert "waiting for up to 300 s" in run.stderr.readline()
            run.stdin.close()  # as when the scheduler ends
            assert run.wait(timeout=60) == 143


@pytest.mark.slow
def test_a_real_run_is_scheduled(workspace, digits_folder):
    options = ("--workspace", workspace, "--dataset", digits_folder, "--num-steps", 20)
    done = backbeam("schedule", *NOON, "--once", *options)
    assert done.code == 0, done.err
    (run,) = workspace.glob("runs/*/run.json")
    assert run.parent.name in load_state(workspace / "schedule.json").outcome
