"""Streams for messages and results, whose writes are complete, or are dropped, so that nothing is flushed at exit."""

import io
import select
from pathlib import Path
from typing import Any, TextIO


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
