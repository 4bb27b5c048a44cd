"""The loop that decides, runs, and says what it does. What it acts on is handed to it: tests have a clock of their own.

It sleeps in short pieces and reads the wall clock anew after each, so a clock that jumps, or a machine that slept, is
noticed within one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from model.errors import StorageFailed
from pipeline.console import say, warn
from pipeline.scheduling import state as states
from pipeline.scheduling.decisions import Plan, Run, Wait, next_action
from pipeline.scheduling.health import Health, Status, health_of
from pipeline.scheduling.state import State
from pipeline.scheduling.timetable import MAX_COUNT, Timetable

PIECE = timedelta(seconds=15)  # of sleep, and between two signs of life


class Work(Protocol):
    """A run in progress; see `child.Child`."""

    def poll(self) -> int | None:
        """Return its exit code once it has ended."""

    def ask_to_end(self, number: int) -> None:
        """Pass a signal on."""

    def kill(self) -> None:
        """End it at once."""

    def answer(self) -> dict[str, Any]:
        """Return what it printed."""


@dataclass(frozen=True)
class World:
    """What a scheduler acts on.

    Attributes:
        now: tells the time, in UTC.
        pause: sleeps, for that many seconds or until something happens.
        received: the signals that ask to end.
        launch: starts a run; raises OSError.
        keep: keeps the state; raises OSError.
        show: shows signs of life; raises OSError.
    """

    now: Callable[[], datetime]
    pause: Callable[[float], None]
    received: list[int]
    launch: Callable[[], Work]
    keep: Callable[[State], None]
    show: Callable[[Health], None]


class Scheduler:
    """Runs what is due.

    Args:
        plan: what was asked for.
        world: what it acts on.
        state: what was kept; None at the first start.
        piece: the longest sleep.
    """

    def __init__(self, plan: Plan, world: World, state: State | None, piece: timedelta = PIECE) -> None:
        self._plan, self._world, self._piece = plan, world, piece
        self._is_new = state is None
        self._kept: State | None = None
        self._said: object = None
        self._is_shown = True
        self.state = state or states.first_state(plan.timetable, world.now())

    def run(self) -> int:
        """Run what is due until a signal asks to end; return the code to exit with."""
        self._begin()
        while not self._world.received:
            action = self._decide()
            if isinstance(action, Run):
                self._carry_out(action)
            else:
                self._wait(action)
        return self._stop()

    def run_once(self) -> int:
        """Run what is due now, or nothing; return the code to exit with: that of the run."""
        self._begin()
        action = self._decide()
        if isinstance(action, Wait) and self.state.started:
            say(f"schedule: nothing is due: {_describe(action)}")
            self._show(Status.stopped, action)
            return 0
        code = self._carry_out(action if isinstance(action, Run) else Run(self.state.handled, is_first=True))
        self._show(Status.stopped)
        return self._stop() if self._world.received else code if code >= 0 else 128 - code

    def _begin(self) -> None:
        now, timetable = self._world.now(), self._plan.timetable
        if self._is_new:
            say(f"schedule: {timetable}: begins")
        else:
            say(f"schedule: {timetable}: goes on; what was due up to {_time(self.state.handled)} is done")
        if self.state.timetable != timetable:
            say(f"schedule: it was {self.state.timetable} so far: what was due since counts by the new one")
        if self.state.was_cut_off:
            begun = _time(self.state.started or now)
            self._change(states.ended(self.state, states.INTERRUPTED, f"the run of {begun} was cut off", now))
            warn(f"schedule: {self.state.outcome}{self._when_again()}")
        self._change(self.state.model_copy(update=_names(timetable)))

    def _decide(self) -> Wait | Run:
        now = self._world.now()
        settled = states.settled(self.state, now)
        if settled != self.state:
            warn(f"schedule: the clock was set back to {_time(now)}: what lay far ahead counts from now")
            self._change(settled)
        return next_action(self.state, now, self._plan)

    def _wait(self, action: Wait) -> None:
        if action != self._said:
            say(f"schedule: {_describe(action)}")
            self._said = action
        self._keep()  # where it could not be kept before
        self._show(Status.backing_off if action.retries else Status.waiting, action)
        self._world.pause(min(self._piece, action.until - self._world.now()).total_seconds())

    def _carry_out(self, action: Run) -> int:
        """Run, and take in how it ended; return the exit code, negative if a signal killed it."""
        say(f"schedule: {_announce(action)}")
        self._said = None
        before = self.state
        try:
            self._change(states.started(before, self._plan.timetable, action.due, self._world.now()), must=True)
            work = self._world.launch()
        except (OSError, StorageFailed) as problem:
            return self._finish(StorageFailed.exit_code, f"it could not be started: {problem}")
        code = self._watch(work)
        return self._finish(*_judge(code, work.answer()))

    def _watch(self, work: Work) -> int:
        """Wait for a run to end, passing the first signal on; the second kills it."""
        num_heard = 0
        while (code := work.poll()) is None:
            if num_heard < len(self._world.received):
                num_heard += 1
                if num_heard == 1:
                    say("schedule: asked to end: so is the run, and its end is waited for")
                    work.ask_to_end(self._world.received[0])
                else:
                    warn("schedule: asked again: the run is killed")
                    work.kill()
                continue
            self._show(Status.running)
            self._world.pause(self._piece.total_seconds())
        return code

    def _finish(self, code: int, outcome: str) -> int:
        stopped = bool(self._world.received)
        self._change(states.ended(self.state, code, outcome, self._world.now(), stopped))
        if not code:
            say(f"schedule: {outcome}")
        elif stopped:
            say(f"schedule: the run was stopped ({outcome}); it goes on when the schedule does")
        else:
            warn(f"schedule: failed: {outcome}{self._when_again()}")
        return code

    def _when_again(self) -> str:
        action = next_action(self.state, self._world.now(), self._plan)
        times = f", {self.state.failures} in a row" if self.state.failures > 1 else ""
        if isinstance(action, Run):
            return f"{times}; the next try is now"
        what = "tried again" if action.retries else "nothing to try again before it is next due,"
        return f"{times}; {what} {_time(action.until)}"

    def _stop(self) -> int:
        self._keep()
        self._show(Status.stopped)
        number = self._world.received[0]
        say(f"schedule: stopped by signal {number}")
        return 128 + number

    def _change(self, state: State, must: bool = False) -> None:
        """Go over to a state. If it cannot be kept, that is said and tried again; or raised, if it must be kept."""
        self.state = state
        try:
            self._world.keep(state)
        except (OSError, StorageFailed) as problem:
            if must:
                raise
            warn(f"schedule: its state cannot be kept: {problem}")
        else:
            self._kept = state

    def _keep(self) -> None:
        if self._kept != self.state:
            self._change(self.state)

    def _show(self, status: Status, action: Wait | None = None) -> None:
        """Show a sign of life. A full disk is no reason to end: a probe sees it by the age of the last sign."""
        due, until = (action.due, action.until) if action else (None, None)
        try:
            self._world.show(health_of(status, self.state, self._world.now(), due, until))
        except (OSError, StorageFailed) as problem:
            if self._is_shown:
                warn(f"schedule: its health file cannot be written: {problem}")
            self._is_shown = False
        else:
            self._is_shown = True


def _judge(code: int, answer: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code that counts, and what a run said, in a line."""
    if code < 0:
        return code, f"signal {-code} killed the run"
    if code:
        return code, f"the run ended with code {code}; what it said of that stands above"
    if not answer:
        return 1, "the run ended with code 0, but without a JSON object that says what it did"
    if "nothing_run" in answer:
        return 0, f"nothing was run: {answer['nothing_run']}"
    reasons = answer.get("reasons") or []
    what = " ".join(str(each) for each in (answer.get("run_id"), answer.get("outcome", "done")) if each)
    return 0, f"{what}: {reasons[0]}" if reasons else what


def _announce(action: Run) -> str:
    if action.is_first:
        return "runs for the first time"
    if action.retries:
        return f"runs again what was due {_time(action.due)}"
    if not action.missed:
        return f"runs what was due {_time(action.due)}"
    missed = f"{action.missed:,}{' or more' if action.missed >= MAX_COUNT - 1 else ''}"
    return f"runs what was due {_time(action.due)}; {missed} due before that and missed are made up for by this one run"


def _describe(action: Wait) -> str:
    if action.retries:
        return f"next try {_time(action.until)}; next due {_time(action.due)}"
    late = f", begins {_time(action.until)}" if action.until > action.due else ""
    return f"next due {_time(action.due)}{late}"


def _names(timetable: Timetable) -> dict[str, str]:
    return {"expression": timetable.expression, "timezone": timetable.timezone}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
