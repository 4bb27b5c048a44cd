"""What a scheduler must still know after a restart, and how that changes. Pure, but for `load` and `save`."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from model.errors import CorruptArtefact, is_worth_retrying
from pipeline.local_side import local_side
from pipeline.places import Place
from pipeline.scheduling.timetable import Timetable
from pipeline.storage import write_unguarded

STATE_NAME = "schedule.json"
INTERRUPTED = 143  # a run of which the end is not known
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=1)
CLOCK_TOLERANCE = timedelta(days=1)


class State(BaseModel):
    """What was done of a timetable.

    Attributes:
        expression: of cron, by which it was done last.
        timezone: its zone.
        handled: what was due up to here is done, or was tried, or came before the first start.
        started: when the last run began; None if there was none.
        ended: when it ended; None while it works, and if its end was not seen.
        exit_code: of the last run that ended; negative if a signal killed it.
        outcome: what it said, in a line.
        failures: how many runs failed, one after the other.
        retry_at: when to try again; None if there is nothing to try again before the next due time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    expression: str
    timezone: str
    handled: AwareDatetime
    started: AwareDatetime | None = None
    ended: AwareDatetime | None = None
    exit_code: int | None = None
    outcome: str | None = None
    failures: int = 0
    retry_at: AwareDatetime | None = None

    @property
    def was_cut_off(self) -> bool:
        """Whether a run began whose end was not seen."""
        return self.started is not None and self.ended is None

    @property
    def timetable(self) -> Timetable:
        """By which it was done."""
        return Timetable(self.expression, self.timezone)


def first_state(timetable: Timetable, now: datetime) -> State:
    """Return the state of a scheduler that begins: what was due before is nothing that it missed."""
    return State(expression=timetable.expression, timezone=timetable.timezone, handled=now)


def started(state: State, timetable: Timetable, handled: datetime, now: datetime) -> State:
    """Return the state once a run begins; it is kept before that, so that no due time is run twice."""
    changes = {"handled": max(handled, state.handled), "started": now, "ended": None, "retry_at": None}
    return state.model_copy(
        update=changes | {"expression": timetable.expression, "timezone": timetable.timezone},
    )


def ended(state: State, exit_code: int, outcome: str, now: datetime, stopped: bool = False) -> State:
    """Return the state once a run has ended.

    Args:
        state: while it worked.
        exit_code: of its process; negative if a signal killed it.
        outcome: what it said, in a line.
        now: when.
        stopped: whether it was asked to end; that is no failure, and it goes on when the scheduler does.
    """
    changes: dict[str, object] = {"ended": now, "exit_code": exit_code, "outcome": outcome, "retry_at": None}
    if not exit_code:
        changes["failures"] = 0
    elif stopped:
        changes["retry_at"] = now
    else:
        changes["failures"] = state.failures + 1
        if is_worth_retrying(exit_code):
            changes["retry_at"] = now + back_off(state.failures + 1)
    return state.model_copy(update=changes)


def back_off(failures: int) -> timedelta:
    """Return how long to wait after so many failures, one after the other: 1, 2, 4, ... minutes, an hour at most."""
    return min(FIRST_DELAY * (1 << min(failures - 1, 16)), LONGEST_DELAY)


def settled(state: State, now: datetime) -> State:
    """Take back times that lie too far ahead of a clock that was set back.

    Within a day no due time is repeated, so that none is run twice; by more, a wrong clock was put right, and nothing
    would be run for as long as it was ahead.
    """
    changes: dict[str, object] = {}
    if state.handled - now > CLOCK_TOLERANCE:
        changes["handled"] = now
    if state.retry_at and state.retry_at - now > LONGEST_DELAY:
        changes["retry_at"] = now + back_off(state.failures)
    return state.model_copy(update=changes) if changes else state


def state_file(workspace: Place) -> Path:
    """Return where the state is: on this machine, beside the workspace's lock."""
    return local_side(workspace) / STATE_NAME


def load(file: Path) -> State | None:
    """Return the state that was kept; None if there is none. Raises CorruptArtefact if it cannot be read."""
    if not file.exists():
        return None
    try:
        return State.model_validate_json(file.read_bytes())
    except ValidationError as problem:
        raise CorruptArtefact(
            f"{file} is no state of a schedule: {problem.errors()[0]['msg']}; delete it, and the schedule begins anew "
            "with the next due time"
        ) from problem


def save(file: Path, state: State) -> None:
    """Keep the state, whole and on the disk; raises OSError."""
    write_unguarded(file, state.model_dump_json(indent=2).encode() + b"\n")
