"""Messages and progress of a command, on standard error and in the log file; each says if the other cannot be written.

On a terminal, work is shown by progress bars. Elsewhere, as in the log file, lines begin with the time, and long work
prints one every LINE_SECONDS. `--quiet` hides all but warnings and errors on standard error. In a program that imports
backbeam, messages go to the logger "backbeam" unless it asks to see them: see `messages_of_program`.
"""

import errno
import logging
import re
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TextIO

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

from model.errors import StorageFailed
from pipeline.message_lines import Message, format_now
from pipeline.message_streams import dropped_error, open_messages

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
_STOP_SECONDS = 1  # to wait for a count of what is done, which a store may not answer
LINE_SECONDS = 30  # between two progress lines where there is no bar
ITEM = "  - "  # how an item of a list begins
WITH_BAR = 120  # columns of a terminal that a progress bar needs beside the numbers
WITH_RATE = 80  # columns that a rate and the remaining time need
_LOG_FILE = "the log file"

console = Console(stderr=True, highlight=False, emoji=False)
_logger = logging.getLogger("backbeam")
_logger.addHandler(logging.NullHandler())  # without one, Python prints the warnings of a logger on standard error


@dataclass
class _Messages:
    """Where messages of this process go; shared by its threads."""

    quiet: bool = False
    as_json: bool = False  # whether each message is a JSON object on a line
    is_command: bool = True  # whether this process is a command of backbeam, or a worker of one
    log: TextIO | None = None
    reported: set[str] = field(default_factory=set)  # the streams whose dropped messages have been reported
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while a line is written to the log file


_settings = _Messages()


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


def write_json_lines(as_json: bool) -> None:
    """Write each message from now on as a JSON object on a line, if set, without progress bars."""
    _settings.as_json = as_json


def writes_json_lines() -> bool:
    """Return whether messages are written as JSON."""
    return _settings.as_json


def writes_log_file() -> bool:
    """Return whether messages are written to a file too."""
    return _settings.log is not None


class MessageSettings(NamedTuple):
    """The settings with which a process without a log file writes messages."""

    quiet: bool
    as_json: bool


def message_settings() -> MessageSettings:
    """Return the settings of this process."""
    return MessageSettings(_settings.quiet, _settings.as_json)


def use_message_settings(settings: MessageSettings) -> None:
    """Use the settings of another process."""
    configure(settings.quiet)
    write_json_lines(settings.as_json)


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


def show_message(text: str, event: str = "message", **fields: Any) -> None:
    """Show a message on standard error, unless --quiet is set, and append it to the log file.

    The event and the fields (stage, run, seconds, counts) are written if messages are JSON.
    """
    message = Message(text, "info", event, fields)
    if not _settings.quiet:
        _show(message)
    elif _settings.is_command:
        _log(message)
    else:
        _logger.info("%s", text)


def show_event(text: str, event: str, **fields: Any) -> None:
    """Show a message as `show_message` does, but only if messages are JSON: people are told at the end."""
    if _settings.as_json:
        show_message(text, event, **fields)


def warn(text: str, event: str = "message", **fields: Any) -> None:
    """Show a warning on standard error and append it to the log file; event and fields as for `show_message`."""
    if _settings.quiet and not _settings.is_command:
        _logger.warning("%s", text)
    else:
        _show(Message(text, "warning", event, fields))


def log_error(text: str) -> None:
    """Append an error to the log file only; a signal handler's is dropped while the main thread writes a message."""
    _log(Message(text if _settings.as_json else f"error: {text}", "error", "error"))


def _show(message: Message) -> None:
    _log(message)
    _write_error(message)
    _report_dropped("standard error", sys.stderr, _write_log)


def _log(message: Message) -> None:
    _write_log(message)
    _report_dropped(_LOG_FILE, _settings.log, _write_error)


def shows_bars() -> bool:
    """Return whether progress bars are shown: on a terminal, without --quiet, and unless messages are JSON."""
    return console.is_terminal and not _settings.quiet and not _settings.as_json


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
                try:
                    completed = int(total * min(1.0, share_done()))
                except (StorageFailed, OSError):  # the work itself raises it, if it meets it
                    continue
                if done.is_set():
                    return
                display.update(task, completed=completed)
                if not shows_bars() and time.monotonic() >= due:
                    due = time.monotonic() + LINE_SECONDS
                    elapsed = time.monotonic() - started
                    text = f"{what}: {_format_progress(completed, total, unit, elapsed)}"
                    counts = {unit: completed, "total": total}
                    show_message(text, "progress", stage=what, seconds=round(elapsed, 3), counts=counts)

        thread = threading.Thread(target=update_display, name=f"watch {what}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(_STOP_SECONDS)
    elapsed = time.monotonic() - started
    text = f"{what}: {total:,} {unit} in {elapsed:.1f} s, {total / max(elapsed, 1e-9):,.0f} a second"
    show_message(text, "work_finished", stage=what, seconds=round(elapsed, 3), counts={unit: total})


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


def _report_dropped(name: str, stream: TextIO | None, write_elsewhere: Callable[[Message], None]) -> None:
    """Report once, in the other stream, that a stream dropped messages."""
    problem = dropped_error(stream)
    if problem and name not in _settings.reported:
        _settings.reported.add(name)
        write_elsewhere(Message(f"{name} cannot be written, and work goes on: {problem}", "warning"))


def _write_log(message: Message) -> None:
    # The timeout avoids a deadlock: a signal handler may have interrupted the thread that holds the lock.
    if _settings.log and _settings.lock.acquire(timeout=LOCK_SECONDS):
        try:
            _settings.log.write(f"{_to_line(message)}\n")
        finally:
            _settings.lock.release()


def _write_error(message: Message) -> None:
    if console.is_terminal and not _settings.as_json:
        print_wrapped(console, escape_control_characters(message.text))
    else:
        console.print(_to_line(message), markup=False, soft_wrap=True)


def _to_line(message: Message) -> str:
    return message.to_json() if _settings.as_json else f"{format_now()} {escape_control_characters(message.text)}"


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


def print_error(message: str, **fields: Any) -> None:
    """Print the error that ends the command on standard error, also with --quiet; as text without the time."""
    line = error_line(message, **fields)
    if console.is_terminal and not _settings.as_json:
        print_wrapped(console, line)
    else:
        console.print(line, markup=False, soft_wrap=True)


def error_line(message: str, **fields: Any) -> str:
    """Return what `print_error` prints; the fields are written if messages are JSON."""
    if _settings.as_json:
        return Message(message, "error", "error", fields).to_json()
    return escape_control_characters(f"backbeam: {message}")


def format_percent(share: float, digits: int = 2) -> str:
    """Return a share of 1 as a percentage."""
    return f"{100 * share:.{digits}f} %"
