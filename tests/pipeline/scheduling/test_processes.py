"""`backbeam schedule` from outside: real processes, real signals."""

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

from pipeline.locks import locked
from pipeline.scheduling.child import COMMAND_LINE
from pipeline.scheduling.state import first_state, load, save
from pipeline.scheduling.timetable import Timetable
from tests.helpers import backbeam
from tests.pipeline.scheduling import stand_in

NOON = ("--cron", "0 12 * * *")
HOURS_AGO = timedelta(hours=50)  # two due times were missed


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """A workspace; the stand-ins leave their notes beside it."""
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    monkeypatch.setenv("STAND_IN_SECONDS", "0")
    return tmp_path / "ws"


@pytest.fixture
def start(place) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts schedulers, which do not outlive the test."""
    started = []

    def begin(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, stand_in.__file__, "schedule", *NOON, "--workspace", str(place), *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def miss(place: Path) -> None:
    """Leave a state by which something is due now."""
    save(place / "schedule.json", first_state(Timetable("0 12 * * *"), datetime.now(UTC) - HOURS_AGO))


def wait_for(what: Callable[[], Any]) -> Any:
    """Return what is true at last."""
    for _ in range(600):
        if found := what():
            return found
        time.sleep(0.1)
    raise TimeoutError(what)


def read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_bytes()) if file.exists() else None


def status(place: Path) -> str | None:
    return (read(place / "schedule-health.json") or {}).get("status")


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc/self").exists() else True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_scheduler_that_waits(number, code, place, start):
    scheduler = start()
    wait_for(lambda: status(place) == "waiting")
    health = read(place / "schedule-health.json")
    assert (health["pid"], health["consecutive_failures"]) == (scheduler.pid, 0)
    assert backbeam("schedule", "--check", "--workspace", place).code == 0
    scheduler.send_signal(number)
    out, err = scheduler.communicate(timeout=60)
    assert (scheduler.returncode, out, status(place)) == (code, "", "stopped")
    assert f"next due {health['next_due']}" in err
    assert not (place.parent / "begun").exists()
    checked = backbeam("schedule", "--check", "--workspace", place)
    assert checked.code == 1
    assert "has stopped" in checked.err


def test_a_signal_is_passed_on_to_the_run_which_goes_on_at_the_next_start(place, start, monkeypatch):
    miss(place)
    monkeypatch.setenv("STAND_IN_SECONDS", "300")
    scheduler = start()
    begun = wait_for(lambda: read(place.parent / "begun"))
    wait_for(lambda: status(place) == "running")
    scheduler.terminate()
    _, err = scheduler.communicate(timeout=60)
    assert scheduler.returncode == 143
    assert (place.parent / "ended").read_text() == str(int(signal.SIGTERM))
    assert not is_there(begun["pid"])
    assert "1 due before that and missed are made up for by this one run" in err
    assert "goes on when the schedule does" in err
    state = load(place / "schedule.json")
    assert (state.exit_code, state.failures) == (143, 0)
    monkeypatch.setenv("STAND_IN_SECONDS", "0")
    again = start("--once")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "runs again what was due" in err
    assert "run-1 promoted: better by 0.5 points\n" in err


def test_a_second_signal_kills_a_run_that_does_not_end(place, start, monkeypatch):
    miss(place)
    monkeypatch.setenv("STAND_IN_SECONDS", "300")
    monkeypatch.setenv("STAND_IN_DEAF", "1")
    scheduler = start()
    begun = wait_for(lambda: read(place.parent / "begun"))
    scheduler.terminate()
    for line in scheduler.stderr:
        if "its end is waited for" in line:
            break
    assert is_there(begun["pid"])
    scheduler.terminate()
    scheduler.communicate(timeout=60)
    assert scheduler.returncode == 143
    assert not is_there(begun["pid"])


def test_a_run_ends_when_its_scheduler_is_killed_and_is_tried_again(place, start, monkeypatch):
    miss(place)
    monkeypatch.setenv("STAND_IN_SECONDS", "300")
    scheduler = start()
    begun = wait_for(lambda: read(place.parent / "begun"))
    scheduler.kill()
    scheduler.communicate()
    wait_for(lambda: not is_there(begun["pid"]))
    assert (place.parent / "ended").read_text() == str(int(signal.SIGTERM))
    again = start()
    wait_for(lambda: status(place) == "backing-off")
    assert read(place / "schedule-health.json")["consecutive_failures"] == 1
    again.terminate()
    _, err = again.communicate(timeout=60)
    assert "was cut off; tried again" in err


def test_the_second_of_two_schedulers_ends_and_names_the_first(place, start):
    first = start()
    wait_for(lambda: status(place) == "waiting")
    second = start()
    _, err = second.communicate(timeout=60)
    assert second.returncode == 6
    assert f"in use by process {first.pid} " in err


def test_a_run_that_is_killed_is_a_failure_and_the_scheduler_stays(place, start, monkeypatch):
    miss(place)
    monkeypatch.setenv("STAND_IN_CODE", str(-signal.SIGKILL))
    scheduler = start()
    wait_for(lambda: status(place) == "backing-off")
    health = read(place / "schedule-health.json")
    assert (health["exit_code"], health["outcome"]) == (-9, "signal 9 killed the run")
    assert scheduler.poll() is None
    assert backbeam("schedule", "--check", "--workspace", place).code == 0


def test_once_ends_with_the_code_of_the_run_and_passes_options_on(place, start, monkeypatch):
    monkeypatch.setenv("STAND_IN_CODE", "3")
    done = start("--once", "--seed", "3", "--quiet", "--", "--direct_num_workers=2")
    _, err = done.communicate(timeout=60)
    assert done.returncode == 3, err
    options = ["retrain", "--seed", "3", "--workspace", str(place), "--json", "--quiet", "--", "--direct_num_workers=2"]
    assert read(place.parent / "begun")["arguments"] == options
    assert "nothing to try again before it is next due" in err
    nothing = start("--once")
    assert "nothing is due" in nothing.communicate(timeout=60)[1]
    assert nothing.returncode == 0


def test_the_health_file_may_be_elsewhere(place, start):
    file = place.parent / "health" / "schedule.json"
    done = start("--once", "--health-file", str(file))
    done.communicate(timeout=60)
    assert read(file)["status"] == "stopped"
    assert status(place) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--cron is missing"),
        (("--cron", "61 * * * *"), "61"),
        (("--cron", "@daily", "--timezone", "Mars/Olympus"), "no time zone Mars/Olympus"),
        (("--cron", "@daily", "--nonsense", "3"), "--nonsense"),
        (("--cron", "@daily", "--seed", "three"), "--seed"),
        (("--cron", "@daily", "--once", "--jitter", "5"), "--jitter"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options, message, place):
    done = backbeam("schedule", *options, "--workspace", place)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not place.exists()


def test_a_state_that_cannot_be_read_is_named(place):
    place.mkdir()
    (place / "schedule.json").write_text("{")
    done = backbeam("schedule", *NOON, "--workspace", place)
    assert done.code == 4
    assert str(place / "schedule.json") in done.err


def test_no_scheduler_is_unhealthy_and_so_is_one_that_hangs(place, start):
    assert backbeam("schedule", "--check", "--workspace", place).code == 1
    start("--once").communicate(timeout=60)
    file = place / "schedule-health.json"
    old = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    file.write_text(json.dumps(read(file) | {"status": "waiting", "updated": old}))
    done = backbeam("schedule", "--check", "--workspace", place)
    assert done.code == 1
    assert "hangs or is gone" in done.err


def test_the_command_itself_ends_with_its_scheduler(place):
    with locked(place):
        command = [*COMMAND_LINE, "run", "--workspace", str(place), "--wait", "300"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            assert "waiting for up to 300 s" in run.stderr.readline()
            run.stdin.close()  # as it is when nobody holds the other end
            assert run.wait(timeout=60) == 143


def test_a_real_run(tmp_path, place, digits_folder):
    options = ("--workspace", place, "--dataset", digits_folder, "--num-steps", 20)
    done = backbeam("schedule", *NOON, "--once", *options)
    assert done.code == 0, done.err
    state = load(place / "schedule.json")
    (run,) = place.glob("runs/*/run.json")
    assert run.parent.name in state.outcome
    assert backbeam("verify", "--workspace", place).code == 0
