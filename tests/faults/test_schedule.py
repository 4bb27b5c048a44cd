"""`schedule` fails at the Nth operation on the disk of its own; its run is another process, and is left alone.

A scheduler must not end because a disk is full: what it cannot write is said, and a run whose end it could not keep is
taken for cut off and given again.
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
from tests.faults.injection import MODES, STORAGE, check_kept
from tests.faults.worlds import COMMANDS, artefacts, faults, fingerprint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to see runs end"),
]


@pytest.fixture
def schedule(worlds, zygote):
    """Return what runs a scheduler that runs once, with the options of `retrain`."""
    _, *options = worlds.arguments("retrain")

    def run(folder: Path, failpoint: str = "count"):
        arguments = ("schedule", "--cron", "0 0 1 1 *", "--once", "--wait", "100", *options)
        ended = zygote.run(folder, arguments, failpoint)
        wait_for_its_run(folder)
        return ended

    return run


def wait_for_its_run(folder: Path) -> None:
    """Wait for the run of a scheduler that was killed."""
    for _ in range(600):
        if not any(is_run(process, folder) for process in Path("/proc").glob("[0-9]*")):
            return
        time.sleep(0.1)
    raise TimeoutError(folder)


def is_run(process: Path, folder: Path) -> bool:
    with suppress(OSError):  # it has ended
        command = (process / "cmdline").read_bytes()
        return b"pipeline.cli.scheduled_run" in command and (process / "cwd").readlink() == folder
    return False


def work_of(workspace: Path) -> dict[str, object]:
    """What is in a workspace, but for what the scheduler keeps of times."""
    return {path: data for path, data in artefacts(workspace).items() if path not in (STATE_NAME, HEALTH_NAME)}


def sweep(name: str, every: int, worlds, schedule, folder: Path) -> int:
    """Inject faults of every mode at one operation in so many, in the world before a command; return how many."""
    undisturbed, listed = worlds.copy(name, folder / "undisturbed"), folder / "operations.txt"
    done = schedule(undisturbed, f"count:{listed}")
    assert done.code == 0, done.err
    operations, expected, rerun = listed.read_text().splitlines(), work_of(undisturbed / "ws"), set()
    assert sum(f"{STATE_NAME}." in line for line in operations) >= 10, operations  # two writes
    injected = list(product(range(every // 2 + 1, len(operations) + 1, every), MODES))
    for number, mode in injected:
        place = worlds.copy(name, folder / f"{number}-{mode}")
        ended = schedule(place, MODES[mode].format(number))
        check_told(ended, mode, operations[number - 1])
        check_left(worlds.find(name), place / "ws")
        if (left := fingerprint(place / "ws")) not in rerun:
            rerun.add(left)
            check_made_up_for(schedule, place, expected)
        shutil.rmtree(place)
    return len(injected)


def check_told(ended, mode: str, operation: str) -> None:
    if mode == "kill":
        assert ended.code == -signal.SIGKILL, (operation, ended)
        return
    code = getattr(errno, "ENOSPC" if mode == "full" else mode)
    told = [line for line in ended.err.splitlines() if os.strerror(code) in line]
    assert ended.code in (0, STORAGE), (operation, mode, ended)
    assert ended.code == 0 or told, (operation, mode, ended)
    assert any(Path(operation.split()[-1]).name.split(".")[0] in line for line in told), (operation, mode, ended)
    assert "Traceback" not in ended.err, (operation, mode, ended)


def check_left(before, workspace: Path) -> None:
    """What was there is there, and what the scheduler keeps is whole or not there."""
    check_kept(before.files, workspace, COMMANDS["retrain"].replaces)
    assert not faults(workspace)
    load_state(workspace / STATE_NAME)
    if (workspace / HEALTH_NAME).exists():
        ScheduleHealth.model_validate_json((workspace / HEALTH_NAME).read_bytes())


def check_made_up_for(schedule, folder: Path, expected: dict[str, object]) -> None:
    """The next starts of the scheduler do what was not done, once, and clear away what the fault left."""
    file = folder / "ws" / STATE_NAME
    for _ in range(3):
        again = schedule(folder)
        assert again.code == 0, again
        state = load_state(file)
        if state.retry_at is None:
            break
        write_record(file, state.model_copy(update={"retry_at": datetime.now(UTC)}))  # a minute passes
    assert (state.exit_code, state.failures) == (0, 0), state
    found = work_of(folder / "ws")
    differing = [path for path in sorted({*found, *expected}) if found.get(path) != expected.get(path)]
    assert not differing, (folder, differing)


@pytest.mark.parametrize(("name", "every"), [("rollback", 1), ("retrain", 9)], ids=["nothing to do", "retraining"])
def test_operations_fail(name, every, worlds, schedule, tmp_path, record_property):
    record_property("faults injected", sweep(name, every, worlds, schedule, tmp_path))
