"""The health file: what a scheduler does just now, for a probe that asks whether it lives."""

import os
import socket
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipeline.local_side import local_side
from pipeline.places import Place
from pipeline.scheduling.state import State
from pipeline.storage import write_unguarded

HEALTH_NAME = "schedule-health.json"
OLDEST = timedelta(seconds=90)  # a scheduler writes every 15 s


class Status(StrEnum):
    """What a scheduler does."""

    waiting = "waiting"
    running = "running"
    backing_off = "backing-off"
    stopped = "stopped"


class Health(BaseModel):
    """What a scheduler does just now.

    Attributes:
        status: in a word.
        pid: of its process.
        host: where that is.
        updated: when it said so; at least every half a minute.
        next_due: what is due next; None while a run works, and once it has stopped.
        next_start: when the next run begins, by jitter or back-off.
        outcome: what the last run said, in a line.
        exit_code: of the last run; negative if a signal killed it.
        consecutive_failures: how many runs failed, one after the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    status: Status
    pid: int
    host: str
    updated: AwareDatetime
    next_due: AwareDatetime | None = None
    next_start: AwareDatetime | None = None
    outcome: str | None = None
    exit_code: int | None = None
    consecutive_failures: int = 0


def health_of(
    status: Status,
    state: State,
    now: datetime,
    next_due: datetime | None = None,
    next_start: datetime | None = None,
) -> Health:
    """Put together what this process has to say."""
    return Health(
        status=status,
        pid=os.getpid(),
        host=socket.gethostname(),
        updated=now,
        next_due=next_due,
        next_start=next_start,
        outcome=state.outcome,
        exit_code=state.exit_code,
        consecutive_failures=state.failures,
    )


def health_file(workspace: Place, named: Path | None) -> Path:
    """Return where the file is: as named, else on this machine, beside the workspace's lock."""
    return named or local_side(workspace) / HEALTH_NAME


def write_health(file: Path, health: Health) -> None:
    """Replace the file, whole; raises OSError."""
    write_unguarded(file, health.model_dump_json(indent=2).encode() + b"\n")


def why_unhealthy(file: Path, now: datetime) -> str | None:
    """Say what is wrong with the scheduler that writes a health file; None if it lives."""
    try:
        health = Health.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return f"there is no {file}: no scheduler has begun"
    except ValidationError:
        return f"{file} is no health file"
    if health.status is Status.stopped:
        return f"{file}: the scheduler has stopped"
    age = abs(now - health.updated)  # a clock that was set back makes it of the future until it is written again
    return (
        f"{file} was written {age.total_seconds():.0f} s ago: the scheduler hangs or is gone" if age > OLDEST else None
    )
