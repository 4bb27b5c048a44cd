"""How long the scan of large CSV and TFRecord files takes in one process, and how long by workers.

    python -m tests.benchmarks.shared_scan

Exit codes: 0 done, however fast; 1 the workers found something else; 2 usage.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Annotated

import typer

from pipeline.beam_runner import add_workers
from pipeline.context import StageContext
from pipeline.preprocess.scan_runner import open_task_runner
from pipeline.sources.blocks import SourceScan
from pipeline.sources.source_lookup import find_source, scan_source
from tests.benchmarks.cases import read_digits
from tests.benchmarks.csv_files import write_digits
from tests.examples import example, frame

FILE_EXAMPLES = 100_000
TEST_EXAMPLES = 1_000


def main(
    num_examples: Annotated[
        int, typer.Option(min=FILE_EXAMPLES, help="Of the train split, in files of 100,000.")
    ] = 2_000_000,
    num_workers: Annotated[int, typer.Option(min=2, help="Processes.")] = 2,
) -> None:
    """Print the seconds of each scan and those of processors, with those that workers take to start."""
    differ = False
    for layout, write in (("csv", write_digits), ("tfrecord", write_records)):
        with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-") as folder:
            place = Path(folder)
            num_bytes = write_source(place / "source", layout, write, num_examples)
            one, alone = measure(place, 1)
            several, shared = measure(place, num_workers)
        differ = differ or alone != shared
        typer.echo(
            f"{layout:<9}{num_examples:>11,} examples, {num_bytes / 2**30:.2f} GiB: {one} in one process, {several} by "
            f"{num_workers} workers"
        )
    raise typer.Exit(int(differ))


def write_source(folder: Path, layout: str, write: Callable[[Path, int], None], num_examples: int) -> int:
    """Write the files of a source, and return their bytes; those of train are links to one file."""
    folder.mkdir()
    write(folder / f"test.{layout}", TEST_EXAMPLES)
    first = folder / f"train-00000.{layout}"
    write(first, FILE_EXAMPLES)
    for number in range(1, num_examples // FILE_EXAMPLES):
        (folder / f"train-{number:05d}.{layout}").hardlink_to(first)
    return sum(path.stat().st_size for path in folder.iterdir())


def write_records(place: Path, num_examples: int) -> None:
    """Write digits, again and again, as Examples."""
    _, images, labels = read_digits()
    pairs = zip(images, labels, strict=True)
    records = [frame(example(image.tobytes(), int(label), height=28, width=28)) for image, label in pairs]
    with place.open("wb") as stream:
        for number in range(num_examples):
            stream.write(records[number % len(records)])


def measure(folder: Path, num_workers: int) -> tuple[str, SourceScan]:
    """Scan a source, and return how long it took and what was found."""
    source = find_source(str(folder / "source"), None, None)
    started = time.monotonic()
    before = count_processor_seconds()
    with open_task_runner(StageContext(folder / "workspace", add_workers((), num_workers))) as map_tasks:
        found = scan_source(source, map_tasks=map_tasks)
    seconds = time.monotonic() - started
    return f"{seconds:.1f} s ({count_processor_seconds() - before:.1f} s of CPU)", found


def count_processor_seconds() -> float:
    """Return the seconds that this process and its children, which have ended, took of processors."""
    used = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    typer.run(main)
