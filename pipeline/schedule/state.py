"""The scheduler's files: its state, which survives restarts, and its health, which `schedule --check` reads."""

import os
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from model.errors import CorruptArtefact, is_worth_retrying
from pipeline.storage.files import write_without_lock

STATE_NAME = "schedule.json"
HEALTH_NAME = "schedule-health.json"
HEALTH_SECONDS = 15  # between two writes of the health file
_STALE_SECONDS = 90  # six missed writes: a slow disk is no failure

Status = Literal["waiting", "running", "backing-off", "stopped"]


class _ScheduleRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1


class ScheduleState(_ScheduleRecord):
    """What has been run, as saved in STATE_NAME."""

    expression: str  # of the latest start, for the reader of the file
    timezone: str
    handled: AwareDatetime  # due times up to here were run, or came before the first start
    started: AwareDatetime | None = None
    ended: AwareDatetime | None = None  # None while a run works, and if its end was not seen
    exit_code: int | None = None  # of the last run that ended; negative if a signal killed it
    outcome: str | None = None  # its result, in a line
    failures: int = 0  # consecutive
    retry_at: AwareDatetime | None = None  # None if nothing is run before the next due time

    def with_run_started(self, handled: datetime, now: datetime) -> "ScheduleState":
        """Return the state to save before a run starts, so that no restart runs a due time twice."""
        return self.model_copy(update={"handled": handled, "started": now, "ended": None, "retry_at": None})

    def with_run_ended(self, exit_code: int, outcome: str, now: datetime, stopped: bool = False) -> "ScheduleState":
        """Return the state after a run; one stopped by a signal is no failure, and resumes at the next start."""
        failures = self.failures + (not stopped) if exit_code else 0
        retry_at = now + back_off(failures) if is_worth_retrying(exit_code) else None
        if stopped and exit_code:
            retry_at = now
        changes = {"ended": now, "exit_code": exit_code, "outcome": outcome, "failures": failures, "retry_at": retry_at}
        return self.model_copy(update=changes)

    def with_clock_corrected(self, now: datetime) -> "ScheduleState":
        """Return the state after the clock may have been set back: by over a day, its later times are forgotten."""
        handled = now if self.handled - now > timedelta(days=1) else self.handled
        retry_at = self.retry_at and min(self.retry_at, now + back_off(self.failures))
        return self.model_copy(update={"handled": handled, "retry_at": retry_at})


class ScheduleHealth(_ScheduleRecord):
    """What the scheduler is doing, as written to HEALTH_NAME; the fields from outcome on are as in `ScheduleState`."""

    status: Status
    pid: int = Field(default_factory=os.getpid)
    host: str = Field(default_factory=socket.gethostname)
    updated: AwareDatetime  # at most 15 seconds before the write
    next_due: AwareDatetime | None = None  # None while a run works and after the end
    next_start: AwareDatetime | None = None  # of a run, with jitter and back-off
    outcome: str | None = None
    exit_code: int | None = None
    consecutive_failures: int = 0
    messages_lost: str | None = Field(None, exclude_if=lambda problem: problem is None)  # why standard error lost some


def back_off(failures: int) -> timedelta:
    """Return how long to wait after consecutive failures: 1, 2, 4, ... minutes, at most an hour."""
    return timedelta(minutes=min(2 ** min(failures - 1, 6), 60))


def load_state(file: Path) -> ScheduleState | None:
    """Return the saved state, None if there is none; raises CorruptArtefact."""
    if not file.exists():
        return None
    try:
        return ScheduleState.model_validate_json(file.read_bytes())
    except ValidationError as problem:
        raise CorruptArtefact(
            f"{file} is not a schedule's state: {problem.errors()[0]['msg']}; delete it, and the schedule starts anew "
            "with the next due time"
        ) from problem


def write_record(file: Path, record: BaseModel) -> None:
    """Replace a file atomically and durably; raises OSError or StorageFailed."""
    write_without_lock(file, record.model_dump_json(indent=2).encode() + b"\n")


def find_health_problem(file: Path, now: datetime) -> str | None:
    """Return why the scheduler that writes a health file is not alive, None if it is."""
    try:
        health = ScheduleHealth.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return f"there is no {file}: no scheduler was started"
    except ValidationError:
        return f"{file} is not a schedule's health file"
    if health.status == "stopped":
        return f"{file}: the scheduler has stopped"
    age = abs(now - health.updated)  # after the clock is set back, the time is in the future until the next write
    if age > timedelta(seconds=_STALE_SECONDS):
        return f"{file} was written {age.total_seconds():.0f} s ago: the scheduler hangs or was killed"
    return None
