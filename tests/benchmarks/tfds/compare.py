"""TensorFlow Datasets as a peer: it builds MNIST from the same four files, in an environment of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import typer

from pipeline.storage.files import remove_tree, write_atomically
from tests.benchmarks.memory import Measured, watch

ENVIRONMENT = Path(".venv-tfds")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
KINDS = {"plain": "TensorFlow Datasets", "beam": "TensorFlow Datasets, Beam"}
NUM_BUILDS = 2


class Unavailable(Exception):
    """The peer cannot be measured here; the message says why."""


def measure(folder: Path) -> Iterator[tuple[str, int, Measured]]:
    """Build MNIST twice each way, in turn, below a folder: yield the way, the build's number and what it took."""
    source, python = _source(), _environment()
    for build, kind in product(range(NUM_BUILDS), KINDS):
        typer.echo(f"{KINDS[kind]}, build {build + 1}", err=True)
        with tempfile.TemporaryDirectory(prefix="tfds-", dir=folder) as place:
            result = Path(place) / "seconds.txt"
            command = [python, Path(__file__).with_name("build.py"), kind, source, Path(place) / "data", result]
            measured = watch(partial(_run, [str(part) for part in command], "building"))
            yield KINDS[kind], build, measured._replace(seconds=float(result.read_text()))


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
