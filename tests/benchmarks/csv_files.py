"""How long a CSV file of digits takes to be scanned and read as blocks, beside pandas.

    python -m tests.benchmarks.csv_files

Exit codes: 0 done, however fast; 2 usage.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from pyarrow import csv

from pipeline.sources.blocks import ExampleFormat
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.csv_files import CsvSource
from pipeline.sources.csv_source import scan
from tests.benchmarks.cases import read_digits


def main(
    num_examples: Annotated[int, typer.Option(min=10, help="Rows of the file.")] = 60_000,
    repeats: Annotated[int, typer.Option(min=1, help="Times, in turn.")] = 3,
) -> None:
    """Compare the seconds of CPU."""
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-") as folder:
        place = Path(folder) / "train.csv"
        write_digits(place, num_examples)
        ways = {"backbeam, scan and blocks": read_blocks, "pandas.read_csv": pd.read_csv}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                seconds[name].append(measure(way, place))
    for name, taken in seconds.items():
        typer.echo(f"{name:<28}{median(taken):>8.2f} s of CPU for {num_examples:,} rows of 784 pixels")


def write_digits(place: Path, num_examples: int) -> None:
    """Write digits, again and again, as Kaggle's competition has them."""
    _, images, labels = read_digits()
    chosen = np.arange(num_examples) % len(labels)
    values = np.concatenate([labels[chosen][:, None], images.reshape(len(labels), -1)[chosen]], axis=1)
    names = ["label", *(f"pixel{number}" for number in range(784))]
    table = pa.table(dict(zip(names, values.T, strict=True)))
    csv.write_csv(table, place, csv.WriteOptions(quoting_style="none"))


def read_blocks(place: Path) -> None:
    """Scan a file and read its blocks, as preprocessing does."""
    scans = scan(CsvSource("digits", {"train": (place,)}, PictureOptions()), None)
    target = ExampleFormat(28, 28, len(scans.class_names))
    for each in scans.splits["train"].ranges:
        for _ in each.read(target):
            pass


def measure(way: Callable[[Path], object], place: Path) -> float:
    """Return the seconds of CPU of one call."""
    before = getrusage(RUSAGE_SELF)
    way(place)
    after = getrusage(RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    typer.run(main)
