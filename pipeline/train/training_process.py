"""A process that imports TensorFlow while this one prepares the data set, and then trains for it.

It writes its messages to this process's standard error. It ends with this process, at once and without a checkpoint, if
that is killed; a signal that ends the command stops the training at the end of a chunk.
"""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from model.errors import BackbeamError, EngineFailed
from pipeline.context import quiet_imports
from pipeline.message_streams import open_messages
from pipeline.processes import (
    defer_signals,
    describe_exit,
    end_with_parent,
    received_signals,
    restore_terminal,
    start_child,
    stop_on_sigterm,
)
from pipeline.progress import message_settings, use_message_settings, writes_log_file
from pipeline.storage.places import Place
from pipeline.storage.workspace import direct_temporary_files
from pipeline.train.run_record import RUN_NAME

T = TypeVar("T")

COMMAND = (sys.executable, "-m", "pipeline.train.training_process")
IMPORTED = "pipeline.train.trainer"  # with all that it imports


class TrainingProcess:
    """The driver's side of the process."""

    def __init__(self, workspace: Path) -> None:
        """Start the process, which then imports TensorFlow and the trainer; raises OSError if it cannot be started."""
        self._connection, theirs = Pipe()
        with theirs:
            command = (*COMMAND, str(theirs.fileno()), str(workspace.absolute()))
            with _blocked(signal.SIGINT):  # for the child: a terminal sends it to both, and it is this process's
                self._process = start_child(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)

    def wait_until_ready(self) -> bool:
        """Wait for the imports, and return whether they have succeeded."""
        try:
            return bool(self._connection.recv())
        except (EOFError, OSError):
            return False

    def call(self, function: Callable[[], T]) -> T:
        """Call a function, which can be pickled, in the process, once it is ready, and return its result; only once.

        Raises the function's exception, with its traceback as a note; and EngineFailed if the process ends before it is
        done, or is told to by a signal that this one did not get.
        """
        with defer_signals(self._process.terminate):
            try:
                self._connection.send((function, message_settings(), tempfile.gettempdir()))
                result, problem = self._connection.recv()
            except (EOFError, ConnectionError) as ended:
                restore_terminal()
                code = self._process.wait()
                raise EngineFailed(f"the training failed: its process {describe_exit(code)}") from ended
        if isinstance(problem, SystemExit) and not received_signals():
            raise EngineFailed("the training failed: its process was terminated; what was complete is kept")
        if problem:
            raise problem
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Kill the process, which writes nothing after its function has returned."""
        self._process.kill()
        self._process.communicate()  # closes its standard input
        self._connection.close()


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


@contextmanager
def open_training_process(workspace: Place) -> Iterator[TrainingProcess | None]:
    """Start a process to train in, if that gains time, and kill it at the end of the context; else yield None.

    A workspace without a run is one to train in; those in stores are left to this process, which holds their lease, and
    so are commands with a log file, which only one process can write to whatever it is (a pipe, a deleted file).
    """
    process = _start_process(workspace) if _is_worthwhile(workspace) else None
    try:
        yield process
    finally:
        if process:
            process.close()


def _is_worthwhile(workspace: Place) -> TypeGuard[Path]:
    if not isinstance(workspace, Path) or writes_log_file():
        return False
    has_run = any((workspace / "runs").glob(f"*/{RUN_NAME}"))
    return not has_run and "tensorflow" not in sys.modules and len(os.sched_getaffinity(0)) > 1


def _start_process(workspace: Path) -> TrainingProcess | None:
    try:
        return TrainingProcess(workspace)
    except OSError:  # too many processes: this one trains
        return None


def serve(descriptor: int, workspace: str) -> None:
    """Be the process: import, say so, and call one function; all of it by the connection that has this descriptor."""
    end_with_parent(grace_seconds=0)
    tempfile.tempdir = (
        workspace  # a library may ask for the folder when it is imported: Python would try to write to /tmp
    )
    sys.stderr = open_messages(2, sys.stderr.encoding, closefd=False)
    connection = Connection(descriptor)
    try:
        with quiet_imports():
            importlib.import_module(IMPORTED)
    except Exception:  # the driver trains then, and raises it again
        connection.send(False)
        return
    with suppress(EOFError, OSError):  # the driver has ended, and nobody is to be told
        connection.send(True)
        _work(connection)


def _work(connection: Connection) -> None:
    function, messages, temporary_folder = connection.recv()
    stop_on_sigterm()  # now that there is work to end well: an import may just end
    use_message_settings(messages)
    with direct_temporary_files(Path(temporary_folder)):
        connection.send(_call(function))


def _call(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except (Exception, SystemExit) as problem:
        if not isinstance(problem, (BackbeamError, OSError, SystemExit)):
            problem.add_note(traceback.format_exc())  # a mistake; of the stack only this is sent
        return None, problem


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
