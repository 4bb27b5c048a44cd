"""Standard output and error that cannot be written: messages are dropped, and a result that is lost is an error.

If the reader of a pipe has gone, the command ends with the exit code of SIGPIPE and no message, as other programs do.
"""

import io
import os
import signal
import sys
from typing import Any, TextIO

from model.errors import StorageFailed
from pipeline.message_streams import CompleteWriter, open_messages, text_stream

READER_GONE = 128 + signal.SIGPIPE  # the exit code that a shell gives to a program that SIGPIPE ended


class _Results(CompleteWriter):
    """Standard output: raises the first failure, and drops later writes, such as the flush at exit."""

    _failed = False

    def write(self, data: Any, /) -> int:
        """Write the data; raises StorageFailed, or SystemExit if the reader of a pipe has gone."""
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
    """Replace sys.stdout and sys.stderr by streams that fail as the module describes.

    Closed descriptors are opened on the null device first: a file opened later would be given the number 1 or 2, and
    native code and child processes would write their messages into it. Streams that a test has replaced are kept.
    """
    closed = _open_closed_descriptors()
    if sys.stderr is sys.__stderr__:
        sys.stderr = open_messages(2, _encoding(sys.stderr), closefd=False)
    if sys.stdout is sys.__stdout__:
        # a read-only descriptor makes writes fail: a result for a closed standard output is an error, not dropped
        descriptor = os.open(os.devnull, os.O_RDONLY) if 1 in closed else 1
        sys.stdout = text_stream(_Results(descriptor, "w", closefd=False), _encoding(sys.stdout))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_closed_descriptors() -> list[int]:
    """Open the null device on closed descriptors among 0 to 2, inheritable by child processes; return them."""
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
