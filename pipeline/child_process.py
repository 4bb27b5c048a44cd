"""Child processes of this program: how they are started, and how they end when their parent is gone.

The parent holds the write end of the pipe that is a child's standard input, and never writes to it. The kernel closes
that end when the parent ends, by SIGKILL too, and the child reads the end of its input. A pipe does that on every POSIX
system; prctl's parent-death signal is of Linux alone, and is sent when the parent's thread ends, not its process.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any


def start_child(
    command: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a process that calls `end_with_parent`.

    A Python that it starts does not import from the current folder, where a `model/` or a `queue.py` of the user's may
    stand; PYTHONPATH still counts.

    Args:
        command: the program and its arguments.
        environment: additions to the environment.
        options: for `subprocess.Popen`.
    """
    variables = {**os.environ, "PYTHONSAFEPATH": "1", **(environment or {})}
    return subprocess.Popen(list(command), stdin=subprocess.PIPE, env=variables, **options)


def end_with_parent(grace_seconds: float) -> None:
    """Have this process ended when its standard input ends: by SIGTERM, and if that does not do it, by SIGKILL.

    Args:
        grace_seconds: how long to wait between the two signals.
    """
    arguments = (sys.stdin.fileno(), grace_seconds)
    threading.Thread(target=_wait_for_end, args=arguments, name="end with parent", daemon=True).start()


def _wait_for_end(descriptor: int, grace_seconds: float) -> None:
    while os.read(descriptor, 2**10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    os.kill(os.getpid(), signal.SIGKILL)
