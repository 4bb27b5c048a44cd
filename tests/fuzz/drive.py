"""Atheris, which looks for inputs that reach new code, over one target in a process of its own.

It starts from the kept samples, always with the same seed, in memory bounded to 512 MiB beside theirs.
"""

import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.bounded import SEEDS, cap_memory  # nothing that imports what is instrumented below

MOST_BYTES = 16_384
TIMEOUT_SECONDS = 25  # for one input


class Fuzzed(NamedTuple):
    """What came of it: the exit code of the process, how many inputs it tried, and what it said."""

    code: int
    num_inputs: int
    said: str


def fuzz(target: str, runs: int) -> Fuzzed:
    with tempfile.TemporaryDirectory(prefix="backbeam-fuzz-") as found:
        inputs = Path(found) / "inputs"
        temporary = Path(found) / "temporary"  # the fuzzer ends its process at once, and nothing is deleted then
        inputs.mkdir()
        temporary.mkdir()
        command = [sys.executable, "-m", "tests.fuzz.drive", target, str(runs), str(inputs)]
        variables = os.environ | {"TMPDIR": str(temporary)}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=variables)
    counts = [int(number) for number in re.findall(r"^#(\d+)\s", done.stderr, re.MULTILINE)]
    finished = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    return Fuzzed(done.returncode, int(finished[1]) if finished else max(counts, default=0), done.stdout + done.stderr)


def _work(target: str, runs: int, into: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["pipeline", "model", "json", "gzip", "tomllib"]):
        from tests.fuzz.targets import TARGETS
    for path in (SEEDS / target).iterdir():
        with suppress(Exception):  # a sample that finds something is tried again by the fuzzer
            TARGETS[target](path.read_bytes())
    cap_memory()
    options = (f"-runs={runs}", "-seed=1", f"-max_len={MOST_BYTES}", f"-timeout={TIMEOUT_SECONDS}", "-rss_limit_mb=0")
    atheris.Setup(
        [sys.argv[0], *options, f"-artifact_prefix={SEEDS / target}/", into, str(SEEDS / target)], TARGETS[target]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    _work(sys.argv[1], int(sys.argv[2]), sys.argv[3])
