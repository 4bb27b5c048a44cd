"""Changes the code in small ways and counts how many of the changes the tests notice.

The changes are drawn by a hash of their text, so the same ones are drawn until their own lines change. Those that make
no difference are listed with the reason in equivalent.toml and left out.
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from tests.mutation.changes import Change, find_changes
from tests.mutation.sources import SOURCES, first_tests, last_tests
from tests.mutation.trials import EXTRA_SECONDS, Copies, Outcome, Trial, preload

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
NEEDED_PERCENT = 97

FindTests: TypeAlias = Callable[[Path, str], tuple[str, ...]]


def main() -> int:
    """Return 0 if enough of the changes are noticed, 1 if not, 2 if that cannot be told."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what runs is stopped and the copies are deleted
    started = time.monotonic()
    found = [change for file in options.files for change in find_changes(file, (ROOT / file).read_bytes())]
    equivalent = _known_equivalent(options.files)
    stale = equivalent - {change.key for change in found}
    if stale:
        _say("no longer a change of the code; remove from equivalent.toml:", *sorted(stale))
        return 2
    drawn = _draw(found, len(found) if options.all else options.number, options.seed)
    tried = [change for change in drawn if change.key not in equivalent]
    preload()
    with tempfile.TemporaryDirectory() as scratch:
        copies = Copies(ROOT, Path(scratch), options.processes)
        survivors = _survivors(copies, tried, first_tests)
        survivors = _survivors(copies, survivors, last_tests)
    _say(*(f"survived: {_describe(change)}" for change in sorted(survivors)))
    num_caught = len(tried) - len(survivors)
    percent = 100 * num_caught / max(1, len(tried))
    _say(
        f"{len(drawn)} of {len(found)} changes drawn, {len(drawn) - len(tried)} of them make no difference",
        f"caught {num_caught} of {len(tried)} that make a difference ({percent:.1f} %)",
        f"in {time.monotonic() - started:.0f} s with {options.processes} processes",
    )
    return int(percent < NEEDED_PERCENT)


def _say(*lines: object) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--files", nargs="+", default=list(SOURCES), help="source files; without it, all of sources.py")
    parser.add_argument("--number", type=int, default=229, help="how many changes to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="try every change of the files")
    parser.add_argument("--processes", type=int, default=_num_cores(), help="at a time (default: %(default)s)")
    return parser.parse_args()


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # on Linux: those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _survivors(copies: Copies, changes: list[Change], find_tests: FindTests) -> list[Change]:
    """Return the changes that the tests do not notice."""
    tests = {change.file: find_tests(copies.tree, change.file) for change in changes}
    seconds = _measure(copies, {each for file in tests for each in tests[file]})
    trials = [_trial(change, tests[change.file], seconds) for change in changes]
    untested = [trial.change for trial in trials if not trial.tests]
    outcomes = _followed(copies, [trial for trial in trials if trial.tests])
    return untested + [outcome.trial.change for outcome in outcomes if outcome.passed]


def _measure(copies: Copies, files: set[str]) -> dict[str, float]:
    """Run tests on the code as it is and return how long each takes, by its id; exits with 2 if one fails."""
    seconds: dict[str, float] = {}
    for outcome in copies.run([Trial(None, (file,)) for file in sorted(files)]):
        if not outcome.passed:
            _say(outcome.log, f"{outcome.trial.files[0]} fails without any change")
            sys.exit(2)
        seconds |= outcome.seconds
    return seconds


def _trial(change: Change, files: tuple[str, ...], seconds: dict[str, float]) -> Trial:
    """Return the trial of a change: the quickest tests come first, as the first to fail ends it."""
    tests = sorted((test for test in seconds if test.partition("::")[0] in files), key=lambda test: seconds[test])
    return Trial(change, files, tuple(tests), EXTRA_SECONDS + 4 * sum(seconds[test] for test in tests))


def _followed(copies: Copies, trials: list[Trial]) -> Iterable[Outcome]:
    """Yield outcomes, and say on standard error how far it has come and what no test of these noticed."""
    for number, outcome in enumerate(copies.run(trials), start=1):
        if outcome.passed:
            sys.stderr.write(f"{number} of {len(trials)}, not noticed: {_describe(outcome.trial.change)}\n")
        elif number % 10 == 0:
            sys.stderr.write(f"{number} of {len(trials)}\n")
        yield outcome


def _describe(change: Change) -> str:
    return f"{change.file}:{change.line} in {change.function}: {change.before}  ->  {change.after}"


if __name__ == "__main__":
    sys.exit(main())
