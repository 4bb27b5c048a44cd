"""One data set of train, test and validation in every layout: 60, 20 and 15 images of 5 x 4 pixels in three classes."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tests.examples import example, frame
from tests.helpers import Digits, images_bytes, labels_bytes, write_files
from tests.pictures import png, rows_table

NUMBERS = {"train": (0, 60), "test": (1, 20), "validation": (2, 15)}  # the seed and size of each split


def digits_of(split: str) -> tuple[np.ndarray, np.ndarray]:
    return Digits().split(*NUMBERS[split])


def _write_idx(folder: Path, split: str, word: str) -> None:
    images, labels = digits_of(split)
    names = [f"{word}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    write_files(folder, dict(zip(names, (images_bytes(images), labels_bytes(labels)), strict=True)))


def _write_numpy(folder: Path, split: str, word: str) -> None:
    path = folder / "digits.npz"
    before = dict(np.load(path)) if path.exists() else {}
    images, labels = digits_of(split)
    np.savez(path, **before, **{f"{word}_images": images, f"{word}_labels": labels})


def _write_tree(folder: Path, split: str, word: str) -> None:
    for index, (image, label) in enumerate(zip(*digits_of(split), strict=True)):
        path = folder / word / str(label) / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))


def _write_parquet(folder: Path, split: str, word: str) -> None:
    images, labels = digits_of(split)
    table = rows_table([png(image) for image in images], labels.tolist())
    pq.write_table(table, folder / f"{word}-00000-of-00001.parquet")


def _write_csv(folder: Path, split: str, word: str) -> None:
    lines = [",".join(map(str, (label, *image.reshape(-1)))) for image, label in zip(*digits_of(split), strict=True)]
    heading = ",".join(("label", *(f"pixel{number}" for number in range(20))))
    (folder / f"digits_{word}.csv").write_text("\n".join((heading, *lines)))


def _write_tfrecord(folder: Path, split: str, word: str) -> None:
    records = [frame(example(png(image), int(label))) for image, label in zip(*digits_of(split), strict=True)]
    (folder / f"{word}-0.tfrecord").write_bytes(b"".join(records))


WRITERS = {
    "idx": _write_idx,
    "numpy": _write_numpy,
    "tree": _write_tree,
    "parquet": _write_parquet,
    "csv": _write_csv,
    "tfrecord": _write_tfrecord,
}


def write_splits(folder: Path, layout: str, words: dict[str, str]) -> Path:
    """Write the splits that have a word, by which files, folders or arrays are called."""
    folder.mkdir(parents=True)
    for split, word in words.items():
        WRITERS[layout](folder, split, word)
    return folder
