"""Changes the code in small ways and counts how many of the changes the tests notice.

The changes are drawn by a hash of their text, so the same ones are drawn until their own lines change. Those that make
no difference are listed with the reason in equivalent.toml and left out.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.changes import Change, find_changes
from tests.mutation.sources import SOURCES, find_tests

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
NEEDED_PERCENT = 97
PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
MARKERS = "not slow and not engines and not deploy"
EXTRA_SECONDS = 60  # beyond four times what its tests take: a change that takes longer has been noticed


def main() -> int:
    """Return 0 if enough of the changes are noticed, 1 if not, 2 if that cannot be told."""
    options = _read_options()
    found = [change for file in options.files for change in find_changes(file, (ROOT / file).read_bytes())]
    equivalent = _known_equivalent(options.files)
    stale = equivalent - {change.key for change in found}
    if stale:
        _say("no longer a change of the code; remove from equivalent.toml:", *sorted(stale))
        return 2
    drawn = _draw(found, len(found) if options.all else options.number, options.seed)
    tried = [change for change in drawn if change.key not in equivalent]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.processes) as pool:
        survivors = _find_survivors(pool, _Copies(Path(scratch), options.processes), tried)
    _say(*(f"survived: {_describe(change)}" for change in sorted(survivors)))
    num_caught = len(tried) - len(survivors)
    percent = 100 * num_caught / max(1, len(tried))
    _say(
        f"{len(drawn)} of {len(found)} changes drawn, {len(drawn) - len(tried)} of them make no difference",
        f"caught {num_caught} of {len(tried)} that make a difference ({percent:.1f} %)",
    )
    return int(percent < NEEDED_PERCENT)


def _say(*lines: object) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--files", nargs="+", default=list(SOURCES), help="source files; without it, all of sources.py")
    parser.add_argument("--number", type=int, default=229, help="how many changes to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="try every change of the files")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time (default: %(default)s)")
    return parser.parse_args()


def _known_equivalent(files: Iterable[str]) -> set[tuple[str, ...]]:
    entries = tomllib.loads(EQUIVALENT.read_text())["change"]
    unexplained = [entry for entry in entries if not entry["reason"]]
    if unexplained:
        raise ValueError(f"equivalent.toml gives no reason for {unexplained}")
    keys = ((entry["file"], entry["function"], entry["before"], entry["after"]) for entry in entries)
    return {key for key in keys if key[0] in files}


def _draw(changes: list[Change], number: int, seed: int) -> list[Change]:
    def rank(change: Change) -> bytes:
        return hashlib.sha256(repr((seed, change.key)).encode()).digest()

    return sorted(changes, key=rank)[:number]


class _Copies:
    """Copies of the working tree, one for each process, in which the tests run."""

    def __init__(self, scratch: Path, count: int) -> None:
        self._free = SimpleQueue[Path]()
        for number in range(count):
            tree = scratch / f"copy-{number}" / "tree"
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
            self._free.put(tree)

    def run(self, tests: Iterable[str], change: Change | None = None, seconds: float | None = None) -> bool:
        """Return whether the tests pass with a change, in the time given."""
        tree = self._free.get()
        original = (tree / change.file).read_bytes() if change else b""
        try:
            if change:
                (tree / change.file).write_bytes(change.source)
            return _tests_pass(tree, tests, seconds)
        finally:
            if change:
                (tree / change.file).write_bytes(original)
            self._free.put(tree)


def _tests_pass(tree: Path, tests: Iterable[str], seconds: float | None) -> bool:
    with tempfile.TemporaryDirectory(dir=tree.parent, ignore_cleanup_errors=True) as temporary:
        # without bytecode, which Python would take for that of the next change: it finds it by time and size
        own = {"PYTHONPATH": str(tree), "TMPDIR": temporary, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*PYTEST, "-m", MARKERS, "--basetemp", f"{temporary}/pytest", *tests]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, cwd=tree, env=os.environ | own, start_new_session=True, **quiet)
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left running
            process.wait()


def _find_survivors(pool: ThreadPoolExecutor, copies: _Copies, changes: list[Change]) -> list[Change]:
    """Return the changes that the tests do not notice; exits with 2 if a test fails without any change."""
    tests = {change.file: find_tests(ROOT, change.file) for change in changes}
    files = sorted({test for each in tests.values() for test in each})

    def measure(file: str) -> float:
        started = time.monotonic()
        return time.monotonic() - started if copies.run([file]) else -1.0

    seconds = dict(zip(files, pool.map(measure, files), strict=True))
    failing = [file for file in files if seconds[file] < 0]
    if failing:
        _say(f"fails without any change: {', '.join(failing)}")
        sys.exit(2)

    def survives(change: Change) -> bool:
        limit = EXTRA_SECONDS + 4 * sum(seconds[test] for test in tests[change.file])
        survived = copies.run(tests[change.file], change, limit)
        if survived:
            sys.stderr.write(f"not noticed: {_describe(change)}\n")
        return survived

    return [change for change, survived in zip(changes, pool.map(survives, changes), strict=True) if survived]


def _describe(change: Change) -> str:
    return f"{change.file}:{change.line} in {change.function}: {change.before}  ->  {change.after}"


if __name__ == "__main__":
    sys.exit(main())
