"""How long the main job takes from a cold shell, beside `import tensorflow` alone. See README.md beside this.

    python -m tests.benchmarks.main_job

Exit codes: 0 done, however fast; 1 a command failed; 2 usage.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Annotated

import typer

from tests.benchmarks.common import Output, PeerFailed, Row, describe_machine, errors_end, save

PEER = "import tensorflow"
NEW = "backbeam run, in a new workspace"
SAME = "the same again, all done"
HELP = "backbeam --help"


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Times, in turn.")] = 5,
    output: Output = Path("build/benchmarks/main_job.parquet"),
) -> None:
    """Time the whole job, the same job when all is done, --help, and the import of TensorFlow."""
    with errors_end("main_job"):
        rows = [row for repeat in range(repeats) for row in measure(repeat)]
        heading = f"{find_mnist() or 'the embedded digits'}, {describe_machine()}"
        typer.echo("\n".join([heading, *table(rows), "", *parts(rows), save(output, rows)]))


def find_mnist() -> str | None:
    """Return the folder with the four files of MNIST, if BACKBEAM_TEST_DATA names it."""
    named = os.environ.get("BACKBEAM_TEST_DATA")
    return str(Path(named).absolute() / "mnist") if named else None


def measure(repeat: int) -> Iterator[Row]:
    """Run each command once, in a process of its own."""
    mnist = find_mnist()
    source = ("--dataset", "mnist", "--data-dir", mnist) if mnist else ()
    backbeam = str(Path(sys.executable).with_name("backbeam"))
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-") as folder:
        run = (backbeam, "run", "--quiet", "--json", "--workspace", f"{folder}/workspace", *source)
        peer = (sys.executable, "-c", "import tensorflow")
        commands = {PEER: peer, NEW: run, SAME: run, HELP: (backbeam, "--help")}
        for what, command in commands.items():
            yield {"what": what, "repeat": repeat, "machine": describe_machine(), **time_command(command)}


def time_command(command: tuple[str, ...]) -> Row:
    """Return the seconds of a command by the clock and of the processor, and those of each stage if it has some."""
    # Python's bytecode is kept, as it is wherever backbeam is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = getrusage(RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - started
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise PeerFailed(f"{' '.join(command)} ended with code {done.returncode}: {done.stderr.strip()}")
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stages = json.loads(done.stdout)["seconds"] if "--json" in command else {}
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "stages": json.dumps(stages)}


def table(rows: list[Row]) -> list[str]:
    """Lay the medians out as text, with ratios to the peer."""
    lines = [f"{'what':<34}{'seconds':>9}{'least':>8}{'cpu s':>8}{'ratio':>7}"]
    reference = _median(rows, PEER, "seconds")
    for what in dict.fromkeys(row["what"] for row in rows):
        seconds = _median(rows, what, "seconds")
        least = min(row["seconds"] for row in rows if row["what"] == what)
        cpu = _median(rows, what, "cpu_seconds")
        lines.append(f"{what:<34}{seconds:>9.2f}{least:>8.2f}{cpu:>8.2f}{seconds / reference:>7.2f}")
    return lines


def parts(rows: list[Row]) -> list[str]:
    """Say how long the stages of the job took in its fastest run; what is left over is the start and the end of it."""
    fastest = min((row for row in rows if row["what"] == NEW), key=lambda row: row["seconds"])
    stages = json.loads(fastest["stages"])
    stages["the rest"] = fastest["seconds"] - sum(stages.values())
    listed = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in stages.items())
    return [f"the fastest run: {listed}"]


def _median(rows: list[Row], what: str, column: str) -> float:
    return float(median(row[column] for row in rows if row["what"] == what))


if __name__ == "__main__":
    typer.run(main)
