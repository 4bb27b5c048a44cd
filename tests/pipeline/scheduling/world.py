"""A world for schedulers: a clock that tests set, runs that take the time they are told, a disk that may be full."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.scheduling.decisions import Plan
from pipeline.scheduling.health import Health
from pipeline.scheduling.scheduler import Scheduler, World
from pipeline.scheduling.state import State
from pipeline.scheduling.timetable import Timetable

PROMOTED = {"outcome": "promoted", "run_id": "run-1", "reasons": ["better by 0.5 points"]}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class PowerCut(BaseException):
    """The scheduler is gone, as by SIGKILL."""


@dataclass
class Run:
    """A run that ends by itself at a time with a code."""

    made: "Made"
    begun: datetime
    lasts: timedelta
    code: int
    printed: dict[str, Any]
    asked: list[int] = field(default_factory=list)
    killed: bool = False
    heeds: bool = True

    def poll(self) -> int | None:
        if self.killed:
            return -9
        if self.asked and self.heeds:
            return 128 + self.asked[0]
        return self.code if self.made.elapsed >= self.ends else None

    @property
    def ends(self) -> timedelta:
        return self.started + self.lasts

    def __post_init__(self) -> None:
        self.started = self.made.elapsed

    def ask_to_end(self, number: int) -> None:
        self.asked.append(number)

    def kill(self) -> None:
        self.killed = True

    def answer(self) -> dict[str, Any]:
        return self.printed


@dataclass
class Made:
    """What there is, and what has happened in it.

    Attributes:
        clock: what the wall clock shows; `set` it to make it jump.
        elapsed: how much time has really gone by.
        events: what happens at which time by the wall clock, in order; each is called once.
        ends: gives the code with which the next run ends.
    """

    clock: datetime
    elapsed: timedelta = timedelta()
    events: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)
    ends: Iterator[int] | None = None
    lasts: timedelta = timedelta(minutes=5)
    printed: dict[str, Any] = field(default_factory=lambda: dict(PROMOTED))
    heeds: bool = True
    full: bool = False

    def now(self) -> datetime:
        return self.clock

    def pause(self, seconds: float) -> None:
        assert seconds >= 0
        span = timedelta(seconds=seconds)
        if self.runs and self.runs[-1].poll() is None:  # its end wakes the scheduler
            span = min(span, self.runs[-1].ends - self.elapsed)
        until, event = self.clock + span, self.events[0] if self.events else None
        if event and event[0] <= until:
            self.events.pop(0)
            self.elapsed += max(timedelta(), event[0] - self.clock)
            self.clock = max(self.clock, event[0])
            event[1]()
            return
        self.clock, self.elapsed = until, self.elapsed + span

    def launch(self) -> Run:
        assert not self.runs or self.runs[-1].poll() is not None, "no two at once"
        code = next(self.ends) if self.ends else 0
        printed = self.printed if code == 0 else {}
        self.runs.append(Run(self, self.clock, self.lasts, code, printed, heeds=self.heeds))
        return self.runs[-1]

    def keep(self, state: State) -> None:
        self._write()
        self.states.append(state)

    def show(self, health: Health) -> None:
        self._write()
        self.health.append(health)

    def _write(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")

    def world(self) -> World:
        return World(self.now, self.pause, self.received, self.launch, self.keep, self.show)

    def scheduler(
        self, cron: str = "0 3 * * *", zone: str = "UTC", jitter: float = 0, piece: timedelta = timedelta(hours=1)
    ) -> Scheduler:
        plan = Plan(Timetable(cron, zone), timedelta(seconds=jitter), "a workspace here")
        return Scheduler(plan, self.world(), self.states[-1] if self.states else None, piece)

    def stop_at(self, text: str, *numbers: int) -> None:
        for number in numbers or (15,):
            self.events.append((at(text), lambda number=number: self.received.append(number)))

    def jump_at(self, text: str, to: str) -> None:
        self.events.append((at(text), lambda: setattr(self, "clock", at(to))))

    def cut_at(self, text: str) -> None:
        self.events.append((at(text), self.cut))

    def cut(self) -> None:
        for run in self.runs:
            run.kill()  # as its own side does: see `ward`
        raise PowerCut

    @property
    def begun(self) -> list[str]:
        """When runs began, by the wall clock."""
        return [run.begun.strftime("%d %H:%M") for run in self.runs]
