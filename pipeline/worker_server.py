"""The process that the workers of Beam's local engine are forked from, so that Beam is imported once for all of them.

It can start while the driver still imports Beam or scans a source. On other systems than Linux, where it is not safe to
fork a process that has imported native libraries, each worker has a server of its own, which becomes the worker.
"""

import atexit
import gc
import importlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from model.errors import EngineFailed
from pipeline.processes import code_identity, end_with_parent, start_child

FORKS = sys.platform == "linux"
COMMAND = (sys.executable, "-m", "pipeline.worker_server")
GRACE_SECONDS = 1  # between SIGTERM and SIGKILL: a worker may have inherited that SIGTERM is ignored
_STANDARD_ERROR = 2

_started: list["WorkerServer"] = []  # at most one, for all jobs of this process


class Worker(NamedTuple):
    """The driver's side of a worker process."""

    server: "WorkerServer"
    connection: Connection  # to the server
    pid: int

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code, or the negative number of a signal."""
        try:
            return int(self.connection.recv())
        except (EOFError, OSError):  # the server has ended, or it was the worker
            return self.server.wait()

    def kill(self) -> None:
        """Kill the process, for whose end nobody has waited successfully."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class WorkerServer:
    """The driver's side of a server process, which ends with the driver."""

    def __init__(self, modules: tuple[str, ...] = ()) -> None:
        """Start the process, which imports Beam and these modules; raises OSError if it cannot be started."""
        self._messages: list[bytes] = []
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

    def start_worker(self, variables: Mapping[str, str]) -> Worker:
        """Start a worker in this process's environment and folder, with more variables and the same standard error.

        Waits until the server has imported what it imports. Raises EngineFailed if it has ended.
        """
        ours, theirs = Pipe()
        try:
            with theirs:
                self._connection.send(({**os.environ, **variables}, str(Path.cwd()), FORKS))
                send_handle(self._connection, theirs.fileno(), self._process.pid)
                send_handle(self._connection, _STANDARD_ERROR, self._process.pid)
            return Worker(self, ours, ours.recv())
        except (EOFError, OSError) as problem:
            raise worker_error(self.wait()) from problem

    def wait(self) -> int:
        """Wait for the end of the server and return its exit code; the first caller passes its standard error on."""
        code = self._process.wait()
        self._close_files()
        while self._messages:
            os.write(_STANDARD_ERROR, self._messages.pop())
        return code

    def close(self) -> None:
        """Kill the server, which has no workers, unless it has ended."""
        self._process.kill()
        self._process.wait()
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


def prepare_workers(*modules: str) -> None:
    """Start the server, which imports Beam and these modules while this process does other work."""
    if FORKS and not any(server.is_running() for server in _started):
        close_server()
        _started.append(WorkerServer(modules))


@atexit.register
def close_server() -> None:
    """End the server, if there is one."""
    while _started:
        _started.pop().close()


def take_server() -> WorkerServer:
    """Return the server for the next worker; raises OSError if it cannot be started."""
    prepare_workers()
    return _started[0] if FORKS else WorkerServer()


def worker_error(code: int) -> EngineFailed:
    """Return the error for a worker process that ended with an exit code, or with the negative number of a signal."""
    return EngineFailed(f"the engine failed: a worker process {_describe_exit(code)}")


def _describe_exit(code: int) -> str:
    if code < 0:
        names = {each.value: each.name for each in signal.Signals}  # most real-time signals have none
        return f"was killed by {names.get(-code, f'signal {-code}')}"
    return f"ended with code {code} before its work was done"


class _Forked(NamedTuple):
    """The server's side of a worker process."""

    pid: int
    answer: Connection  # to the driver


class _ForkServer:
    """The server process. It has one thread, because a fork has only the thread that forks."""

    def __init__(self, requests: Connection) -> None:
        self._requests = requests
        self._interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is the driver's, and the workers'
        self._workers: dict[int, _Forked] = {}  # by the end of a pipe that is readable when the worker has ended

    def serve(self) -> None:
        """Fork a worker for each request, and say how each ended, until the driver ends; return in each worker."""
        while True:
            for ready in wait([self._requests, *self._workers]):
                if isinstance(ready, int):
                    self._report_end(ready)
                elif self._start_worker():
                    return

    def _start_worker(self) -> bool:
        """Return whether this process is the worker."""
        try:
            variables, folder, forks = self._requests.recv()
            answer = Connection(recv_handle(self._requests))
            standard_error = recv_handle(self._requests)
        except EOFError:  # the driver has ended
            sys.exit()
        ended, running = os.pipe()  # the worker holds the other end as long as it runs
        pid = os.fork() if forks else 0
        if not pid:
            answer.send(os.getpid())
            signal.signal(signal.SIGINT, self._interrupt)
            self._close_all(answer, ended)
            _become_worker(variables, folder, standard_error)
            return True
        os.close(running)
        os.close(standard_error)
        self._workers[ended] = _Forked(pid, answer)
        return False

    def _report_end(self, ended: int) -> None:
        pid, answer = self._workers.pop(ended)
        os.close(ended)
        with answer, suppress(OSError):  # the driver may have ended
            answer.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def _close_all(self, answer: Connection, ended: int) -> None:
        """Close what a worker has from the server, or the driver would not see that the server has ended."""
        for connection in (self._requests, answer, *(each.answer for each in self._workers.values())):
            connection.close()
        for descriptor in (ended, *self._workers):
            os.close(descriptor)


def _become_worker(variables: Mapping[str, str], folder: str, standard_error: int) -> None:
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None  # which is TMPDIR
    os.chdir(folder)
    os.dup2(standard_error, _STANDARD_ERROR)
    os.close(standard_error)
    end_with_parent(GRACE_SECONDS)


if __name__ == "__main__":
    from apache_beam.runners.worker import sdk_worker_main

    for name in sys.argv[2:]:
        importlib.import_module(name)
    code_identity()  # reads all of the source files, which workers compare with the driver's
    gc.freeze()  # or the first collection in each worker would copy the memory that they share
    _ForkServer(Connection(int(sys.argv[1]))).serve()
    sdk_worker_main.main(sys.argv)
