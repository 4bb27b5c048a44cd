"""Runs the tests of one change after another in forks of this process, in copies of the working tree.

What the tests import from elsewhere is imported once, before the first fork; TensorFlow among it, of which no operation
may have run by then, or a fork of it would hang. What is tested is not: each fork imports it from its copy, with the
change. Processes that the tests start find the copy too, by PYTHONPATH.
"""

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mutation.changes import Change

PRELOADED = (
    *("tensorflow", "apache_beam", "croniter", "google_crc32c", "hypothesis.extra.numpy", "numpy.testing", "pandas"),
    *("PIL.Image", "pyarrow.dataset", "pyarrow.parquet", "pydantic", "rich.console", "safetensors.numpy"),
    *("scipy.special", "scipy.stats", "sklearn.calibration", "sklearn.metrics", "typer"),
)
MARKERS = "not slow and not engines and not deploy"
EXTRA_SECONDS = 30  # beyond what its tests take: a change that takes longer has been noticed


class Trial(NamedTuple):
    """One run of tests.

    Attributes:
        change: the edit, or None to run the tests on the code as it is.
        files: the test files.
        tests: the ids to run of them, in that order; empty for all.
        seconds: after which it is stopped.
    """

    change: Change | None
    files: tuple[str, ...]
    tests: tuple[str, ...] = ()
    seconds: float = 1800


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes:
        trial: which one.
        passed: whether no test failed in the time given.
        seconds: how long each test took, by its id.
        log: what pytest printed.
    """

    trial: Trial
    passed: bool
    seconds: dict[str, float]
    log: str


class _Running(NamedTuple):
    """A trial on its way: its process, its copy of the tree, the file that it changes there, and when it is stopped."""

    pid: int
    trial: Trial
    copy: Path
    original: bytes
    deadline: float


class Copies:
    """Copies of the working tree, one for each trial at a time."""

    def __init__(self, root: Path, scratch: Path, count: int) -> None:
        self._root = root
        self._free = [scratch / f"copy-{number}" for number in range(count)]
        self.tree = self._free[0] / "tree"
        for each in self._free:
            shutil.copytree(root, each / "tree", ignore=shutil.ignore_patterns(".*", "__pycache__"))
        self._clock = 10**9

    def run(self, trials: list[Trial]) -> Iterator[Outcome]:
        """Yield the outcome of each trial, in the order in which they end."""
        waiting = list(reversed(trials))
        running: dict[int, _Running] = {}
        try:
            while waiting or running:
                while waiting and self._free:
                    started = self._start(waiting.pop(), self._free.pop())
                    running[started.pid] = started
                for pid, code in _ended({pid: each.deadline for pid, each in running.items()}):
                    started = running.pop(pid)
                    self._restore(started)
                    yield _outcome(started.trial, started.copy, code)
                    self._free.append(started.copy)
                time.sleep(0.02)
        finally:
            for pid in running:
                _kill(pid)
                os.waitpid(pid, 0)  # so that it writes nothing while its copy is deleted

    def _start(self, trial: Trial, copy: Path) -> _Running:
        original = b""
        if trial.change:
            file = copy / "tree" / trial.change.file
            original = file.read_bytes()
            self._write(file, trial.change.source)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(copy, self._root)
            _run_tests(trial, copy)
        return _Running(pid, trial, copy, original, time.monotonic() + trial.seconds)

    def _restore(self, ended: _Running) -> None:
        if ended.trial.change:
            self._write(ended.copy / "tree" / ended.trial.change.file, ended.original)
        shutil.rmtree(ended.copy / "tmp", ignore_errors=True)

    def _write(self, path: Path, source: bytes) -> None:
        """Write a file with a time that no other content of it had: Python finds stale bytecode by time and size."""
        self._clock += 1
        path.write_bytes(source)
        os.utime(path, (self._clock, self._clock))


def preload() -> None:
    """Import what the tests need from elsewhere, for all forks."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # what was imported is not looked at, and so not copied, by any fork


def _outcome(trial: Trial, copy: Path, code: int) -> Outcome:
    seconds = json.loads((copy / "seconds.json").read_text()) if code == 0 else {}
    return Outcome(trial, code == 0, seconds, (copy / "log.txt").read_text(errors="replace"))


def _ended(deadlines: dict[int, float]) -> Iterator[tuple[int, int]]:
    """Yield the process id and the exit code of those that ended, and of those whose time is over."""
    for pid, deadline in deadlines.items():
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _kill(pid)  # what it left running
            yield pid, os.waitstatus_to_exitcode(status)
        elif time.monotonic() > deadline:
            _kill(pid)
            yield pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill(pid: int) -> None:
    """Kill a trial and all that it started, which is its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _become(copy: Path, root: Path) -> None:
    """Go to a copy of the tree, with output to a file; leave no way to the original."""
    os.setpgid(0, 0)
    os.chdir(copy / "tree")
    (copy / "tmp").mkdir(exist_ok=True)
    os.environ |= {"PYTHONPATH": str(copy / "tree"), "TMPDIR": str(copy / "tmp")}
    tempfile.tempdir = None  # which the parent has already set to its own
    sys.path[:] = [str(copy / "tree"), *(each for each in sys.path if Path(each).resolve() != root)]
    for name in [name for name in sys.modules if name.split(".")[0] in {"tests", "model", "pipeline"}]:
        del sys.modules[name]
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, copy / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(1, 2)


def _run_tests(trial: Trial, copy: Path) -> None:
    """Run the tests and end the process, without taking down the interpreter, which takes a second."""
    code = 1
    try:
        chosen = _Chosen(trial.tests)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", MARKERS, "--basetemp", str(copy / "tmp/pytest")]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins that were imported before the fork
        code = pytest.main([*options, *trial.files], plugins=[chosen])
        (copy / "seconds.json").write_text(json.dumps(chosen.seconds))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    os._exit(code)


class _Chosen:
    """Keeps the tests that are asked for, in the order in which they are asked for, and notes how long each takes."""

    def __init__(self, tests: tuple[str, ...]) -> None:
        self.seconds: dict[str, float] = {}
        self._rank = {test: number for number, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._rank:
            chosen = [item for item in items if item.nodeid in self._rank]
            items[:] = sorted(chosen, key=lambda item: self._rank[item.nodeid])

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
