"""What people are told while a command works, always on standard error: standard output is for results.

On a terminal those are lines and progress bars; elsewhere lines that begin with the time, and a line now and then for
what goes on for long. A log file (`--log-file`) is given the same lines as a place that is no terminal, whatever else
is shown. `--quiet` leaves warnings and errors. Work goes on where a line cannot be written; once for each of the two,
the other is told so.
"""

import errno
import io
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class _WholeFile(io.FileIO):
    """A file whose write puts all of the data, without a buffer that an exit would still have to flush."""

    def write(self, data: Any, /) -> int:
        """Write all of the data, waiting where the file is in non-blocking mode; raises OSError."""
        left = memoryview(data).cast("B")
        num_bytes = len(left)
        while left:
            written = super().write(left)
            if written is None:
                select.select([], [self], [])
            left = left[written or 0 :]
        return num_bytes


class MessageFile(_WholeFile):
    """A file for messages: data that cannot be written are dropped.

    Attributes:
        problem: why data were dropped last; None if none were.
    """

    problem: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write the data, or drop them."""
        try:
            return super().write(data)
        except OSError as problem:
            self.problem = problem
            return len(memoryview(data).cast("B"))


def open_messages(file: int | Path, encoding: str = "utf-8", closefd: bool = True) -> TextIO:
    """Return a text stream for messages; `dropped_error` tells whether it lost any.

    Args:
        file: a descriptor, or a file to append to.
        encoding: of the text. Characters that it lacks are escaped.
        closefd: whether to close the descriptor with the stream; see `open`.

    Raises:
        OSError: the file cannot be opened.
    """
    return _text(MessageFile(file, "a", closefd), encoding)


def dropped_error(stream: TextIO | None) -> OSError | None:
    """Return why a stream dropped messages last; None if it dropped none, or is not one of `open_messages`."""
    raw = getattr(stream, "buffer", None)
    return raw.problem if isinstance(raw, MessageFile) else None


def _text(raw: io.FileIO, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True, write_through=True)


_STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


_INSTEAD = "\N{REPLACEMENT CHARACTER}"


def escape_control_characters(text: str) -> str:
    """Return text of any number of lines without what would steer."""
    return _STEERING.sub(_INSTEAD, text)


def escape_to_one_line(text: str) -> str:
    """Return text as one harmless line."""
    return escape_control_characters(text).replace("\n", _INSTEAD)


POLL_SECONDS = 0.2  # between two looks at how far work has come, at the least
LOCK_SECONDS = 1  # to wait for the log file
LINE_SECONDS = 30  # between two lines about it where there is no bar
_LOG_FILE = "the log file"
_FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk or a quota

console = Console(stderr=True, highlight=False, emoji=False)


@dataclass
class _Voice:
    """What this process says, and where; its threads share it.

    Attributes:
        quiet: whether to leave out all but warnings and errors.
        log: the log file, if any.
        reported: places that messages were dropped from, as the user has been told.
        lock: held while a line of the log file is written.
    """

    quiet: bool = False
    log: TextIO | None = None
    reported: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


_voice = _Voice()


def configure(quiet: bool = False, log_file: Path | None = None) -> None:
    """Choose what is said from now on.

    Args:
        quiet: whether to leave out all but warnings and errors; the log file has them all the same.
        log_file: where lines are added at the end; None for nowhere.

    Raises:
        OSError: the file cannot be opened, for another reason than that the disk is full.
    """
    if _voice.log:
        _voice.log.close()
    _voice.quiet = quiet
    _voice.log = _open_log(log_file) if log_file else None
    _voice.reported.clear()


def _open_log(file: Path) -> TextIO | None:
    try:
        return open_messages(file)
    except OSError as problem:
        if problem.errno not in _FULL:
            raise
        warn(f"{_LOG_FILE} cannot be written, and work goes on: {problem}")
        return None


def say(message: str) -> None:
    """Tell what goes on: as it is on a terminal, with the time elsewhere; not with --quiet."""
    log_only(message)
    if not _voice.quiet:
        _print(message)


def warn(message: str) -> None:
    """Tell what somebody should look at; --quiet does not leave it out."""
    log_only(message)
    _print(message)


def log_only(message: str) -> None:
    """Add a line to the log file alone, if there is one; a message that a signal's handler has may be left out."""
    _write_log(message)
    _report_dropped(_LOG_FILE, _voice.log, _write_error)


def shows_bars() -> bool:
    """Tell whether there is a terminal to draw bars on, and somebody who wants them."""
    return console.is_terminal and not _voice.quiet


def download_progress() -> Progress:
    """Return a progress display for bytes: amount, rate and time left."""
    return _progress(DownloadColumn(), TransferSpeedColumn())


def training_progress() -> Progress:
    """Return a progress display for steps: steps done, rate, loss and right answers so far, time left."""
    return _progress(MofNCompleteColumn(), RateColumn("steps"), TextColumn("{task.fields[note]}"))


class RateColumn(ProgressColumn):
    """How many units are done in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Show the rate of a task, once there is any."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self._unit}/s" if speed else "")


@contextmanager
def show_progress(what: str, total: int, unit: str, share_done: Callable[[], float], seconds: float) -> Iterator[None]:
    """Show how far work has come that goes on inside, perhaps in other processes; say at its end how long it took.

    Args:
        what: the name of the work.
        total: how many units there are to do.
        unit: their name.
        share_done: looks how far it has come, 0 to 1; called in a thread of its own.
        seconds: between two looks.
    """
    started, done = time.monotonic(), threading.Event()
    with _progress(MofNCompleteColumn(), RateColumn(unit)) as display:
        task = display.add_task(what, total=total)

        def look() -> None:
            due = time.monotonic() + LINE_SECONDS
            while not done.wait(max(seconds, POLL_SECONDS)):
                completed = int(total * min(1.0, share_done()))
                display.update(task, completed=completed)
                if not shows_bars() and time.monotonic() >= due:
                    due = time.monotonic() + LINE_SECONDS
                    say(f"{what}: {_how_far(completed, total, unit, time.monotonic() - started)}")

        watcher = threading.Thread(target=look, name=f"watch {what}", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
    taken = time.monotonic() - started
    say(f"{what}: {total:,} {unit} in {taken:.1f} s, {total / max(taken, 1e-9):,.0f} a second")


def _how_far(completed: int, total: int, unit: str, seconds: float) -> str:
    rate = completed / seconds
    left = f", {timedelta(seconds=round((total - completed) / rate))} left" if completed else ""
    return f"{completed:,} of {total:,} {unit}, {rate:,.0f} a second{left}"


def _progress(*columns: ProgressColumn) -> Progress:
    every = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    return Progress(*every, console=console, disable=not shows_bars(), transient=True)


def _print(message: str) -> None:
    _write_error(message)
    _report_dropped("standard error", sys.stderr, _write_log)


def _report_dropped(place: str, stream: TextIO | None, tell: Callable[[str], None]) -> None:
    """Tell once, in the other place, that a place does not take messages."""
    problem = dropped_error(stream)
    if problem and place not in _voice.reported:
        _voice.reported.add(place)
        tell(f"{place} cannot be written, and work goes on: {problem}")


def _write_log(message: str) -> None:
    if _voice.log and _voice.lock.acquire(timeout=LOCK_SECONDS):  # the thread that was interrupted may hold it
        try:
            _voice.log.write(f"{_now()} {escape_control_characters(message)}\n")
        finally:
            _voice.lock.release()


def _write_error(message: str) -> None:
    line = (
        escape_control_characters(message) if console.is_terminal else f"{_now()} {escape_control_characters(message)}"
    )
    console.print(line, markup=False, soft_wrap=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_percent(part: float, digits: int = 2) -> str:
    """Write a part of 1 in percent."""
    return f"{100 * part:.{digits}f} %"
