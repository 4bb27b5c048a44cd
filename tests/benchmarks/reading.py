"""How many examples a second one core reads into batches, without training. See README.md beside this.

    python -m tests.benchmarks.reading

Exit codes: 0 done, however fast; those of backbeam if something failed; 2 usage.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from model.reading import SplitReader
from pipeline.context import quiet_imports
from pipeline.preprocess.dataset import check_dataset, load_dataset
from tests.benchmarks.common import Folder, Output, Row, describe_machine, errors_end, in_child, save
from tests.benchmarks.streaming import BATCH_SIZE, make_dataset

TARGET = 2_000_000  # examples a second
RESIDENT_MIB, STREAMING_MIB = 1024, 64
SPARE_BYTES = 2**28  # for chunks and the bytes of shards
EPOCHS = 6


def main(
    num_examples: Annotated[int, typer.Option(min=BATCH_SIZE, help="Of the train split.")] = 600_000,
    folder: Folder = None,
    output: Output = Path("build/benchmarks/reading.parquet"),
) -> None:
    """Read a data set that stays in memory, and the same with a window that it does not fit."""
    with errors_end("reading"), tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary:
        dataset = make_dataset(Path(temporary), num_examples)
        rows = [*in_child(read, dataset, RESIDENT_MIB), *in_child(read, dataset, STREAMING_MIB)]
        typer.echo("\n".join(["", f"{describe_machine()}, one of them used", *table(rows), save(output, rows)]))


def read(dataset: Path, window_mib: int) -> list[Row]:
    """Check the shards, as a command does once, then make EPOCHS epochs of batches, all on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with quiet_imports():
        from model.batches import BatchPlan, make_chunks
        from model.devices import initialise_devices
        from pipeline.train.curve_points import choose_steps_per_point
        from pipeline.train.split_reader import make_split_reader

        initialise_devices()
    reader = make_split_reader(dataset, load_dataset(dataset).manifest, "train")
    warm_up(reader)
    moments, steps = [_now()], 0
    check_dataset(dataset)
    moments.append(_now())
    epoch_steps = reader.num_examples // BATCH_SIZE
    num_steps = EPOCHS * epoch_steps
    spacing = min(epoch_steps, choose_steps_per_point(num_steps))
    plan = BatchPlan(1, BATCH_SIZE, num_steps, spacing, window_mib * 2**20)
    for _, labels in make_chunks(reader, plan):
        steps += len(labels)
        if steps >= epoch_steps * (len(moments) - 1):
            moments.append(_now())
    fits = reader.num_examples * reader.num_pixels <= plan.window_bytes
    parts = (
        ("SHA-256 of every shard", 0, 1),
        ("the first epoch", 1, 2),
        ("later epochs, in memory" if fits else "later epochs, read again", 2, EPOCHS + 1),
    )
    return [
        {
            "what": f"{what}, window of {window_mib} MiB",
            "num_examples": (last - first) * reader.num_examples,
            "seconds": moments[last][0] - moments[first][0],
            "cpu_seconds": moments[last][1] - moments[first][1],
            "machine": describe_machine(),
        }
        for what, first, last in parts
    ]


def warm_up(reader: SplitReader) -> None:
    """Have TensorFlow make its first chunks, and touch the memory that reading will take.

    The host of a virtual machine provides memory when it is first touched by any process, which takes longer than
    reading an example into it, and is no part of reading.
    """
    from model.batches import BatchPlan, make_chunks

    np.ones(reader.num_examples * reader.num_pixels + SPARE_BYTES, np.uint8)
    first = SplitReader(reader.shard_sizes[:1], reader.num_pixels, reader.read_shard)
    list(make_chunks(first, BatchPlan(1, 1, 2, 1)))


def _now() -> tuple[float, float]:
    """Return the seconds of the clock, and of the processor: all threads of the process share one core."""
    return time.perf_counter(), time.process_time()


def table(rows: list[Row]) -> list[str]:
    lines = [f"{'what':<48}{'examples':>11}{'seconds':>9}{'a second':>12}{'cpu s':>8}{'a cpu second':>14}"]
    for row in rows:
        size, seconds, cpu = row["num_examples"], row["seconds"], row["cpu_seconds"]
        verdict = "  met" if size / cpu >= TARGET else ""
        clock, processor = f"{seconds:>9.2f}{size / seconds:>12,.0f}", f"{cpu:>8.2f}{size / cpu:>14,.0f}"
        lines.append(f"{row['what']:<48}{size:>11,}{clock}{processor}{verdict}")
    return [*lines, f"met: at least {TARGET:,} examples a second of one core's time"]


if __name__ == "__main__":
    typer.run(main)
