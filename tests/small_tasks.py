"""Scans in tasks and pieces of a few examples, so that small sources are cut as large ones are.

`python -m tests.small_tasks ARGUMENTS` runs the real command so.
"""

import gzip
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import to_json

from model.errors import BadInput
from pipeline.sources import csv_lines, csv_tasks, image_files, parquet_tasks, scan_tasks, tfrecord_tasks
from tests.examples import example, frame
from tests.helpers import Digits
from tests.pictures import png, write_rows, write_tree

SIZES = (
    (scan_tasks, "WHOLE_EXAMPLES", 32),
    (scan_tasks, "PIECE_EXAMPLES", 8),
    (scan_tasks, "MAX_TASKS", 6),
    (scan_tasks, "MANY_BYTES", 100),
    (scan_tasks, "MANY_PARSED_BYTES", 100),
    (scan_tasks, "WHOLE_BYTES", 1600),
    (scan_tasks, "PIECE_BYTES", 400),
    (csv_tasks, "_LEAST_PIECES", 1),
    (csv_lines, "PIECE_BYTES", 300),
    (tfrecord_tasks, "BLOCK_BYTES", 500),
    (parquet_tasks, "_LEAST_GROUPS", 1),
    (image_files, "MANY_FILES", 30),
    (image_files, "MIN_TASK_FILES", 8),
)


class Workers:
    """Runs tasks as workers would, the last one first, and raises their errors in order; counts the tasks."""

    def __init__(self) -> None:
        self.num_tasks = 0

    def __call__(self, function: Callable[[Any], Any], tasks: Sequence[Any], kind: Any) -> Iterator[Any]:
        self.num_tasks += len(tasks)
        function, tasks = pickle.loads(pickle.dumps((function, tasks)))  # noqa: S301
        results = [_run_task(function, task) for task in reversed(tasks)]
        return (_read_result(result, kind) for result in reversed(results))


def _run_task(function: Callable[[Any], Any], task: Any) -> bytes | BadInput:
    try:
        return to_json(function(task))
    except BadInput as problem:
        return problem


def _read_result(result: bytes | BadInput, kind: Any) -> Any:
    if isinstance(result, BadInput):
        raise result
    return TypeAdapter(kind).validate_json(result)


def write_arrays(folder: Path, digits: Digits | None = None) -> str:
    """Write four .npy files; return their names, as --dataset takes them."""
    folder.mkdir(parents=True)
    digits = digits or Digits()
    files = []
    for split, size in enumerate((digits.num_train, digits.num_test)):
        for name, values in zip(("images", "labels"), digits.split(split, size), strict=True):
            files.append(folder / f"{split}-{name}.npy")
            np.save(files[-1], values)
    return ",".join(map(str, files))


def write_pixels(folder: Path, digits: Digits | None = None) -> Path:
    """Write Parquet files of lists of rows of pixels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    digits = digits or Digits()
    for split, size in (("train", digits.num_train), ("test", digits.num_test)):
        images, labels = digits.split(int(split == "test"), size)
        table = pa.table({"image": images.tolist(), "label": labels})
        pq.write_table(table, folder / f"{split}.parquet", row_group_size=7)
    return folder


def write_lines(folder: Path, digits: Digits | None = None, compress: bool = False) -> Path:
    """Write CSV files of the first rows of the images, which are squares then; those of train are in two files."""
    folder.mkdir(parents=True)
    for name, (images, labels) in _parts(digits or Digits()):
        rows = [
            ",".join(map(str, [label, *image[:4].reshape(-1)])) for image, label in zip(images, labels, strict=True)
        ]
        lines = "\n".join([",".join(["label", *(f"p{number}" for number in range(16))]), *rows, ""]).encode()
        path = folder / f"{name}.csv{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(lines, mtime=0) if compress else lines)
    return folder


def write_paths(folder: Path, digits: Digits | None = None) -> Path:
    """Write CSV files of paths, and the pictures that they name."""
    for name, (images, labels) in _parts(digits or Digits()):
        paths = [f"{name}/{number}.png" for number in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(png(image))
        rows = [f"{path},{'abc'[label]}" for path, label in zip(paths, labels, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(["image,label", *rows]))
    return folder


def write_records(folder: Path, digits: Digits | None = None, compress: bool = False, is_encoded: bool = False) -> Path:
    """Write TFRecord files of pixels, or of files of pictures; those of train are in two files."""
    folder.mkdir(parents=True)
    for name, pairs in _parts(digits or Digits()):
        data = b"".join(
            frame(example(png(image) if is_encoded else image.tobytes(), int(label), height=5, width=4))
            for image, label in zip(*pairs, strict=True)
        )
        path = folder / f"{name}.tfrecord{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(data, mtime=0) if compress else data)
    return folder


def _parts(digits: Digits) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    images, labels = digits.split(0, digits.num_train)
    cut = digits.num_train * 2 // 3
    yield "train-0", (images[:cut], labels[:cut])
    yield "train-1", (images[cut:], labels[cut:])
    yield "test", digits.split(1, digits.num_test)


WRITERS = {
    "idx": lambda folder, digits=None: (digits or Digits()).write(folder),
    "arrays": write_arrays,
    "rows": write_rows,
    "pixels": write_pixels,
    "tree": write_tree,
    "lines": write_lines,
    "paths": write_paths,
    "records": write_records,
    "encoded records": partial(write_records, is_encoded=True),
}


def main() -> None:
    from pipeline.cli.main import main as run

    for module, name, value in SIZES:
        setattr(module, name, value)
    run()


if __name__ == "__main__":
    main()
