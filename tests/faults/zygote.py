"""A process that has imported what commands need and forks for each, so that one takes as long as its work alone.

The fork runs `pipeline.cli.main.main` with the arguments, as the console script does. Nothing that a fork may not share
is started before: no thread of TensorFlow, Beam or gRPC.
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
from typing import NamedTuple

from pipeline.storage import local_disk as disk
from tests.faults.failpoint import ROOT, Failpoint

SECONDS = 120  # a command that takes longer hangs


class Ended(NamedTuple):
    """How a command ended: its exit code, or minus the signal, and what it printed."""

    code: int
    out: str
    err: str


class Zygote:
    """The process, seen from the tests; one command at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.zygote"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}  # `select` must see every line
        self._process = subprocess.Popen(command, env=environment, **pipes)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(SECONDS)
        self._process.stdout.close()

    def start(self, folder: Path, arguments: tuple[str, ...], failpoint: str | None = None) -> int:
        """Start a command in a folder and return its process id; it prints to out.txt and err.txt there."""
        job = {"folder": str(folder), "arguments": arguments, "failpoint": failpoint}
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        return self._answer()

    def wait(self, folder: Path, pid: int) -> Ended:
        """Wait for the end of the command that was started."""
        if not select.select([self._process.stdout], [], [], SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"{folder}: the command still runs after {SECONDS} s")
        return Ended(self._answer(), (folder / "out.txt").read_text(), (folder / "err.txt").read_text())

    def run(self, folder: Path, arguments: tuple[str, ...], failpoint: str | None = None) -> Ended:
        return self.wait(folder, self.start(folder, arguments, failpoint))

    def _answer(self) -> int:
        return int(self._process.stdout.readline())


def serve() -> None:
    """Import, then fork for each line of standard input; answer with the process id, and with how it ended."""
    from pipeline.context import quiet_imports

    with quiet_imports():
        pass
    from pipeline.cli.main import main

    gc.freeze()  # what was imported is not looked at, and so not copied, by any fork
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
            _run(main)
        _answer(pid)
        _answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _run(main: Callable[[], object]) -> None:
    """Run a command to the end of its process, but for taking down the interpreter, which takes a second."""
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


def _become(job: dict) -> None:
    """Take over what a new process would have been given."""
    os.chdir(job["folder"])
    disk.hook = Failpoint(job["failpoint"]) if job["failpoint"] else None
    sys.argv[:] = ["backbeam", *job["arguments"]]
    for descriptor, name, flags in ((0, os.devnull, os.O_RDONLY), *((n, f, _WRITE) for n, f in _PRINTED)):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


_PRINTED = ((1, "out.txt"), (2, "err.txt"))
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve()
