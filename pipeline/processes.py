"""SIGINT and SIGTERM in this process, and child processes that end with it."""

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
class _SignalState:
    """The state of the signal handler.

    Attributes:
        received: the numbers of the signals received.
        request_stop: called instead of exiting at once; see `defer_signals`.
    """

    received: list[int] = field(default_factory=list)
    request_stop: Callable[[], object] | None = None


_state = _SignalState()


def handle_signals() -> list[int]:
    """Raise SystemExit on SIGINT and SIGTERM, so that temporary files are removed as the stack unwinds.

    Returns:
        The numbers of the signals received; the list grows when more arrive.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle_signal)
    return _state.received


@contextmanager
def defer_signals(request_stop: Callable[[], object]) -> Iterator[None]:
    """On a signal, ask the work inside the context to stop, and raise SystemExit at its end.

    An exception that a signal handler raises inside TensorFlow's Python code leaves executors half shut down, and the
    process may crash. Outside the main thread, where no handler runs, this context does nothing.

    Args:
        request_stop: asks the work to stop; it must not block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.request_stop = request_stop
    try:
        yield
    finally:
        _state.request_stop = None
        if _state.received:
            sys.exit(128 + _state.received[0])


def run_interruptible(work: Callable[[], T]) -> T:
    """Return the result of a native function that waits for the network, so that a signal can end the wait.

    No signal handler runs while the main thread is inside a native function. So work is called in a daemon thread,
    which is left behind when the process exits. obstore's coroutines are not used: they let handlers run, but their
    threads access Python after the answer has arrived, which aborts a process that is exiting.
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


def _handle_signal(number: int, _: FrameType | None) -> None:
    _state.received.append(number)
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # a second signal would interrupt the removal of temporary files
    message = f"{'interrupted' if number == signal.SIGINT else 'terminated'}; what was complete is kept"
    log_only(f"error: {message}")
    sys.stderr.write(f"backbeam: {message}\n")
    if _state.request_stop:
        _state.request_stop()
    else:
        sys.exit(128 + number)


def start_child(
    command: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a child process, whose code must call `end_with_parent`.

    It does not import modules from the current folder, where the user may have a `model/` or a `queue.py`. PYTHONPATH
    is respected.

    Args:
        command: the program and its arguments.
        environment: variables to add to the environment.
        options: arguments of `subprocess.Popen`.
    """
    variables = {**os.environ, "PYTHONSAFEPATH": "1", **(environment or {})}
    return subprocess.Popen(list(command), stdin=subprocess.PIPE, env=variables, **options)


def end_with_parent(grace_seconds: float) -> None:
    """End this process when its standard input is closed, as the system does when the parent ends.

    Args:
        grace_seconds: the time between SIGTERM and SIGKILL.
    """
    arguments = (sys.stdin.fileno(), grace_seconds)
    threading.Thread(target=_wait_for_end, args=arguments, name="end with parent", daemon=True).start()


def _wait_for_end(descriptor: int, grace_seconds: float) -> None:
    while os.read(descriptor, 2**10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    os.kill(os.getpid(), signal.SIGKILL)
