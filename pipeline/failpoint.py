"""Failing on purpose, for tests: the Nth operation that changes the disk kills the process, or raises an error.

The environment says which: BACKBEAM_FAILPOINT is N:kill, N:ENOSPC, N:EIO or N:EACCES, with N counted from 1 in this
process, all its threads together; N+:ENOSPC fails every operation from the Nth on; count fails none. With :FILE after
that each operation adds a line to FILE. Unless the variable is set nothing is armed, and `reach` is one comparison.
"""

import errno
import os
import re
import signal
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from model.errors import BadUsage

VARIABLE = "BACKBEAM_FAILPOINT"
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}
KILL = "kill"
_FORM = re.compile(rf"(?:([1-9][0-9]{{0,8}})(\+?):({KILL}|{'|'.join(ERRORS)})|count)(?::(.+))?")


@dataclass
class _Failpoint:
    """What happens at which operation.

    Attributes:
        first: the operation, counted from 1; 0 for none.
        stays: whether those after it fail too.
        mode: KILL, or the name of an error.
        listed: the file that operations are listed in.
        reached: how many operations there were.
        lock: of the counter.
    """

    first: int
    stays: bool
    mode: str
    listed: Path | None
    reached: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def strike(self, operation: str, path: Path) -> None:
        with self.lock:
            self.reached += 1
            number = self.reached
            if self.listed:
                with self.listed.open("a", encoding="utf-8", errors="backslashreplace") as lines:
                    lines.write(f"{number} {operation} {path}\n")
        if self.first and (number >= self.first if self.stays else number == self.first):
            if self.mode == KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(ERRORS[self.mode], os.strerror(ERRORS[self.mode]), str(path))


_armed: _Failpoint | None = None


def arm(environment: MutableMapping[str, str]) -> None:
    """Do from now on what the environment says, from the first operation on; raises BadUsage if it is no failpoint.

    It is taken out of the environment: a process that this one starts has operations of its own.
    """
    global _armed
    text = environment.pop(VARIABLE, None)
    _armed = None if text is None else _parse(text)


def reach(operation: str, path: Path) -> None:
    """Come to an operation that changes the disk; raises OSError, or ends the process, if that is what is armed."""
    if _armed is not None:
        _armed.strike(operation, path)


def pieces(data: bytes) -> tuple[bytes, ...]:
    """Return what to write at a time: all, or two halves where a failpoint may come between them."""
    return (data,) if _armed is None else (data[: len(data) // 2], data[len(data) // 2 :])


def _parse(text: str) -> _Failpoint:
    found = _FORM.fullmatch(text)
    if not found:
        modes = ", ".join((KILL, *ERRORS))
        raise BadUsage(
            f"{VARIABLE}={text!r}: expected N:MODE or N+:MODE, with MODE one of {modes}, or count; then perhaps :FILE"
        )
    number, stays, mode, listed = found.groups()
    return _Failpoint(int(number or 0), bool(stays), mode or "", Path(listed) if listed else None)
