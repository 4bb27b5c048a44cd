"""Messages and progress of a command, on standard error and in the log file; each says if the other cannot be written.

On a terminal, work is shown by progress bars. Elsewhere, as in the log file, lines begin with the time, and long work
prints one every LINE_SECONDS. `--quiet` hides all but warnings and errors on standard error. In a program that imports
backbeam, messages go to the logger "backbeam" unless it asks to see them: see `messages_of_program`.
"""

import errno
import io
import logging
import re
import select
import sys
import textwrap
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


class CompleteWriter(io.FileIO):
    """An unbuffered file whose writes are complete, so that nothing needs to be flushed at exit."""

    def write(self, data: Any, /) -> int:
        """Write all of the data; wait if the file is in non-blocking mode. Raises OSError."""
        remaining = memoryview(data).cast("B")
        num_bytes = len(remaining)
        while remaining:
            num_written = super().write(remaining)
            if num_written is None:
                select.select([], [self], [])
            remaining = remaining[num_written or 0 :]
        return num_bytes


class MessageFile(CompleteWriter):
    """A file for messages; data that cannot be written are dropped."""

    problem: OSError | None = None  # by which data were last dropped

    def write(self, data: Any, /) -> int:
        """Write the data, or drop them if that fails."""
        try:
            return super().write(data)
        except OSError as problem:
            self.problem = problem
            return len(memoryview(data).cast("B"))


def open_messages(file: int | Path, encoding: str = "utf-8", closefd: bool = True) -> TextIO:
    """Return a text stream for messages, of a file to append to or a descriptor; `dropped_error` tells what it dropped.

    See `open` for closefd. Raises OSError if the file cannot be opened.
    """
    return text_stream(MessageFile(file, "a", closefd), encoding)


def text_stream(raw: io.FileIO, encoding: str) -> io.TextIOWrapper:
    """Return an unbuffered text stream of a file; characters that the encoding lacks are escaped."""
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True, write_through=True)


def dropped_error(stream: TextIO | None) -> OSError | None:
    """Return the error by which a stream of `open_messages` last dropped data; None if it never did."""
    raw = getattr(stream, "buffer", None)
    return raw.problem if isinstance(raw, MessageFile) else None


# Control characters other than the newline, and marks that change the direction of text.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def escape_control_characters(text: str) -> str:
    """Replace the characters of a text of any number of lines that could control a terminal."""
    return _CONTROL_CHARACTERS.sub(_REPLACEMENT, text)


def escape_to_one_line(text: str) -> str:
    """Replace control characters and newlines of a text."""
    return escape_control_characters(text).replace("\n", _REPLACEMENT)


POLL_SECONDS = 0.2  # the shortest time between two updates of a progress bar
LOCK_SECONDS = 1  # to wait for another thread that writes to the log file
LINE_SECONDS = 30  # between two progress lines where there is no bar
ITEM = "  - "  # how an item of a list begins
WITH_BAR = 120  # columns of a terminal that a progress bar needs beside the numbers
WITH_RATE = 80  # columns that a rate and the remaining time need
_LOG_FILE = "the log file"

console = Console(stderr=True, highlight=False, emoji=False)
_logger = logging.getLogger("backbeam")
_logger.addHandler(logging.NullHandler())  # without one, Python prints the warnings of a logger on standard error


@dataclass
class _MessageSettings:
    """Where messages of this process go; shared by its threads."""

    quiet: bool = False
    is_command: bool = True  # whether this process is a command of backbeam, or a worker of one
    log: TextIO | None = None
    reported: set[str] = field(default_factory=set)  # the streams whose dropped messages have been reported
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while a line is written to the log file


_settings = _MessageSettings()


def configure(quiet: bool = False, log_file: Path | None = None) -> None:
    """Hide all but warnings and errors from now on, if quiet is set, and append all messages to a file, if given.

    Raises OSError if the file cannot be opened; a full disk is only warned about.
    """
    if _settings.log:
        _settings.log.close()
    _settings.log = None  # opening the new one may warn, or fail
    _settings.quiet = quiet
    _settings.reported.clear()
    try:
        _settings.log = open_messages(log_file) if log_file else None
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        warn(f"{_LOG_FILE} cannot be written, and work goes on: {problem}")


@contextmanager
def messages_of_program(verbose: bool) -> Iterator[None]:
    """Leave this process's standard streams and logging as the program that imports backbeam has set them up.

    With verbose, messages and bars are shown in `sys.stderr` as a command shows them; else messages and warnings go to
    the logger "backbeam", which prints nothing unless the program configures it. The settings are those of the process.
    """
    earlier = (_settings.quiet, _settings.is_command)
    _settings.quiet = not verbose
    _settings.is_command = False
    try:
        yield
    finally:
        _settings.quiet, _settings.is_command = earlier


def is_command() -> bool:
    """Return whether this process is a command of backbeam, which may redirect its standard error."""
    return _settings.is_command


def show_message(message: str) -> None:
    """Show a message on standard error, unless --quiet is set, and append it to the log file."""
    if not _settings.quiet:
        warn(message)
    elif _settings.is_command:
        log_only(message)
    else:
        _logger.info("%s", message)


def warn(message: str) -> None:
    """Show a warning on standard error and append it to the log file."""
    if _settings.quiet and not _settings.is_command:
        _logger.warning("%s", message)
        return
    log_only(message)
    _write_error(message)
    _report_dropped("standard error", sys.stderr, _write_log)


def log_only(message: str) -> None:
    """Append a message to the log file only; a signal handler's message is dropped while the main thread writes one."""
    _write_log(message)
    _report_dropped(_LOG_FILE, _settings.log, _write_error)


def shows_bars() -> bool:
    """Return whether progress bars are shown: on a terminal, without --quiet."""
    return console.is_terminal and not _settings.quiet


def download_progress() -> Progress:
    """Return a progress bar for bytes: amount, rate and remaining time."""
    return _progress_bar(DownloadColumn(), TransferSpeedColumn())


def training_progress() -> Progress:
    """Return a progress bar for steps: steps done, rate, the task's field `note`, and remaining time."""
    return _progress_bar(MofNCompleteColumn(), RateColumn("steps"), TextColumn("{task.fields[note]}"))


class RateColumn(ProgressColumn):
    """A column with the number of units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the rate of a task; empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self._unit}/s" if speed else "")


@contextmanager
def show_progress(what: str, total: int, unit: str, share_done: Callable[[], float], seconds: float) -> Iterator[None]:
    """Show the progress of the work inside the context, of a total number of units, and its duration at the end.

    share_done returns the share that is done, 0 to 1; it is called in another thread each so many seconds.
    """
    started = time.monotonic()
    done = threading.Event()
    with _progress_bar(MofNCompleteColumn(), RateColumn(unit)) as display:
        task = display.add_task(what, total=total)

        def update_display() -> None:
            due = time.monotonic() + LINE_SECONDS
            while not done.wait(max(seconds, POLL_SECONDS)):
                completed = int(total * min(1.0, share_done()))
                display.update(task, completed=completed)
                if not shows_bars() and time.monotonic() >= due:
                    due = time.monotonic() + LINE_SECONDS
                    show_message(f"{what}: {_format_progress(completed, total, unit, time.monotonic() - started)}")

        thread = threading.Thread(target=update_display, name=f"watch {what}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
    elapsed = time.monotonic() - started
    show_message(f"{what}: {total:,} {unit} in {elapsed:.1f} s, {total / max(elapsed, 1e-9):,.0f} a second")


def _format_progress(completed: int, total: int, unit: str, seconds: float) -> str:
    rate = completed / seconds
    remaining = f", {timedelta(seconds=round((total - completed) / rate))} left" if completed else ""
    return f"{completed:,} of {total:,} {unit}, {rate:,.0f} a second{remaining}"


def _progress_bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar; a narrow terminal shows its numbers without the bar, or rate and remaining time."""
    chosen = [TextColumn("{task.description}"), *columns]
    if console.width >= WITH_RATE:
        chosen.append(TimeRemainingColumn())
    else:
        chosen = [column for column in chosen if not isinstance(column, RateColumn | TransferSpeedColumn)]
    if console.width >= WITH_BAR:
        chosen.insert(1, BarColumn())
    return Progress(*chosen, console=console, disable=not shows_bars(), transient=True)


def _report_dropped(name: str, stream: TextIO | None, write_elsewhere: Callable[[str], None]) -> None:
    """Report once, in the other stream, that a stream dropped messages."""
    problem = dropped_error(stream)
    if problem and name not in _settings.reported:
        _settings.reported.add(name)
        write_elsewhere(f"{name} cannot be written, and work goes on: {problem}")


def _write_log(message: str) -> None:
    # The timeout avoids a deadlock: a signal handler may have interrupted the thread that holds the lock.
    if _settings.log and _settings.lock.acquire(timeout=LOCK_SECONDS):
        try:
            _settings.log.write(f"{_now()} {escape_control_characters(message)}\n")
        finally:
            _settings.lock.release()


def _write_error(message: str) -> None:
    text = escape_control_characters(message)
    if console.is_terminal:
        print_wrapped(console, text)
    else:
        console.print(f"{_now()} {text}", markup=False, soft_wrap=True)


def print_wrapped(terminal: Console, text: str) -> None:
    """Print lines on a terminal, wrapped between words.

    An indented line, such as a command to copy, and a word that is longer than a line are left to the terminal. Items
    of a list are wrapped.
    """
    for line in text.split("\n"):
        is_whole = line.startswith(" ") and not line.startswith(ITEM)
        terminal.print(Text(line if is_whole else _wrap(line, terminal.width)), soft_wrap=True)


def _wrap(line: str, width: int) -> str:
    indent = " " * len(ITEM) if line.startswith(ITEM) else ""
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def print_error(text: str) -> None:
    """Print a message on standard error, whether or not --quiet is set, and without the time."""
    text = escape_control_characters(text)
    if console.is_terminal:
        print_wrapped(console, text)
    else:
        console.print(text, markup=False, soft_wrap=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_percent(share: float, digits: int = 2) -> str:
    """Return a share of 1 as a percentage."""
    return f"{100 * share:.{digits}f} %"
