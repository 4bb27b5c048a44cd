"""The process that the workers of Beam's local engine are forked from, so that Beam is imported once for all of them.

It can start while the driver still imports Beam or scans a source. On other systems than Linux, where it is not safe to
fork a process that has imported native libraries, each worker is a process of its own that imports Beam itself.
"""

import atexit
import gc
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from threading import Lock, Thread
from typing import NamedTuple, Protocol

from model.errors import EngineFailed
from pipeline.processes import code_identity, describe_exit, end_with_parent, finish_writes, start_child

FORKS = sys.platform == "linux"
COMMAND = (sys.executable, "-m", "pipeline.worker_server")
GRACE_SECONDS = 1  # between SIGTERM and SIGKILL: a worker may have inherited that SIGTERM is ignored
_STANDARD_ERROR = 2


class Worker(Protocol):
    """The driver's side of a worker process."""

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code, or the negative number of a signal."""

    def kill(self) -> None:
        """Kill the process; to be called only while `wait` has not returned."""


class ForkedWorker(NamedTuple):
    """The driver's side of a worker that a server has forked."""

    server: "WorkerServer"
    connection: Connection  # to the server
    pid: int

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code; that of the server if it has ended before."""
        try:
            return int(self.connection.recv())
        except (EOFError, OSError):
            return self.server.wait()

    def kill(self) -> None:
        """Kill the process; to be called only while `wait` has not returned."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class SpawnedWorker(NamedTuple):
    """The driver's side of a worker without a server."""

    process: "subprocess.Popen[bytes]"

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code, or the negative number of a signal."""
        with self.process:  # closes its standard input
            return self.process.wait()

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()


class WorkerServer:
    """The driver's side of a server process, which ends with the driver."""

    def __init__(self, modules: Sequence[str]) -> None:
        """Start the process, which imports Beam and these modules; raises OSError if it cannot be started."""
        self._messages: list[bytes] = []
        self._lock = Lock()
        with ExitStack() as files:
            self._connection, theirs = map(files.enter_context, Pipe())
            command = (*COMMAND, str(theirs.fileno()), *modules)
            self._process = start_child(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
            theirs.close()
            self._files = files.pop_all()
        self._reader = Thread(target=self._read_messages, name="messages of the worker server", daemon=True)
        self._reader.start()

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def start_worker(self, variables: Mapping[str, str], folder: Path) -> ForkedWorker:
        """Start a worker with these environment variables, in a folder, with this process's standard error.

        Waits until the server has imported its modules. What these have read from the environment is that of the
        server. Raises EngineFailed if the server has ended; any other error leaves it unusable.
        """
        ours, theirs = Pipe()
        try:
            with theirs:
                self._connection.send((dict(variables), str(folder)))
                send_handle(self._connection, theirs.fileno(), self._process.pid)
                send_handle(self._connection, _STANDARD_ERROR, self._process.pid)
            return ForkedWorker(self, ours, ours.recv())
        except (EOFError, ConnectionError) as problem:
            raise worker_error(self.wait()) from problem

    def wait(self) -> int:
        """Wait for the end of the server and return its exit code; the first caller passes its standard error on."""
        code = self._process.wait()
        with self._lock:
            self._close_files()
            while self._messages:
                with suppress(OSError):  # standard error may be closed; the exit code is returned nevertheless
                    os.write(_STANDARD_ERROR, self._messages.pop())
        return code

    def close(self) -> None:
        """Kill the server; to be called only while no worker runs."""
        self._process.kill()
        self._process.wait()
        with self._lock:
            self._close_files()

    def _close_files(self) -> None:
        self._reader.join()
        self._files.close()
        if self._process.stdin:
            self._process.stdin.close()

    def _read_messages(self) -> None:
        """Read the standard error of the server, which is not that of its workers, to the end."""
        stream = self._process.stderr
        if stream:
            with stream:
                self._messages.append(stream.read())


_started: list[WorkerServer] = []  # at most one, for all jobs of this process
_starting = Lock()


def prepare_workers(*modules: str) -> None:
    """Start the server, which imports Beam and these modules while this process does other work."""
    if FORKS:
        with _starting:
            _find_server(modules)


def start_worker(variables: Mapping[str, str]) -> Worker:
    """Start a worker in this process's environment and folder, with more variables and the same standard error.

    Raises OSError if it cannot be started, EngineFailed if it ends before it could begin.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1", **variables}
    if not FORKS:
        return SpawnedWorker(start_child(COMMAND, environment))
    folder = Path.cwd()
    with _starting:
        try:
            return _find_server().start_worker(environment, folder)
        except BaseException:  # the server may have got a part of the request
            _close_server()
            raise


@atexit.register
def close_server() -> None:
    """End the server, if there is one; to be called only while no worker runs."""
    with _starting:
        _close_server()


def worker_error(code: int) -> EngineFailed:
    """Return the error for a worker process that ended with an exit code, or with the negative number of a signal."""
    return EngineFailed(f"the engine failed: a worker process {describe_exit(code)}")


def _find_server(modules: Sequence[str] = ()) -> WorkerServer:
    if not any(server.is_running() for server in _started):
        _close_server()
        _started.append(WorkerServer(modules))
    return _started[0]


def _close_server() -> None:
    while _started:
        _started.pop().close()


class _ForkServer:
    """The server process. Only one thread of Python may run in it, because a fork has only the thread that forks."""

    def __init__(self, requests: Connection) -> None:
        self._requests = requests
        self._interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is the driver's, and the workers'
        self._answers: dict[int, Connection] = {}  # to the driver, by the process id of a worker
        self._wakeup, writable = os.pipe()
        os.set_blocking(writable, False)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        self._earlier = signal.signal(signal.SIGCHLD, lambda *_: None)  # it may have been inherited as ignored

    def serve(self) -> None:
        """Fork a worker for each request, and say how each ended, until the driver ends; return in each worker."""
        while True:
            for ready in wait([self._requests, self._wakeup]):
                if ready is not self._requests:
                    self._report_ends()
                elif self._start_worker():
                    return

    def _start_worker(self) -> bool:
        """Return whether this process is the worker."""
        try:
            variables, folder = self._requests.recv()
            answer = Connection(recv_handle(self._requests))
            standard_error = recv_handle(self._requests)
        except EOFError:  # the driver has ended
            sys.exit()
        with warnings.catch_warnings(action="ignore"):  # of threads, of which NumPy and PyArrow care for theirs
            pid = os.fork()
        if pid:
            os.close(standard_error)
            self._answers[pid] = answer
            return False
        os.dup2(standard_error, _STANDARD_ERROR)
        os.close(standard_error)
        answer.send(os.getpid())
        self._leave(answer)
        _become_worker(variables, folder)
        return True

    def _report_ends(self) -> None:
        os.read(self._wakeup, 2**10)
        with suppress(ChildProcessError):  # there is no worker
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:  # all others still run
                    return
                with self._answers.pop(pid) as answer, suppress(ConnectionError):  # the driver may have ended
                    answer.send(os.waitstatus_to_exitcode(status))

    def _leave(self, answer: Connection) -> None:
        """Give up what a worker has from the server, or the driver would not see that the server has ended."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self._earlier)
        signal.signal(signal.SIGINT, self._interrupt)
        for connection in (self._requests, answer, *self._answers.values()):
            connection.close()


def _become_worker(variables: Mapping[str, str], folder: str) -> None:
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None  # which is TMPDIR
    os.chdir(folder)


def _serve(descriptor: str, *modules: str) -> None:
    server = _ForkServer(Connection(int(descriptor)))
    importlib.import_module("apache_beam.runners.worker.sdk_worker_main")
    for name in modules:
        importlib.import_module(name)
    code_identity()  # reads all of the source files, which workers compare with the driver's
    gc.freeze()  # or the first collection in each worker would copy the memory that they share
    server.serve()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve(*sys.argv[1:])
    end_with_parent(GRACE_SECONDS)

    from apache_beam.runners.worker import sdk_worker_main

    try:
        sdk_worker_main.main(sys.argv)
    finally:
        finish_writes()  # of Beam's threads; the driver waits for this process before it cleans up
