"""Scans in tasks and pieces of a few examples, so that small sources are cut as large ones are.

`python -m tests.small_tasks ARGUMENTS` runs the real command so.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import to_json

from pipeline.sources import image_files, parquet_tasks, scan_tasks
from tests.helpers import Digits
from tests.pictures import write_rows, write_tree

SIZES = (
    (scan_tasks, "WHOLE_EXAMPLES", 30),
    (scan_tasks, "PIECE_EXAMPLES", 8),
    (scan_tasks, "MAX_TASKS", 6),
    (scan_tasks, "MANY_BYTES", 100),
    (parquet_tasks, "_LEAST_GROUPS", 1),
    (image_files, "MANY_FILES", 30),
    (image_files, "MIN_TASK_FILES", 8),
)


class Workers:
    """Runs tasks as workers would, the last one first; counts the tasks."""

    def __init__(self) -> None:
        self.num_tasks = 0

    def __call__(self, function: Callable[[Any], Any], tasks: Sequence[Any], kind: Any) -> Iterator[Any]:
        self.num_tasks += len(tasks)
        function, tasks = pickle.loads(pickle.dumps((function, tasks)))  # noqa: S301
        results = [to_json(function(task)) for task in reversed(tasks)]
        return (TypeAdapter(kind).validate_json(result) for result in reversed(results))


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


WRITERS = {
    "idx": lambda folder, digits=None: (digits or Digits()).write(folder),
    "arrays": write_arrays,
    "rows": write_rows,
    "pixels": write_pixels,
    "tree": write_tree,
}


def main() -> None:
    from pipeline.cli.main import main as run

    for module, name, value in SIZES:
        setattr(module, name, value)
    run()


if __name__ == "__main__":
    main()
