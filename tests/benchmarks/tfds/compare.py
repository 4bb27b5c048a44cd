"""TensorFlow Datasets as a peer: it builds MNIST from the same four files, in an environment of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import typer

from pipeline.storage.files import remove_tree, write_atomically
from tests.benchmarks.memory import Measured, watch

ENVIRONMENT = Path(".venv-tfds")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
KINDS = {"plain": "TensorFlow Datasets", "beam": "TensorFlow Datasets, Beam"}
NUM_BUILDS = 2


class Built(NamedTuple):
    """A build of one way: its number, what it took, and the SHA-256 of every record of every file."""

    way: str
    build: int
    measured: Measured
    files: dict[str, list[str]]


class Unavailable(Exception):
    """The peer cannot be measured here; the message says why."""


def measure(folder: Path) -> Iterator[Built]:
    """Build MNIST twice each way, in turn, below a folder; raises Unavailable."""
    source, python = _source(), _environment()
    for build, kind in product(range(NUM_BUILDS), KINDS):
        typer.echo(f"{KINDS[kind]}, build {build + 1}", err=True)
        with tempfile.TemporaryDirectory(prefix="tfds-", dir=folder) as place:
            result = Path(place) / "result.json"
            command = [python, Path(__file__).with_name("build.py"), kind, source, Path(place) / "data", result]
            measured = watch(partial(_run, [str(part) for part in command], "building"))
            found = json.loads(result.read_bytes())
        yield Built(KINDS[kind], build, measured._replace(seconds=found["seconds"]), found["files"])


def sameness(built: list[Built]) -> list[str]:
    """Say of each way how many records of its second build stand in its first build, in the same file."""
    lines = []
    for way in dict.fromkeys(each.way for each in built):
        first, second = (each.files for each in built if each.way == way)
        lines.append(f"{way}: {num_equal(first, second):,} of {sum(map(len, first.values())):,} records are the same")
    return lines


def num_equal(first: dict[str, list[str]], second: dict[str, list[str]]) -> int:
    """Count the records that the same file of two builds has in common, wherever they stand in it."""
    return sum((Counter(first[name]) & Counter(second.get(name, []))).total() for name in first)


def _source() -> Path:
    named = os.environ.get("BACKBEAM_TEST_DATA")
    if not named:
        raise Unavailable("it builds canonical MNIST only, and BACKBEAM_TEST_DATA names no folder that has it")
    return Path(named).absolute() / "mnist"


def _environment() -> Path:
    """Make the environment, unless it is there, and return its Python."""
    done = ENVIRONMENT / "installed"
    if not done.exists() or done.read_bytes() != REQUIREMENTS.read_bytes():
        typer.echo(f"making {ENVIRONMENT} (about 3 GB)", err=True)
        remove_tree(ENVIRONMENT)
        _run([sys.executable, "-m", "venv", str(ENVIRONMENT)], "making its environment")
        pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement"]
        _run([*pip, str(REQUIREMENTS)], "installing it")
        write_atomically(done, REQUIREMENTS.read_bytes())
    return ENVIRONMENT / "bin" / "python"


def _run(command: list[str], what: str) -> Any:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise Unavailable(f"{what} failed: {last}")
