"""`schedule` fails at the Nth operation of its own on the disk; its run is another process, which does not fail.

A full disk must not end a scheduler: it reports what it cannot write, and repeats a run whose end it could not save.
"""

import errno
import os
import shutil
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from pipeline.schedule.state import HEALTH_NAME, STATE_NAME, ScheduleHealth, load_state, write_record
from tests.faults.injection import MODES, STORAGE, check_unchanged
from tests.faults.scenarios import COMMANDS, artefacts, faults, fingerprint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to see runs end"),
]


@pytest.fixture
def schedule(scenarios, server):
    _, *options = scenarios.arguments("retrain")

    def run(folder: Path, failpoint: str = "count"):
        arguments = ("schedule", "--cron", "0 0 1 1 *", "--once", "--wait", "100", *options)
        finished = server.run(folder, arguments, failpoint)
        wait_for_run(folder)
        return finished

    return run


def wait_for_run(folder: Path) -> None:
    for _ in range(600):
        if not any(is_run(process, folder) for process in Path("/proc").glob("[0-9]*")):
            return
        time.sleep(0.1)
    raise TimeoutError(folder)


def is_run(process: Path, folder: Path) -> bool:
    with suppress(OSError):  # the process has ended
        command = (process / "cmdline").read_bytes()
        return b"pipeline.cli.scheduled_run" in command and (process / "cwd").readlink() == folder
    return False


def artefacts_of_runs(workspace: Path) -> dict[str, object]:
    return {path: data for path, data in artefacts(workspace).items() if path not in (STATE_NAME, HEALTH_NAME)}


def sweep(name: str, every: int, scenarios, schedule, folder: Path) -> int:
    """Inject faults of every mode at one in `every` operations, starting from a scenario; return their number."""
    undisturbed = scenarios.copy(name, folder / "undisturbed")
    log = folder / "operations.txt"
    finished = schedule(undisturbed, f"count:{log}")
    assert finished.code == 0, finished.err
    operations = log.read_text().splitlines()
    assert sum(f"{STATE_NAME}." in line for line in operations) >= 10, operations  # two writes
    expected = artefacts_of_runs(undisturbed / "ws")
    restarted = set()
    injections = list(product(range(every // 2 + 1, len(operations) + 1, every), MODES))
    for number, mode in injections:
        copy = scenarios.copy(name, folder / f"{number}-{mode}")
        check_message(schedule(copy, MODES[mode].format(number)), mode, operations[number - 1])
        check_intact(scenarios.find(name), copy / "ws")
        state = fingerprint(copy / "ws")
        if state not in restarted:
            restarted.add(state)
            check_restart(schedule, copy, expected)
        shutil.rmtree(copy)
    return len(injections)


def check_message(finished, mode: str, operation: str) -> None:
    if mode == "kill":
        assert finished.code == -signal.SIGKILL, (operation, finished)
        return
    code = getattr(errno, "ENOSPC" if mode == "full" else mode)
    reports = [line for line in finished.err.splitlines() if os.strerror(code) in line]
    file_name = Path(operation.split()[-1]).name.split(".")[0]
    assert finished.code in (0, STORAGE), (operation, mode, finished)
    assert any(file_name in line for line in reports), (operation, mode, finished)
    assert "Traceback" not in finished.err, (operation, mode, finished)


def check_intact(scenario, workspace: Path) -> None:
    check_unchanged(scenario.files, workspace, COMMANDS["retrain"].replaces)
    assert not faults(workspace)
    load_state(workspace / STATE_NAME)
    if (workspace / HEALTH_NAME).exists():
        ScheduleHealth.model_validate_json((workspace / HEALTH_NAME).read_bytes())


def check_restart(schedule, folder: Path, expected: dict[str, object]) -> None:
    """Check that restarts complete the work exactly once, and remove temporary files."""
    file = folder / "ws" / STATE_NAME
    for _ in range(3):
        finished = schedule(folder)
        assert finished.code == 0, finished
        state = load_state(file)
        if state.retry_at is None:
            break
        write_record(file, state.model_copy(update={"retry_at": datetime.now(UTC)}))  # instead of waiting a minute
    assert (state.exit_code, state.failures) == (0, 0), state
    found = artefacts_of_runs(folder / "ws")
    differing = [path for path in sorted({*found, *expected}) if found.get(path) != expected.get(path)]
    assert not differing, (folder, differing)


@pytest.mark.parametrize(("name", "every"), [("rollback", 1), ("retrain", 9)], ids=["nothing to do", "retraining"])
def test_a_scheduler_with_failing_operations_loses_nothing(name, every, scenarios, schedule, tmp_path, record_property):
    record_property("faults injected", sweep(name, every, scenarios, schedule, tmp_path))
