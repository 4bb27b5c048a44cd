"""SIGINT and SIGTERM: how they end a command."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeVar

from pipeline.console import note

T = TypeVar("T")


@dataclass
class _Heard:
    """What came, and who is to be told of it instead of ending at once."""

    numbers: list[int] = field(default_factory=list)
    tell: Callable[[], object] | None = None


_heard = _Heard()


def listen() -> list[int]:
    """End by SystemExit on SIGINT and SIGTERM, so that what is half written is cleared away on the way out.

    Returns:
        the signals received, at once and later.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    return _heard.numbers


@contextmanager
def deferred(tell: Callable[[], object]) -> Iterator[None]:
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


def interruptible(work: Callable[[], T]) -> T:
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
    note(f"error: {message}")
    sys.stderr.write(f"backbeam: {message}\n")
    if _heard.tell:
        _heard.tell()
    else:
        sys.exit(128 + number)
