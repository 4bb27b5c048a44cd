"""A simulated machine for schedulers: a clock that tests set, runs that take no real time, a disk that may be full."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path

from pipeline.schedule.child import describe_result
from pipeline.schedule.scheduler import ScheduleConfig, Scheduler
from pipeline.schedule.state import ScheduleHealth, ScheduleState
from pipeline.schedule.timetable import Timetable

PROMOTED = b'{"outcome": "promoted", "run_id": "run-1", "reasons": ["better by 0.5 points", "on 1,000 examples"]}'


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class PowerCut(BaseException):
    """Ends a scheduler at once, as SIGKILL does."""


@dataclass
class FakeRun:
    """A run that exits with a code after a time, or at a signal unless it ignores signals."""

    machine: "FakeMachine"
    code: int
    ends_in: timedelta
    ignores_signals: bool = False
    signals: list[int] = field(default_factory=list)
    killed: bool = False

    def __post_init__(self) -> None:
        self.started = self.machine.clock
        self.ends = self.machine.elapsed + self.ends_in

    @property
    def returncode(self) -> int | None:
        if self.killed:
            return -9
        if self.signals and not self.ignores_signals:
            return 128 + self.signals[0]
        return self.code if self.machine.elapsed >= self.ends else None

    def wait(self, seconds: float) -> int | None:
        if self.returncode is None:
            self.machine.advance(min(timedelta(seconds=seconds), self.ends - self.machine.elapsed))
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        self.killed = True

    def read_outcome(self) -> str:
        return describe_result(PROMOTED) if self.returncode == 0 else f"code {self.returncode}"


@dataclass
class FakeMachine:
    """The clock, files and processes of a machine, which outlive a scheduler."""

    clock: datetime  # the wall clock, which tests may set
    elapsed: timedelta = timedelta()  # the simulated time that has passed, whatever the clock shows
    events: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)  # in order; called once when due
    signals: list[int] = field(default_factory=list)
    runs: list[FakeRun] = field(default_factory=list)
    states: list[ScheduleState] = field(default_factory=list)
    health: list[ScheduleHealth] = field(default_factory=list)
    codes: Iterator[int] = field(default_factory=lambda: repeat(0))  # of the next runs
    run_time: timedelta = timedelta(minutes=5)
    ignores_signals: bool = False
    disk_is_full: bool = False
    failures: list[int] = field(default_factory=list)  # exit codes that were recorded

    def advance(self, span: timedelta) -> None:
        assert span >= timedelta()
        until = self.clock + span
        if self.events and self.events[0][0] <= until:
            time, event = self.events.pop(0)
            self.elapsed += max(timedelta(), time - self.clock)
            self.clock = max(self.clock, time)
            event()
            return
        self.clock = until
        self.elapsed += span

    def start_run(self) -> FakeRun:
        assert not self.runs or self.runs[-1].returncode is not None, "two runs at once"
        self.runs.append(FakeRun(self, next(self.codes), self.run_time, self.ignores_signals))
        return self.runs[-1]

    def write(self, record: ScheduleState | ScheduleHealth) -> None:
        if self.disk_is_full:
            raise OSError(28, "No space left on device")
        (self.states if isinstance(record, ScheduleState) else self.health).append(record)

    def stop_at(self, text: str, *numbers: int) -> None:
        for number in numbers or (15,):
            self.events.append((at(text), lambda number=number: self.signals.append(number)))

    def set_clock_at(self, text: str, to: str) -> None:
        self.events.append((at(text), lambda: setattr(self, "clock", at(to))))

    def cut_power(self) -> None:
        for run in self.runs:
            run.kill()
        raise PowerCut

    @property
    def started(self) -> list[str]:
        """The wall-clock times at which runs started."""
        return [run.started.strftime("%d %H:%M") for run in self.runs]

    def schedule(self, cron: str = "0 3 * * *", zone: str = "UTC", once: bool = False, **options) -> int:
        """Run a scheduler until a signal arrives; return its exit code."""
        self.signals.clear()
        scheduler = FakeScheduler(self, Timetable(cron, zone), **options)
        return scheduler.run_once() if once else scheduler.run()


class FakeScheduler(Scheduler):
    """A scheduler on a simulated machine."""

    def __init__(self, machine: FakeMachine, timetable: Timetable, jitter: float = 0, poll_seconds: int = 3600) -> None:
        self.machine = machine
        self.poll_interval = timedelta(seconds=poll_seconds)
        files = (Path("state"), Path("health"))
        config = ScheduleConfig(
            timetable,
            (),
            *files,
            jitter=timedelta(seconds=jitter),
            salt="a workspace here",
            record_failure=machine.failures.append,
        )
        super().__init__(config, machine.states[-1] if machine.states else None)
        self.signals = machine.signals

    def now(self) -> datetime:
        return self.machine.clock

    def sleep(self, seconds: float) -> None:
        self.machine.advance(timedelta(seconds=seconds))

    def start_run(self, _: tuple[str, ...]) -> FakeRun:
        return self.machine.start_run()

    def write_record(self, _: Path, record: ScheduleState | ScheduleHealth) -> None:
        self.machine.write(record)
