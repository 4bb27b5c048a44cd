"""The scheduler's loop: decide when to run next, wait or run, and save the state."""

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from model.errors import StorageFailed
from pipeline.message_streams import dropped_error
from pipeline.progress import show_message, warn
from pipeline.schedule.child import ChildProcess
from pipeline.schedule.state import HEALTH_SECONDS, ScheduleHealth, ScheduleState, Status, write_record
from pipeline.schedule.timetable import Timetable

INTERRUPTED = 143  # 128 + SIGTERM: the assumed exit code of a run that a killed scheduler has not seen end
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class ScheduleConfig:
    """The configuration of a scheduler."""

    timetable: Timetable
    command: tuple[str, ...]  # starts a run
    state_file: Path
    health_file: Path
    jitter: timedelta = timedelta()  # the maximal delay of a run
    salt: str = ""  # identifies the scheduler, so that others have another jitter
    record_failure: Callable[[int], object] = lambda _: None  # is given the exit code of a run that failed

    def delay(self, due: datetime) -> timedelta:
        """Return how much later than due a run starts: the same after a restart, and before the next due time."""
        if not self.jitter:
            return timedelta()
        from model.random_streams import Purpose, stream_key  # NumPy, which a scheduler without jitter does not need

        digest = hashlib.sha256(f"{self.salt} {due.isoformat()}".encode()).digest()
        key = stream_key(Purpose.JITTER, int.from_bytes(digest[:8]))
        share = (key >> 11) / 2**53  # 53 bits fit a float exactly, so it is less than 1
        return share * min(self.jitter, self.timetable.after(due) - due)


@dataclass(frozen=True)
class NextRun:
    """When a run starts, and the due time that it is for, or that follows it if it is a retry."""

    start: datetime
    due: datetime
    is_retry: bool = False

    def __str__(self) -> str:
        return f"next due {self.due:{_TIME}}, {'retry' if self.is_retry else 'run'} starts {self.start:{_TIME}}"


class Scheduler:
    """Runs what is due. Signal handlers append to `signals`, so that no signal interrupts the writing of a file."""

    poll_interval = timedelta(seconds=1)  # the clock may be set while it waits
    now = staticmethod(partial(datetime.now, UTC))  # tests replace this and the following
    sleep = staticmethod(time.sleep)
    start_run = ChildProcess
    write_record = staticmethod(write_record)

    def __init__(self, config: ScheduleConfig, saved: ScheduleState | None) -> None:
        self.config = config
        self.signals: list[int] = []
        self._announced: NextRun | None = None
        self._written: dict[Path, ScheduleState | ScheduleHealth] = {}
        self._unwritable: set[Path] = set()
        self._renewed = self.now()
        names = {"expression": config.timetable.expression, "timezone": config.timetable.timezone}
        self.state = saved.model_copy(update=names) if saved else ScheduleState(handled=self.now(), **names)
        show_message(
            f'schedule: "{names["expression"]}" ({names["timezone"]}): {"resumed" if saved else "first start"}'
        )
        if self.state.started and not self.state.ended:
            self._end_run(INTERRUPTED, f"the run started {self.state.started:{_TIME}} was interrupted")

    def run(self) -> int:
        """Run what is due until a signal arrives; return the exit code."""
        while not self.signals:
            upcoming = self._find_next_run()
            remaining = upcoming.start - self.now()
            if remaining > timedelta():
                self._report("backing-off" if upcoming.is_retry else "waiting", upcoming)
                self.sleep(min(self.poll_interval, remaining).total_seconds())
            else:
                self._run(upcoming)
        self._report("stopped")
        show_message(f"schedule: stopped by signal {self.signals[0]}")
        return 128 + self.signals[0]

    def run_once(self) -> int:
        """Run if a run is due or none was ever started; return the exit code of the run, 0 if there is none."""
        upcoming = self._find_next_run()
        is_due = upcoming.start <= self.now()
        if self.state.started and not is_due:
            show_message("schedule: nothing is due")
            self._report("stopped", upcoming)
            return 0
        code = self._run(upcoming if is_due else NextRun(self.now(), self.state.handled))
        self._report("stopped")
        code = -self.signals[0] if self.signals else code
        return code if code >= 0 else 128 - code

    def _find_next_run(self) -> NextRun:
        """Decide what to run next. One run handles all due times that have passed, and replaces a retry."""
        now = self.now()
        corrected = self.state.with_clock_corrected(now)
        if corrected != self.state:
            warn(f"schedule: the clock was set back to {now:{_TIME}}: later times are forgotten")
            self.state = corrected
        due = self.config.timetable.latest(now)
        if due <= self.state.handled:
            due = self.config.timetable.after(max(self.state.handled, now))
            if self.state.retry_at and self.state.retry_at < due:
                return NextRun(self.state.retry_at, due, is_retry=True)
        return NextRun(due + self.config.delay(due), due)

    def _run(self, upcoming: NextRun) -> int:
        """Run once; return the exit code, negative if a signal killed the run."""
        handled = self.state.handled if upcoming.is_retry else upcoming.due
        show_message(f"schedule: {'retries' if upcoming.is_retry else 'runs'} what was due up to {handled:{_TIME}}")
        self.state = self.state.with_run_started(handled, self.now())
        try:
            self._write(self.config.state_file, self.state)  # before the run, so that no restart runs it again
            child = self.start_run(self.config.command)
        except (OSError, StorageFailed) as problem:
            return self._end_run(StorageFailed.exit_code, f"the run cannot be started: {problem}")
        code = self._wait_for_end(child)
        return self._end_run(code, child.read_outcome())

    def _wait_for_end(self, child: ChildProcess) -> int:
        num_handled = 0
        self._report("running")
        while (code := child.wait(self.poll_interval.total_seconds())) is None:
            self._report("running")
            for number in self.signals[num_handled:]:
                if num_handled == 0:
                    show_message(f"schedule: signal {number} is passed on to the run; another one kills it")
                    child.send_signal(number)
                else:
                    warn(f"schedule: signal {number}: the run is killed")
                    child.kill()
                num_handled += 1
        return code

    def _end_run(self, code: int, outcome: str) -> int:
        self.state = self.state.with_run_ended(code, outcome, self.now(), stopped=bool(self.signals))
        if code:  # also of a run that was killed, which cannot record it itself
            self.config.record_failure(code if code > 0 else 128 - code)
        if code == 0:
            show_message(f"schedule: {outcome}")
        elif self.signals:
            show_message(f"schedule: {outcome}; it resumes at the next start")
        else:
            warn(f"schedule: failed, {self.state.failures} in a row: {outcome}")
        return code

    def _report(self, status: Status, upcoming: NextRun | None = None) -> None:
        """Log the next run, save the state and write the health file, each if it changed."""
        if upcoming and upcoming != self._announced:
            show_message(f"schedule: {upcoming}")
        self._announced = upcoming
        if not timedelta() <= self.now() - self._renewed < timedelta(seconds=HEALTH_SECONDS):
            self._renewed = self.now()
        lost = dropped_error(sys.stderr)
        health = ScheduleHealth(
            status=status,
            updated=self._renewed,
            next_due=upcoming.due if upcoming else None,
            next_start=upcoming.start if upcoming else None,
            outcome=self.state.outcome,
            exit_code=self.state.exit_code,
            consecutive_failures=self.state.failures,
            messages_lost=str(lost) if lost else None,
        )
        for file, record in ((self.config.state_file, self.state), (self.config.health_file, health)):
            try:
                self._write(file, record)
            except (OSError, StorageFailed) as problem:  # a full disk must not end the scheduler
                if file not in self._unwritable:
                    warn(f"schedule: {file} cannot be written: {problem}")
                self._unwritable.add(file)

    def _write(self, file: Path, record: ScheduleState | ScheduleHealth) -> None:
        if record != self._written.get(file):
            self.write_record(file, record)
            self._written[file] = record
            self._unwritable.discard(file)
