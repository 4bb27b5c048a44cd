"""What the benchmarks share: options, errors, processes of their own, Parquet files, the machine's name."""

import multiprocessing
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import pyarrow as pa
import typer

from model.errors import BackbeamError
from pipeline.storage.tables import write_table

Row: TypeAlias = dict[str, Any]
Folder = Annotated[Path | None, typer.Option(help="Where there is room; by default for temporary files.")]
Output = Annotated[Path, typer.Option(help="The Parquet file.")]


class PeerFailed(Exception):
    """A peer computes something else, raised an error, or its process ended."""


@contextmanager
def errors_end(name: str) -> Iterator[None]:
    """End the program with one line for an error, with the exit code that backbeam has for it, or 1."""
    try:
        yield
    except (BackbeamError, PeerFailed, OSError) as problem:
        typer.echo(f"{name}: {problem}", err=True)
        raise typer.Exit(getattr(problem, "exit_code", 1)) from None


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, so that its peak of memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def save(output: Path, rows: list[Row]) -> str:
    """Write every measurement to a Parquet file, a column for each name; return a line that says so."""
    write_table(output, pa.Table.from_pylist(rows))
    return f"\neach row in {output}"


def describe_machine() -> str:
    """The processor, as the system calls it, and how many cores this process may use."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{named[0] if named else platform.machine()}, {len(os.sched_getaffinity(0))} cores"
