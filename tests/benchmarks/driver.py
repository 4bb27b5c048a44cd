"""The memory of the process that drives `preprocess --workers 2`, by the number of blocks. See README.md beside this.

    python -m tests.benchmarks.driver

Exit codes: 0 done, however large; those of backbeam if something failed; 2 usage.
"""

import tempfile
from pathlib import Path
from typing import Annotated
from unittest import mock

import numpy as np
import typer

from pipeline.sources.catalog import FILE_NAMES
from pipeline.sources.idx_source import MAX_BLOCK_BYTES
from tests.benchmarks import ways
from tests.benchmarks.common import Folder, Output, Row, describe_machine, errors_end, in_child, save
from tests.benchmarks.memory import Measured, check_measurable
from tests.helpers import images_bytes, labels_bytes, write_files

HEIGHT, WIDTH = 8, 8
BLOCK_EXAMPLES = 250
NUM_SHARDS = 64  # as many as there are groups of shards
MNIST_PIXELS = 784


def main(
    blocks: Annotated[str, typer.Option(help="Numbers of blocks, separated by commas.")] = "100,1000,4000",
    folder: Folder = None,
    output: Output = Path("build/benchmarks/driver.parquet"),
) -> None:
    """Preprocess sources of small blocks: the pixels are few, and what the driver holds of each block shows."""
    with errors_end("driver"):
        check_measurable()
        rows = [measure(int(number), folder) for number in blocks.split(",")]
        typer.echo("\n".join([*map(describe, rows), describe_growth(rows[0], rows[-1]), save(output, rows)]))


def measure(num_blocks: int, folder: Path | None) -> Row:
    """Write a source of so many blocks and preprocess it in a process of its own; remove both."""
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary:
        place = Path(temporary)
        write_images(place / "source", num_blocks * BLOCK_EXAMPLES)
        measured = in_child(preprocess, place)
    return {"num_blocks": num_blocks, "machine": describe_machine()} | measured._asdict()


def write_images(folder: Path, num_train: int) -> None:
    """Write random images as four IDX files; the test split is one block."""
    random = np.random.default_rng(1)
    parts = []
    for size in (num_train, BLOCK_EXAMPLES):
        parts.append(images_bytes(random.integers(0, 256, (size, HEIGHT, WIDTH), np.uint8)))
        parts.append(labels_bytes(np.arange(size) % ways.NUM_CLASSES))
    write_files(folder, dict(zip(FILE_NAMES, parts, strict=True)))


def preprocess(place: Path) -> Measured:
    """Preprocess with small blocks, which the driver alone decides."""
    block_bytes = BLOCK_EXAMPLES * HEIGHT * WIDTH
    with (
        mock.patch("pipeline.sources.idx_source.BLOCK_BYTES", block_bytes),
        mock.patch("pipeline.sources.idx_source.MAX_BLOCK_BYTES", block_bytes),
        mock.patch.object(ways, "default_num_shards", return_value=NUM_SHARDS),
    ):
        return ways.preprocess_source(place, "two", ways.TWO_WORKERS)


def describe(row: Row) -> str:
    return (
        f"{row['num_blocks']:>7,} blocks {row['seconds']:>7.1f} s {row['driver_bytes'] / 2**20:>6.1f} MiB in the driver"
    )


def describe_growth(few: Row, many: Row) -> str:
    """Say how the driver's memory grows, also at the blocks of a large source of MNIST's size."""
    num_bytes = (many["driver_bytes"] - few["driver_bytes"]) / max(1, many["num_blocks"] - few["num_blocks"])
    per_million = num_bytes * 1e6 * MNIST_PIXELS / MAX_BLOCK_BYTES
    at = f"a million images of {MNIST_PIXELS} pixels in blocks of {MAX_BLOCK_BYTES >> 20} MiB"
    return f"{num_bytes:,.0f} bytes a block; {per_million:,.0f} bytes for {at}"


if __name__ == "__main__":
    typer.run(main)
