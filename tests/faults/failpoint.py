"""Inject a fault: the Nth operation that changes the disk kills the process or raises an error.

A failpoint is written N:kill, N:ENOSPC, N:EIO or N:EACCES, with N counted from 1 over all threads of the process;
N+:ENOSPC fails every operation from the Nth on, `count` fails none. If :FILE follows, each operation appends a line to
FILE.
"""

import errno
import os
import signal
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Failpoint:
    def __init__(self, text: str) -> None:
        place, *rest = text.split(":", 1 if text.startswith("count") else 2)
        self._mode = "count" if place == "count" else rest.pop(0)
        self._is_permanent = place.endswith("+")
        self._first = int(place.rstrip("+")) if place != "count" else 0
        self._log = Path(rest[0]) if rest else None
        self._lock = threading.Lock()
        self._num_operations = 0

    def __call__(self, operation: str, path: Path) -> None:
        with self._lock:
            self._num_operations += 1
            number = self._num_operations
            if self._log:
                with self._log.open("a", encoding="utf-8", errors="backslashreplace") as lines:
                    lines.write(f"{number} {operation} {path}\n")
        if self._first and (number >= self._first if self._is_permanent else number == self._first):
            if self._mode == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            code = getattr(errno, self._mode)
            raise OSError(code, os.strerror(code), str(path))
