"""Standard output and standard error: what happens when they are closed, or cannot be written.

A message never decides whether work is done, so what standard error or a log file does not take is dropped. A result
that standard output does not take is an error, unless its reader has gone: then the command ends as SIGPIPE ends other
programs, without a message.
"""

import io
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from model.errors import StorageFailed

READER_GONE = 128 + signal.SIGPIPE  # the exit code that a shell gives to a program that SIGPIPE ended


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


class Messages(_WholeFile):
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


class _Results(_WholeFile):
    """Standard output: the first failure is raised, and what is written after it is dropped."""

    _failed = False

    def write(self, data: Any, /) -> int:
        """Write the data; raises StorageFailed, or SystemExit if nobody reads them."""
        if self._failed:
            return len(memoryview(data).cast("B"))
        try:
            return super().write(data)
        except BrokenPipeError:
            self._failed = True
            raise SystemExit(READER_GONE) from None
        except OSError as problem:
            self._failed = True
            raise StorageFailed(f"standard output cannot be written: {problem}; the result is not printed") from problem


def open_messages(file: int | Path, encoding: str = "utf-8", closefd: bool = True) -> TextIO:
    """Return a text stream for messages; `dropped` tells whether it lost any.

    Args:
        file: a descriptor, or a file to append to.
        encoding: of the text. Characters that it lacks are escaped.
        closefd: whether to close the descriptor with the stream; see `open`.

    Raises:
        OSError: the file cannot be opened.
    """
    return _text(Messages(file, "a", closefd), encoding)


def dropped(stream: TextIO | None) -> OSError | None:
    """Return why a stream dropped messages last; None if it dropped none, or is not one of `open_messages`."""
    raw = getattr(stream, "buffer", None)
    return raw.problem if isinstance(raw, Messages) else None


def protect_standard_streams() -> None:
    """Replace sys.stdout and sys.stderr by streams that fail as this module says.

    Closed descriptors are opened on the null device first: a file opened later would be given the number 1 or 2, and
    native code and child processes would write their messages into it. Streams that a test has put in place stay.
    """
    closed = _open_closed_descriptors()
    if sys.stderr is sys.__stderr__:
        sys.stderr = open_messages(2, _encoding(sys.stderr), closefd=False)
    if sys.stdout is sys.__stdout__:
        # a closed standard output is no sink: writing to a descriptor that is open for reading fails
        descriptor = os.open(os.devnull, os.O_RDONLY) if 1 in closed else 1
        sys.stdout = _text(_Results(descriptor, "w", closefd=False), _encoding(sys.stdout))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_closed_descriptors() -> list[int]:
    """Open the null device on those of the descriptors 0 to 2 that are closed, for child processes too; return them."""
    closed = []
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, True)
            closed.append(opened)
    return closed


def _encoding(stream: TextIO | None) -> str:
    return stream.encoding if stream else "utf-8"


def _text(raw: io.FileIO, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True, write_through=True)
