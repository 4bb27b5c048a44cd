"""A server process that imports TensorFlow and Beam once and forks for each command, which saves seconds per command.

The fork runs `pipeline.cli.main.main` with the arguments, as the console script does. The server starts no threads of
TensorFlow, Beam or gRPC, which forks cannot share.
"""

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.storage import local_disk as disk
from tests.faults.failpoint import ROOT, Failpoint
from tests.helpers import Finished

TIMEOUT_SECONDS = 120
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_STREAMS = ((0, os.devnull, os.O_RDONLY), (1, "out.txt", _WRITE), (2, "err.txt", _WRITE))


class ForkServer:
    """A client of a server process of its own; it runs one command at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.fork_server"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}  # so that `select` sees every line
        self._process = subprocess.Popen(command, env=environment, **pipes)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(TIMEOUT_SECONDS)
        self._process.stdout.close()

    def start(self, folder: Path, arguments: tuple[str, ...], failpoint: str | None = None) -> int:
        """Start a command in a folder, with its output in out.txt and err.txt there; return its process id."""
        job = {"folder": str(folder), "arguments": arguments, "failpoint": failpoint}
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        return self._read_number()

    def wait(self, folder: Path, pid: int) -> Finished:
        if not select.select([self._process.stdout], [], [], TIMEOUT_SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"{folder}: the command still runs after {TIMEOUT_SECONDS} s")
        return Finished(self._read_number(), (folder / "out.txt").read_text(), (folder / "err.txt").read_text())

    def run(self, folder: Path, arguments: tuple[str, ...], failpoint: str | None = None) -> Finished:
        return self.wait(folder, self.start(folder, arguments, failpoint))

    def _read_number(self) -> int:
        return int(self._process.stdout.readline())


def serve() -> None:
    """Fork for each job on standard input; print the process id and later the exit code, a line each."""
    from pipeline.context import quiet_imports

    with quiet_imports():
        pass
    from pipeline.cli.main import main
    from tests.earlier_formats import install_readers

    patch = pytest.MonkeyPatch()
    install_readers(patch)  # for `migrate`
    patch.setattr(
        "pipeline.train.training_process._start_process", lambda workspace: None
    )  # it would have no failpoint

    gc.freeze()  # garbage collection in forks would copy the pages of all imported objects
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _set_up_process(json.loads(line))
            _run(main)
        _write_number(pid)
        _write_number(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _write_number(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _run(main: Callable[[], object]) -> None:
    """Run a command and exit the process without finalizing the interpreter, which would take a second."""
    code = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _set_up_process(job: dict) -> None:
    """Set the working directory, failpoint, arguments and standard streams, as for a new process."""
    os.chdir(job["folder"])
    disk.hook = Failpoint(job["failpoint"]) if job["failpoint"] else None
    sys.argv[:] = ["backbeam", *job["arguments"]]
    for descriptor, name, flags in _STREAMS:
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve()
