"""What it takes to preprocess, validate and evaluate, beside other ways to the same records. See README.md beside this.

    python -m tests.benchmarks.data

Exit codes: 0 done, however fast; those of backbeam if something failed; 2 usage.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from pipeline.storage.files import remove_tree
from tests.benchmarks.cases import SIDE, write_source
from tests.benchmarks.common import Folder, Output, Row, describe_machine, errors_end, in_child, save
from tests.benchmarks.memory import Measured, check_measurable
from tests.benchmarks.tfds import compare
from tests.benchmarks.ways import LARGE, OTHERS, OURS

SMALL = 70_000


def main(
    large: Annotated[int, typer.Option(min=0, help="Images of the large data set; 0 for none.")] = 7_000_000,
    small: Annotated[int, typer.Option(min=70, help="Images of the small one.")] = SMALL,
    repeats: Annotated[int, typer.Option(min=1, help="Of the small data set, interleaved.")] = 3,
    ways: Annotated[str, typer.Option(help="Only these, separated by semicolons.")] = ";".join([*LARGE, *OTHERS]),
    side: Annotated[int, typer.Option(min=1, max=SIDE, help="Pixels of an image in each direction.")] = SIDE,
    peer: Annotated[bool, typer.Option(help="Have TensorFlow Datasets build MNIST too, in .venv-tfds.")] = True,
    folder: Folder = None,
    output: Output = Path("build/benchmarks/data.parquet"),
) -> None:
    """Time preprocessing, validation and evaluation, and watch their memory."""
    wanted = ways.split(";")
    sizes = [(small, OURS | OTHERS, repeats), (large // 10, LARGE, 1), (large, LARGE, 1)]
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary, errors_end("data"):
        check_measurable()
        rows = []
        for size, all_ways, times in sizes:
            chosen = {name: all_ways[name] for name in wanted if name in all_ways}
            rows += measure(Path(temporary), size, chosen, times, partial(write_source, side=side)) if size else []
        peers, said = measure_peer(Path(temporary)) if peer else ([], [])
        rows += peers
        typer.echo("\n".join(["", describe_machine(), *table(rows), *said, *growth(rows), save(output, rows)]))


def measure(
    folder: Path,
    num_examples: int,
    ways: dict[str, Callable[[Path], Measured]],
    repeats: int,
    write: Callable[[Path, int, int], None] = write_source,
) -> Iterator[Row]:
    """Write a source of that many images and go each way, in turn, each in a process of its own."""
    place = folder / str(num_examples)
    typer.echo(f"writing {num_examples:,} images to {place}", err=True)
    write(place / "source", num_examples - num_examples // 7, num_examples // 7)
    for repeat in range(repeats):
        for name, way in ways.items():
            measured = in_child(way, place)
            row = _row(name, num_examples, repeat, measured)
            typer.echo(table([row])[1], err=True)
            yield row
    remove_tree(place)


def measure_peer(folder: Path) -> tuple[list[Row], list[str]]:
    """Have TensorFlow Datasets build MNIST; return its rows, and why there are none."""
    try:
        return [_row(way, SMALL, build, measured) for way, build, measured in compare.measure(folder)], []
    except compare.Unavailable as reason:
        return [], [f"TensorFlow Datasets is left out: {reason}"]


def table(rows: list[Row]) -> list[str]:
    """Lay the rows out as text: the median of the repeats, and ratios to `preprocess` of the same size."""
    heads = f"{'seconds':>9}{'us/image':>9}{'cpu us':>8}{'ratio':>7}{'driver MiB':>11}"
    lines = [f"{'way':<30}{'images':>11}{heads}  each worker MiB"]
    for size, way in sorted(dict.fromkeys((row["num_examples"], row["way"]) for row in rows), key=lambda row: row[0]):
        own, reference = _of(rows, way, size), _of(rows, "preprocess", size)
        seconds, cpu = _median(own, "seconds"), _median(own, "cpu_seconds") / size * 1e6
        ratio = f"{seconds / _median(reference, 'seconds'):.2f}" if reference else ""
        times = f"{seconds:>9.2f}{seconds / size * 1e6:>9.1f}{cpu:>8.1f}{ratio:>7}"
        driver = f"{_median(own, 'driver_bytes') / 2**20:>11,.0f}"
        workers = ", ".join(f"{peak / 2**20:,.0f}" for peak in own[-1]["worker_bytes"])
        lines.append(f"{way:<30}{size:>11,}{times}{driver}  {workers}".rstrip())
    return lines


def growth(rows: list[Row]) -> list[str]:
    """Say how memory grew from the second largest to the largest size, way by way."""
    sizes = sorted({row["num_examples"] for row in rows})[-2:]
    if len(sizes) < 2:
        return []
    lines = ["", f"from {sizes[0]:,} to {sizes[1]:,} images the peak of memory grew by"]
    for way in dict.fromkeys(row["way"] for row in _sized(rows, sizes[1])):
        few, many = (_of(rows, way, size) for size in sizes)
        if few:
            driver = _median(many, "driver_bytes") - _median(few, "driver_bytes")
            worker = max(many[-1]["worker_bytes"], default=0) - max(few[-1]["worker_bytes"], default=0)
            lines.append(
                f"{way:<30}{_growth(driver, sizes)} in the driver"
                + (f", {_growth(worker, sizes)} in the largest worker" if many[-1]["worker_bytes"] else "")
            )
    return lines


def _row(way: str, num_examples: int, repeat: int, measured: Measured) -> Row:
    about = {"way": way, "num_examples": num_examples, "repeat": repeat, "machine": describe_machine()}
    return about | measured._asdict()


def _growth(num_bytes: float, sizes: list[int]) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB, {num_bytes / (sizes[1] - sizes[0]):.1f} bytes an image"


def _sized(rows: list[Row], size: int) -> list[Row]:
    return [row for row in rows if row["num_examples"] == size]


def _of(rows: list[Row], way: str, size: int) -> list[Row]:
    return [row for row in _sized(rows, size) if row["way"] == way]


def _median(rows: list[Row], column: str) -> float:
    return float(median(row[column] for row in rows))


if __name__ == "__main__":
    typer.run(main)
