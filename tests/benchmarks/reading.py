"""How many examples a second one core reads into batches, without training. See README.md beside this.

    python -m tests.benchmarks.reading

Exit codes: 0 done, however fast; those of backbeam if something failed; 2 usage.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import typer

from model.errors import BackbeamError
from pipeline.context import quiet_imports
from pipeline.preprocess.manifest import check_dataset
from pipeline.storage.tables import write_table
from tests.benchmarks.steps import describe_machine
from tests.benchmarks.streaming import BATCH_SIZE, in_child, make_dataset

TARGET = 2_000_000  # examples a second
RESIDENT_MIB, STREAMING_MIB = 1024, 64
EPOCHS = 6

# One row a way of reading; seconds by the clock, and of the processor: all threads of the process share one core.
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("what", pa.string()),
            ("num_examples", pa.int64()),
            ("seconds", pa.float64()),
            ("cpu_seconds", pa.float64()),
            ("machine", pa.string()),
        )
    ]
)


class Clock(NamedTuple):
    """A moment, or the time between two.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of the processor, all threads of this process together.
    """

    seconds: float
    cpu_seconds: float

    @classmethod
    def now(cls) -> "Clock":
        """Return this moment."""
        return cls(time.perf_counter(), time.process_time())

    def until(self, later: "Clock") -> "Clock":
        """Return the time between."""
        return Clock(later.seconds - self.seconds, later.cpu_seconds - self.cpu_seconds)


def main(
    num_examples: Annotated[int, typer.Option(min=BATCH_SIZE, help="Of the train split.")] = 600_000,
    folder: Annotated[Path | None, typer.Option(help="Where there is room; by default for temporary files.")] = None,
    output: Annotated[Path, typer.Option(help="The Parquet file.")] = Path("build/benchmarks/reading.parquet"),
) -> None:
    """Read a data set that stays in memory, and the same with a window that it does not fit."""
    try:
        with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary:
            dataset = in_child(make_dataset, Path(temporary), num_examples)
            rows = [*in_child(read, dataset, RESIDENT_MIB), *in_child(read, dataset, STREAMING_MIB)]
        write_table(output, pa.Table.from_pylist(rows, SCHEMA))
    except (BackbeamError, OSError) as problem:
        typer.echo(f"reading: {problem}", err=True)
        raise typer.Exit(getattr(problem, "exit_code", 1)) from None
    typer.echo("\n".join(["", f"{describe_machine()}, one of them used", *table(rows), "", f"each row in {output}"]))


def read(dataset: Path, window_mib: int) -> list[dict[str, Any]]:
    """Check the shards, as a command does once, then make EPOCHS epochs of batches, all on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with quiet_imports():
        from model.batches import BatchPlan, make_chunks
        from model.devices import initialise_devices
        from pipeline.train.split_reader import make_split_reader
        from pipeline.train.trainer import REPORT_EVERY

        initialise_devices()
    started = Clock.now()
    manifest, _ = check_dataset(dataset)
    moments, steps = [started, Clock.now()], 0
    reader = make_split_reader(dataset, manifest, "train")
    epoch_steps = reader.num_examples // BATCH_SIZE
    plan = BatchPlan(1, BATCH_SIZE, EPOCHS * epoch_steps, min(epoch_steps, REPORT_EVERY), window_mib * 2**20)
    for _, labels in make_chunks(reader, plan):
        steps += len(labels)
        if steps >= epoch_steps * (len(moments) - 1):
            moments.append(Clock.now())
    fits = reader.num_examples * reader.num_pixels <= plan.window_bytes
    return [
        _row(
            f"{what}, window of {window_mib} MiB", moments[first].until(moments[last]), num_epochs * reader.num_examples
        )
        for what, first, last, num_epochs in (
            ("SHA-256 of every shard", 0, 1, 1),
            ("the first epoch", 1, 2, 1),
            ("later epochs, in memory" if fits else "later epochs, read again", 2, EPOCHS + 1, EPOCHS - 1),
        )
    ]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lay the rows out as text."""
    lines = [f"{'what':<48}{'examples':>11}{'seconds':>9}{'a second':>12}{'cpu s':>8}{'a cpu second':>14}"]
    for row in rows:
        size, seconds, cpu = row["num_examples"], row["seconds"], row["cpu_seconds"]
        verdict = "  met" if size / cpu >= TARGET else ""
        clock, processor = f"{seconds:>9.2f}{size / seconds:>12,.0f}", f"{cpu:>8.2f}{size / cpu:>14,.0f}"
        lines.append(f"{row['what']:<48}{size:>11,}{clock}{processor}{verdict}")
    return [*lines, f"met: at least {TARGET:,} examples a second of one core's time"]


def _row(what: str, took: Clock, num_examples: int) -> dict[str, Any]:
    return {"what": what, "num_examples": num_examples, "machine": describe_machine()} | took._asdict()


if __name__ == "__main__":
    typer.run(main)
