"""Standard output and standard error: what happens when they are closed, or cannot be written.

A message never decides whether work is done, so what standard error or a log file does not take is dropped. A result
that standard output does not take is an error, unless its reader has gone: then the command ends as SIGPIPE ends other
programs, without a message.
"""

import io
import os
import signal
import sys
from typing import Any, TextIO

from model.errors import StorageFailed
from pipeline.progress import CompleteWriter, open_messages, text_stream

READER_GONE = 128 + signal.SIGPIPE  # the exit code that a shell gives to a program that SIGPIPE ended


class _Results(CompleteWriter):
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
        sys.stdout = text_stream(_Results(descriptor, "w", closefd=False), _encoding(sys.stdout))
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
