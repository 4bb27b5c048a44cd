"""What it takes to preprocess and to evaluate, beside other ways to the same records. See README.md beside this.

    python -m tests.benchmarks.data

Exit codes: 0 done, however fast; those of backbeam if something failed; 2 usage.
"""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

from model.errors import BackbeamError
from model.recipes import find_recipe, fit_to_data, override
from pipeline import idx, storage
from pipeline.manifest import PreprocessConfig, dataset_id, load_manifest
from pipeline.shards import default_num_shards
from pipeline.sources import FILE_NAMES, Source, find_files
from pipeline.tables import write_table
from pipeline.work import quiet_imports
from tests.benchmarks.cases import read_digits
from tests.benchmarks.steps import describe_machine
from tests.benchmarks.streaming import in_child

SMALL = 70_000
PIECE = 10_000  # images written at once
TWO_WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]

# One row a way, size and repeat. Peaks of memory are of the process that drives the work, above what it had when all
# was imported, and of the largest process that it started; 0 if it started none.
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("way", pa.string()),
            ("num_examples", pa.int64()),
            ("repeat", pa.int32()),
            ("seconds", pa.float64()),
            ("driver_bytes", pa.int64()),
            ("worker_bytes", pa.int64()),
            ("machine", pa.string()),
        )
    ]
)


class Measured(NamedTuple):
    """What some work took; see SCHEMA."""

    seconds: float
    driver_bytes: int
    worker_bytes: int


def main(
    large: Annotated[int, typer.Option(min=0, help="Images of the large data set; 0 for none.")] = 7_000_000,
    small: Annotated[int, typer.Option(min=70, help="Images of the small one.")] = SMALL,
    repeats: Annotated[int, typer.Option(min=1, help="Of the small data set, interleaved.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where there is room; by default for temporary files.")] = None,
    output: Annotated[Path, typer.Option(help="The Parquet file.")] = Path("build/benchmarks/data.parquet"),
) -> None:
    """Time preprocessing and evaluation, and watch their memory."""
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary:
        try:
            rows = list(chain(measure(Path(temporary), small, WAYS, repeats), measure_large(Path(temporary), large)))
            write_table(output, pa.Table.from_pylist(rows, SCHEMA))
        except (BackbeamError, OSError) as problem:
            typer.echo(f"data: {problem}", err=True)
            raise typer.Exit(getattr(problem, "exit_code", 1)) from None
    typer.echo("\n".join(["", describe_machine(), *table(rows), "", f"each row in {output}"]))


def measure_large(folder: Path, num_examples: int) -> Iterator[dict[str, Any]]:
    """Take only our own ways to the large data set."""
    if num_examples:
        yield from measure(folder, num_examples, {name: WAYS[name] for name in OURS}, 1)


def measure(
    folder: Path, num_examples: int, ways: dict[str, Callable[..., Measured]], repeats: int
) -> Iterator[dict[str, Any]]:
    """Write a source of that many images and go each way, in turn, each in a process of its own."""
    place = folder / str(num_examples)
    typer.echo(f"writing {num_examples:,} images to {place}", err=True)
    write_source(place / "source", num_examples)
    for repeat in range(repeats):
        for name, way in ways.items():
            typer.echo(f"{name}, {num_examples:,} images", err=True)
            measured = in_child(way, place)
            about = {"way": name, "num_examples": num_examples, "repeat": repeat, "machine": describe_machine()}
            yield about | measured._asdict()
    storage.remove(place)


def write_source(folder: Path, num_examples: int) -> None:
    """Write digits, again and again, as four IDX files: a seventh of them as the test split."""
    folder.mkdir(parents=True)
    _, images, labels = read_digits()
    num_test = num_examples // 7
    sizes = (num_examples - num_test, num_test)
    for (images_name, labels_name), size in zip((FILE_NAMES[:2], FILE_NAMES[2:]), sizes, strict=True):
        with (folder / images_name).open("wb") as image_file, (folder / labels_name).open("wb") as label_file:
            image_file.write(np.array([idx.IMAGES_MAGIC, size, 28, 28], ">u4").tobytes())
            label_file.write(np.array([idx.LABELS_MAGIC, size], ">u4").tobytes())
            for start in range(0, size, PIECE):
                chosen = np.arange(start, min(size, start + PIECE)) % len(labels)
                image_file.write(images[chosen].tobytes())
                label_file.write(labels[chosen].astype(np.uint8).tobytes())


def watch(work: Callable[[], object]) -> Measured:
    """Do some work in this process and say what it took."""
    before, started = _peak(resource.RUSAGE_SELF), time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return Measured(seconds, _peak(resource.RUSAGE_SELF) - before, _peak(resource.RUSAGE_CHILDREN))


def preprocess_in_process(place: Path) -> Measured:
    """`backbeam preprocess`, the scan of the source included."""
    return _preprocess(place, "one", [])


def preprocess_by_two_workers(place: Path) -> Measured:
    """The same by two worker processes."""
    return _preprocess(place, "two", TWO_WORKERS)


def write_by_a_loop(place: Path) -> Measured:
    """Nothing but protobuf's encoding and TensorFlow's writer, to as many shards."""
    with quiet_imports():
        import tensorflow as tf

        example = _encoder()

    def work() -> None:
        for split, (images, labels) in enumerate(_read_source(place)):
            num_shards = default_num_shards(len(labels))
            for shard in range(num_shards):
                with tf.io.TFRecordWriter(str(place / f"loop-{split}-{shard}.tfrecord")) as writer:
                    for index in range(shard, len(labels), num_shards):
                        writer.write(example(index, images[index], labels[index]))

    return watch(work)


def write_by_beam_transforms(place: Path) -> Measured:
    """What a Beam tutorial would write: `Create | Map(encode) | WriteToTFRecord`."""
    with quiet_imports():
        import apache_beam as beam
        from apache_beam.io.tfrecordio import WriteToTFRecord

        example = _encoder()

    def work() -> None:
        for split, (images, labels) in enumerate(_read_source(place)):
            with beam.Pipeline("FnApiRunner") as pipeline:
                (
                    pipeline
                    | beam.Create(list(zip(range(len(labels)), images, labels, strict=True)))
                    | beam.MapTuple(example)
                    | WriteToTFRecord(str(place / f"beam-{split}"), num_shards=default_num_shards(len(labels)))
                )

    return watch(work)


def evaluate_in_process(place: Path) -> Measured:
    """`backbeam evaluate` of both splits into all tables, of a network that has hardly been trained."""
    with quiet_imports():
        from model.replicas import start_engine
        from pipeline.evaluate import evaluate
        from pipeline.runs import RunRecord
        from pipeline.train import Job, train

        folder = next((place / "one" / "datasets").iterdir())
        manifest, digest = load_manifest(folder)
        config = fit_to_data(override(find_recipe("article-manual").config, num_steps=1), 784, 10, 1)
        engine = start_engine(config, "cpu", None, "")
    workspace = place / "one"
    storage.remove(workspace / "runs")
    storage.remove(workspace / "reports")
    train(Job(workspace, folder, manifest, digest, tensorboard=False), [config], engine)
    path = next((workspace / "runs").glob("*/run.json"))
    record = RunRecord.from_json(path.read_bytes(), path)
    return watch(lambda: evaluate(workspace, folder, manifest, record, []))


OURS = ("preprocess", "preprocess, 2 workers", "evaluate")
WAYS = {
    "preprocess": preprocess_in_process,
    "preprocess, 2 workers": preprocess_by_two_workers,
    "evaluate": evaluate_in_process,
    "a loop with TFRecordWriter": write_by_a_loop,
    "Map(encode) | WriteToTFRecord": write_by_beam_transforms,
}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lay the rows out as text: the median of the repeats, and ratios to `preprocess` of the same size."""
    lines = [f"{'way':<30}{'images':>11}{'seconds':>9}{'us/image':>9}{'ratio':>7}{'driver MiB':>11}{'worker MiB':>11}"]
    for size in sorted({row["num_examples"] for row in rows}):
        ours = _median(rows, "preprocess", size, "seconds")
        for way in dict.fromkeys(row["way"] for row in rows if row["num_examples"] == size):
            seconds = _median(rows, way, size, "seconds")
            memory = [_median(rows, way, size, column) / 2**20 for column in ("driver_bytes", "worker_bytes")]
            lines.append(
                f"{way:<30}{size:>11,}{seconds:>9.2f}{seconds / size * 1e6:>9.1f}{seconds / ours:>7.2f}"
                f"{memory[0]:>11,.0f}{memory[1]:>11,.0f}"
            )
    return lines


def _median(rows: list[dict[str, Any]], way: str, size: int, column: str) -> float:
    return float(np.median([row[column] for row in rows if (row["way"], row["num_examples"]) == (way, size)]))


def _preprocess(place: Path, workspace: str, beam_arguments: list[str]) -> Measured:
    with quiet_imports():
        from pipeline.preprocess import preprocess
        from pipeline.staging import scan_source
    parent = place / workspace / "datasets"
    storage.remove(parent)

    def work() -> None:
        scans = scan_source(Source("benchmark", find_files(str(place / "source")), None), 10)
        config = PreprocessConfig(seed=1, num_shards=default_num_shards(scans.splits["train"].num_examples))
        folder = parent / dataset_id("benchmark", scans.class_names, config, scans.infos)
        preprocess(scans, "benchmark", config, folder, 0, beam_arguments)

    return watch(work)


def _read_source(place: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    files = [np.fromfile(place / "source" / name, np.uint8) for name in FILE_NAMES]
    for images, labels in ((files[0], files[1]), (files[2], files[3])):
        yield images[16:].reshape(-1, 784), labels[8:]


def _encoder() -> Callable[[int, np.ndarray, int], bytes]:
    from tensorflow.train import BytesList, Example, Feature, Features, Int64List

    def example(index: int, image: np.ndarray, label: int) -> bytes:
        features = {
            "image": Feature(bytes_list=BytesList(value=[image.tobytes()])),
            "index": Feature(int64_list=Int64List(value=[index])),
            "label": Feature(int64_list=Int64List(value=[label])),
        }
        serialized: bytes = Example(features=Features(feature=features)).SerializeToString(deterministic=True)
        return serialized

    return example


def _peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * 1024


if __name__ == "__main__":
    typer.run(main)
