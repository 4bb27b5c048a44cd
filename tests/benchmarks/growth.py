"""What each command adds to a workspace, in bytes: `python -m tests.benchmarks.growth [--source FOLDER]`.

The commands are the real ones, in a new workspace; `backbeam du` counts the same bytes. A night's data are the images
of the source in another order, which is another data set of the same size.
"""

import gzip
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import typer

from pipeline.sources.catalog import EMBEDDED, FILE_NAMES
from pipeline.storage.file_listing import list_sizes
from tests.benchmarks.common import Output, PeerFailed, Row, errors_end, save
from tests.helpers import backbeam, write_files

RUN = "article-manual-seed1"
PARTS = ("datasets", "runs", "tables", "pages", "registry", "others")
Files: TypeAlias = dict[str, bytes]  # of IDX, decompressed, by name
Command: TypeAlias = tuple[str, tuple[object, ...]]  # what it adds, and the words but for the workspace


def read_source(folder: Path) -> Files:
    return {name: gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in FILE_NAMES}


def turn(name: str, data: bytes, places: int) -> bytes:
    """Return an IDX file whose examples begin so many places later."""
    header = 16 if "images" in name else 8
    num_examples = int.from_bytes(data[4:8], "big")
    values = np.frombuffer(data[header:], np.uint8).reshape(num_examples, -1)
    return data[:header] + np.roll(values, -places, axis=0).tobytes()


def write_night(folder: Path, files: Files, number: int) -> Path:
    return write_files(folder, {name: turn(name, data, number) for name, data in files.items()}, compress=True)


def list_commands(folder: Path, files: Files) -> list[Command]:
    first, second, third = (write_night(folder / f"night-{number}", files, number) for number in range(3))
    incoming = folder / "incoming"
    for night in (first, second, third):
        shutil.copytree(night, incoming / night.name)
    return [
        ("data set, validated", ("preprocess", "--dataset", first)),
        ("run", ("train",)),
        ("evaluation", ("evaluate",)),
        ("report", ("report",)),
        ("promotion", ("promote", RUN, "--why", "the first")),
        ("night with a new data set", ("retrain", "--dataset", second)),
        ("another night", ("retrain", "--dataset", third)),
        ("night without new data", ("retrain", "--dataset", third)),
        ("night with the data of three", ("retrain", "--dataset", f"{incoming}/*")),
    ]


def measure(commands: list[Command], workspace: Path) -> list[Row]:
    rows = []
    before = Counter[str]()
    for what, words in commands:
        done = backbeam(*words, "--workspace", workspace)
        if done.code:
            raise PeerFailed(f"backbeam {words[0]} ended with code {done.code}: {done.err}")
        after = sum_parts(workspace)
        rows.append({"what": what} | {part: after[part] - before[part] for part in PARTS})
        before = after
    return rows


def sum_parts(workspace: Path) -> Counter[str]:
    """Return the bytes of each part of a workspace."""
    parts = Counter[str]()
    for path, num_bytes in list_sizes(workspace).items():
        name = path.partition("/")[0]
        if name == "reports":
            name = "pages" if path.startswith("reports/pages/") else "tables"
        parts[name if name in PARTS else "others"] += num_bytes
    return parts


def main(
    source: Annotated[Path, typer.Option(help="A folder with four gzipped IDX files.")] = EMBEDDED / "mnist-5k",
    output: Output = Path("build/benchmarks/growth.parquet"),
) -> None:
    """Print the bytes and the files that each command adds to a workspace."""
    with errors_end("growth"), tempfile.TemporaryDirectory(prefix="backbeam-benchmark-") as folder:
        rows = measure(list_commands(Path(folder), read_source(source)), Path(folder) / "ws")
        typer.echo("".join(["what adds bytes".ljust(30), *(f"{name:>14}" for name in (*PARTS, "together"))]))
        for row in rows:
            numbers = [row[part] for part in PARTS]
            typer.echo("".join([row["what"].ljust(30), *(f"{number:>14,}" for number in (*numbers, sum(numbers)))]))
        typer.echo(save(output, rows))


if __name__ == "__main__":
    typer.run(main)
