"""A process that imports TensorFlow while this one prepares the data set, and then trains for it.

It writes its messages to this process's standard error and log file. It ends with this process, at once and without
a checkpoint, if that is killed; a signal that ends the command stops the training at the end of a chunk.
"""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar

from model.errors import BackbeamError, EngineFailed
from pipeline.context import quiet_imports
from pipeline.message_streams import open_messages
from pipeline.processes import defer_signals, describe_exit, end_with_parent, start_child, stop_on_sigterm
from pipeline.progress import message_settings, use_message_settings
from pipeline.storage.places import Place
from pipeline.storage.workspace import direct_temporary_files
from pipeline.train.run_record import RUN_NAME

T = TypeVar("T")

COMMAND = (sys.executable, "-m", "pipeline.train.training_process")
IMPORTED = "pipeline.train.trainer"  # with all that it imports


class TrainingProcess:
    """The driver's side of the process."""

    def __init__(self) -> None:
        """Start the process, which imports what training needs; raises OSError if it cannot be started."""
        self._connection, theirs = Pipe()
        with theirs:
            command = (*COMMAND, str(theirs.fileno()))
            with _blocked(signal.SIGINT):  # for the child: a terminal sends it to both, and it is this process's
                self._process = start_child(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)

    def wait_until_ready(self) -> bool:
        """Wait for the imports, and return whether they have succeeded."""
        try:
            return bool(self._connection.recv())
        except (EOFError, OSError):
            return False

    def call(self, function: Callable[[], T]) -> T:
        """Call a function, which can be pickled, in the process, once it is ready, and return its result.

        Raises the function's BackbeamError or OSError; and EngineFailed if the process ends before it is done.
        """
        with defer_signals(self._process.terminate):
            try:
                self._connection.send((function, message_settings(), tempfile.gettempdir()))
                result, problem = self._connection.recv()
            except (EOFError, ConnectionError) as ended:
                code = self._process.wait()
                raise EngineFailed(f"the training failed: its process {describe_exit(code)}") from ended
        if problem:
            raise problem
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Kill the process; what it has returned is complete."""
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

    A workspace without a run is one to train in; those in stores are left to this process, which holds their lease.
    """
    process = _start_process() if isinstance(workspace, Path) and _is_worthwhile(workspace) else None
    try:
        yield process
    finally:
        if process:
            process.close()


def _is_worthwhile(workspace: Path) -> bool:
    has_run = any((workspace / "runs").glob(f"*/{RUN_NAME}"))
    return not has_run and "tensorflow" not in sys.modules and (os.cpu_count() or 1) > 1


def _start_process() -> TrainingProcess | None:
    try:
        return TrainingProcess()
    except OSError:  # too many processes: this one trains
        return None


def serve(descriptor: int) -> None:
    """Be the process: import, say so, and call one function; all of it by the connection that has this descriptor."""
    end_with_parent(grace_seconds=0)
    sys.stderr = open_messages(2, sys.stderr.encoding, closefd=False)
    connection = Connection(descriptor)
    with quiet_imports():
        importlib.import_module(IMPORTED)
    connection.send(True)
    function, messages, temporary_folder = connection.recv()
    stop_on_sigterm()  # now that there is work to end well: an import may just end
    use_message_settings(messages)
    with direct_temporary_files(Path(temporary_folder)):
        connection.send(_call(function))


def _call(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except (BackbeamError, OSError, SystemExit) as problem:
        return None, problem


if __name__ == "__main__":
    serve(int(sys.argv[1]))
