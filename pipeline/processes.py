"""SIGINT and SIGTERM in this process, child processes that end with it, and workers that must run the same code."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType, GeneratorType
from typing import Any, NamedTuple, TypeVar

import model
import pipeline
from model.errors import EngineFailed, StorageFailed
from pipeline.progress import error_line, log_error

T = TypeVar("T")

# To wait for a store before the command ends. Kubernetes kills it 30 s after SIGTERM, and there are up to four waits.
ENDING_SECONDS = 5.0


@dataclass
class _SignalState:
    received: list[int] = field(default_factory=list)  # the numbers of the signals
    request_stop: Callable[[], object] | None = None  # called instead of exiting at once


_state = _SignalState()
_writes = set[Future[Any]]()  # by `run_interruptible`, in progress


def handle_signals() -> list[int]:
    """Raise SystemExit on SIGINT and SIGTERM, so that temporary files are removed as the stack unwinds.

    The list that is returned gets the numbers of the signals as they arrive.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle_signal)
    return _state.received


def received_signals() -> Sequence[int]:
    """Return the numbers of the signals that `handle_signals` has received, in order."""
    return tuple(_state.received)


@contextmanager
def defer_signals(request_stop: Callable[[], object]) -> Iterator[None]:
    """On a signal, ask the work inside the context, without blocking, to stop; raise SystemExit at its end.

    An exception that a signal handler raises inside TensorFlow's Python code leaves executors half shut down, and the
    process may crash. Outside the main thread, where no handler runs, this context does nothing.
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


def run_interruptible(work: Callable[[], T], is_write: bool = False, is_needed: bool = False) -> T:
    """Return the result of a native function that waits for the network, so that a signal can end the wait.

    A write that a signal interrupts is waited for, up to ENDING_SECONDS: if the store executed it after the cleanup, a
    record would name files that were removed. What begins after a signal, such as a request of the cleanup, raises
    StorageFailed if it takes longer than that, unless it is needed, as a checkpoint is.

    No signal handler runs while the main thread is inside a native function. So work is called in a daemon thread,
    which is left behind when the process exits. obstore's coroutines are not used: they let handlers run, but their
    threads access Python after the answer has arrived, which aborts a process that is exiting.
    """
    result: Future[T] = Future()
    if is_write:
        _writes.add(result)
        result.add_done_callback(_writes.discard)

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as problem:
            result.set_exception(problem)

    thread = threading.Thread(target=run, name="interruptible", daemon=True)
    try:
        thread.start()
        # Not Thread.join: before Python 3.13, an exception of a signal handler there marks the thread as ended.
        wait([result], ENDING_SECONDS if _state.received and not is_needed else None)
    except BaseException:
        if thread.ident is None:  # it was not started
            _writes.discard(result)
        finish_writes()
        raise
    if not result.done():
        raise StorageFailed(f"storage: no answer within {ENDING_SECONDS:g} s, and this command is to end")
    return result.result()


def finish_writes() -> None:
    """Wait for the writes that `run_interruptible` has begun in any thread, up to ENDING_SECONDS."""
    wait(tuple(_writes), ENDING_SECONDS)


def _handle_signal(number: int, _: FrameType | None) -> None:
    _note_signal(number)
    kind = "Interrupted" if number == signal.SIGINT else "Terminated"
    message = f"{kind.lower()}; what was complete is kept"
    log_error(message)
    restore_terminal()
    sys.stderr.write(f"{error_line(message, code=128 + number, kind=kind)}\n")
    _stop(number)


def restore_terminal() -> None:
    """Clear the line of a terminal, and show its cursor: another process may draw a progress bar there."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[2K\x1b[?25h")


def stop_on_sigterm() -> None:
    """Raise SystemExit on SIGTERM without a message, in a child that works for a command."""
    signal.signal(signal.SIGTERM, _handle_sigterm)


def _handle_sigterm(number: int, _: FrameType | None) -> None:
    _note_signal(number)
    _stop(number)


def _note_signal(number: int) -> None:
    _state.received.append(number)
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # a second signal would interrupt the removal of temporary files


def _stop(number: int) -> None:
    if _state.request_stop:
        _state.request_stop()
    else:
        sys.exit(128 + number)


def start_child(
    command: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a child process with more environment variables; its code must call `end_with_parent`.

    It does not import modules from the current folder, where the user may have a `model/` or a `queue.py`. PYTHONPATH
    is respected. Options are those of `subprocess.Popen`.
    """
    variables = {**os.environ, "PYTHONSAFEPATH": "1", **(environment or {})}
    return subprocess.Popen(list(command), stdin=subprocess.PIPE, env=variables, **options)


def end_with_parent(grace_seconds: float) -> None:
    """End this process when its standard input is closed, as the parent's end does.

    It gets SIGTERM and, after so many seconds, SIGKILL; with 0 seconds SIGKILL at once.
    """
    descriptor = sys.stdin.fileno()

    def wait_for_end() -> None:
        while os.read(descriptor, 2**10):
            pass
        if grace_seconds:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(grace_seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_end, name="end with parent", daemon=True).start()


def describe_exit(code: int) -> str:
    """Say how a process ended, from its exit code or the negative number of a signal."""
    if code < 0:
        names = {each.value: each.name for each in signal.Signals}  # most real-time signals have none
        return f"was killed by {names.get(-code, f'signal {-code}')}"
    return f"ended with code {code} before its work was done"


class CodeIdentity(NamedTuple):
    """The version of this program and the SHA-256 of its source files, in hexadecimal."""

    version: str
    digest: str

    def __str__(self) -> str:
        return f"backbeam {self.version} (code digest {self.digest[:12]})"


class SameCode(partial[T]):
    """A partial function that can only be unpickled by a process with the same code; others raise EngineFailed.

    Where a file cannot be read it raises StorageFailed: another error would arrive as one of the engine.
    """

    def __call__(self, /, *arguments: Any, **keywords: Any) -> Any:
        """Call the function; raises StorageFailed for an OSError, also while its results are iterated over."""
        with _storage_errors():
            result = super().__call__(*arguments, **keywords)
        return _iterate(result) if isinstance(result, GeneratorType) else result

    def __repr__(self) -> str:
        """Return the function's name: Beam labels transforms by it, and engines show the labels."""
        return f"{type(self).__name__}({self.func.__name__})"

    def __reduce__(self) -> Any:
        # _CodeCheck comes first: unpickling the function would fail if the other code lacks it.
        return _restore, (_CodeCheck(), self.func, self.args, self.keywords)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise StorageFailed(f"storage: {problem}") from problem


def _iterate(results: Iterator[Any]) -> Iterator[Any]:
    with _storage_errors():
        yield from results


class _CodeCheck:
    """Pickled as a call of `check_code` with the identity of this process's code."""

    def __reduce__(self) -> Any:
        return check_code, tuple(code_identity())


def _restore(_: None, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> "SameCode[Any]":
    return SameCode(function, *arguments, **keywords)


@cache
def code_identity() -> CodeIdentity:
    """Return the identity of the code of this process."""
    try:
        own_version = version("backbeam")
    except PackageNotFoundError:
        own_version = "not installed"
    return CodeIdentity(own_version, code_digest())


@cache
def code_digest() -> str:
    """Return the SHA-256 of the names and contents of this program's source files, sorted by name."""
    digest = hashlib.sha256()
    for package in (model, pipeline):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{package.__name__}/{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def check_code(required_version: str, required_digest: str) -> None:
    """Raise EngineFailed if the code of this process, a worker, differs from its driver's."""
    required = CodeIdentity(required_version, required_digest)
    own = code_identity()
    if own != required:
        folder = Path(pipeline.__path__[0]).parent
        raise EngineFailed(
            f"the engine failed: a worker runs {own} from {folder}, the driver {required}: install the driver's "
            "version wherever workers run"
        )
