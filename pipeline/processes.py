"""SIGINT and SIGTERM: how they end a command."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

from pipeline.progress import log_only

T = TypeVar("T")


@dataclass
class _Heard:
    """What came, and who is to be told of it instead of ending at once."""

    numbers: list[int] = field(default_factory=list)
    tell: Callable[[], object] | None = None


_heard = _Heard()


def handle_signals() -> list[int]:
    """End by SystemExit on SIGINT and SIGTERM, so that what is half written is cleared away on the way out.

    Returns:
        the signals received, at once and later.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    return _heard.numbers


@contextmanager
def defer_signals(tell: Callable[[], object]) -> Iterator[None]:
    """Let a signal ask what is done inside to end, and end the command once it has.

    An exception that a handler raises in the midst of TensorFlow's own Python leaves its executors half taken down,
    and the process may crash. In another thread than the main one, where no handler runs, this changes nothing.

    Args:
        tell: asks for the end; it must not block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _heard.tell = tell
    try:
        yield
    finally:
        _heard.tell = None
        if _heard.numbers:
            sys.exit(128 + _heard.numbers[0])


def run_interruptible(work: Callable[[], T]) -> T:
    """Return what a foreign function returns that waits for a network, so that a signal can end the wait.

    While the main thread is in such a function, no handler runs. So another thread is, which a process that ends leaves
    behind. (Coroutines of obstore let handlers run, but the threads behind them touch Python after the answer, and
    abort the process if it is at its end.)
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as problem:
            result.set_exception(problem)

    thread = threading.Thread(target=run, name="interruptible", daemon=True)
    thread.start()
    thread.join()
    return result.result()


def _stop(number: int, _: FrameType | None) -> None:
    _heard.numbers.append(number)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # a second one would break off the clearing away
    message = f"{'interrupted' if number == signal.SIGINT else 'terminated'}; what was complete is kept"
    log_only(f"error: {message}")
    sys.stderr.write(f"backbeam: {message}\n")
    if _heard.tell:
        _heard.tell()
    else:
        sys.exit(128 + number)


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
