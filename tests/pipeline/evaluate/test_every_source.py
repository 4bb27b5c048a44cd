"""Predictions for the test images of a data set of every kind: the model sees, and answers, what evaluation did."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.evaluate.image_files import ModelImages, read_items
from pipeline.evaluate.predict import find_options, find_transposed
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.shards import read_split
from pipeline.sources.image_decoding import TRANSPOSED
from pipeline.sources.named_columns import NamedColumns
from tests.examples import example, frame
from tests.helpers import Digits, images_bytes, labels_bytes, run_in_process, write_files
from tests.pictures import encode, rows_table

SIZES = {"train": 60, "test": 20}
EMNIST = ("emnist-letters-{}-images-idx3-ubyte", "emnist-letters-{}-labels-idx1-ubyte")


class Split(NamedTuple):
    images: np.ndarray  # dark on light, so that preparing them as MNIST's images were would show
    labels: np.ndarray
    varied: bool  # whether pictures have several sizes

    @property
    def pictures(self) -> list[bytes]:
        sizes = [(4 + number % 3 * 3 * self.varied, 5 + number % 4 * 2 * self.varied) for number in range(99)]
        pictures = [Image.fromarray(image) for image in self.images]
        return [
            encode(picture.resize(size, Image.Resampling.NEAREST), "PNG")
            for picture, size in zip(pictures, sizes, strict=False)
        ]

    @property
    def transposed(self) -> np.ndarray:
        return np.ascontiguousarray(self.images.transpose(0, 2, 1))

    @property
    def flat(self) -> np.ndarray:
        return self.images.reshape(len(self.images), -1)


Splits = dict[str, Split]


def read_digits(varied: bool) -> Splits:
    splits = {}
    for number, (name, size) in enumerate(SIZES.items()):
        images, labels = Digits().split(number, size)
        splits[name] = Split(255 - images, labels, varied)
    return splits


def write_tree(folder: Path, splits: Splits) -> list[Path]:
    for name, split in splits.items():
        for number, (picture, label) in enumerate(zip(split.pictures, split.labels, strict=True)):
            path = folder / name / str(label) / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
    return sorted(folder.glob("test/*/*"))


def write_idx(folder: Path, splits: Splits) -> list[Path]:
    files = {}
    for name, split in zip(("train", "t10k"), splits.values(), strict=True):
        files[f"{name}-images-idx3-ubyte"] = images_bytes(split.images)
        files[f"{name}-labels-idx1-ubyte"] = labels_bytes(split.labels)
    write_files(folder, files)
    return [folder / "t10k-images-idx3-ubyte"]


def write_emnist(folder: Path, splits: Splits) -> list[Path]:
    files = {}
    for name, split in splits.items():
        files[EMNIST[0].format(name)] = images_bytes(split.transposed)
        files[EMNIST[1].format(name)] = labels_bytes(split.labels)
    write_files(folder, files)
    return [folder / EMNIST[0].format("test")]


def write_arrays(folder: Path, splits: Splits) -> list[Path]:
    for name, split in splits.items():
        np.save(folder / f"{name}-x.npy", split.images)
        np.save(folder / f"{name}-y.npy", split.labels)
    return [folder / "test-x.npy"]


def save_archive(folder: Path, splits: Splits, kind: str) -> list[Path]:
    arrays = {f"x_{name}": getattr(split, kind) for name, split in splits.items()}
    np.savez(folder / "digits.npz", **arrays, **{f"y_{name}": split.labels for name, split in splits.items()})
    return [folder / "digits.npz"]


def write_archive(folder: Path, splits: Splits) -> list[Path]:
    return save_archive(folder, splits, "images")


def write_flat_archive(folder: Path, splits: Splits) -> list[Path]:
    return save_archive(folder, splits, "flat")


def write_transposed_archive(folder: Path, splits: Splits) -> list[Path]:
    return save_archive(folder, splits, "transposed")


def write_lines(folder: Path, splits: Splits, kind: str) -> list[Path]:
    for name, split in splits.items():
        pixels = getattr(split, kind).reshape(len(split.labels), -1)
        table = pd.DataFrame(pixels, columns=[f"pixel{number}" for number in range(20)])
        table.insert(0, "label", split.labels)
        table.to_csv(folder / f"{name}.csv", index=False)
    return [folder / "test.csv"]


def write_csv(folder: Path, splits: Splits) -> list[Path]:
    return write_lines(folder, splits, "images")


def write_transposed_csv(folder: Path, splits: Splits) -> list[Path]:
    return write_lines(folder, splits, "transposed")


def write_csv_without_header(folder: Path, splits: Splits) -> list[Path]:
    """Write rows whose last column is the label."""
    for name, split in splits.items():
        table = pd.DataFrame(np.column_stack([split.flat, split.labels]))
        table.to_csv(folder / f"{name}.csv", index=False, header=False)
    return [folder / "test.csv"]


def write_csv_of_paths(folder: Path, splits: Splits) -> list[Path]:
    (folder / "images").mkdir()
    for name, split in splits.items():
        paths = [f"{name}-{number}.png" for number in range(len(split.labels))]
        for path, picture in zip(paths, split.pictures, strict=True):
            (folder / "images" / path).write_bytes(picture)
        pd.DataFrame({"path": paths, "label": split.labels}).to_csv(folder / f"{name}.csv", index=False)
    return [folder / "test.csv"]


def write_paths_and_name_pictures(folder: Path, splits: Splits) -> list[Path]:
    write_csv_of_paths(folder, splits)
    return [folder / "images" / f"test-{number}.png" for number in range(SIZES["test"])]


def write_parquet(folder: Path, splits: Splits) -> list[Path]:
    for name, split in splits.items():
        pq.write_table(rows_table(split.pictures, split.labels.tolist()), folder / f"{name}.parquet", row_group_size=7)
    return [folder / "test.parquet"]


def write_parquet_lists(folder: Path, splits: Splits) -> list[Path]:
    for name, split in splits.items():
        table = pa.table({"image": split.images.tolist(), "label": split.labels.tolist()})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=7)
    return [folder / "test.parquet"]


def write_parquet_columns(folder: Path, splits: Splits) -> list[Path]:
    for name, split in splits.items():
        columns = {f"pixel{number}": values for number, values in enumerate(split.flat.T)}
        pq.write_table(pa.table({"label": split.labels.tolist(), **columns}), folder / f"{name}.parquet")
    return [folder / "test.parquet"]


def write_records(folder: Path, splits: Splits, serialize: Callable[[object, int], bytes], kind: str) -> list[Path]:
    for name, split in splits.items():
        pairs = zip(getattr(split, kind), split.labels.tolist(), strict=True)
        (folder / f"{name}.tfrecord").write_bytes(b"".join(frame(serialize(*pair)) for pair in pairs))
    return [folder / "test.tfrecord"]


def write_encoded_records(folder: Path, splits: Splits) -> list[Path]:
    return write_records(folder, splits, example, "pictures")


def write_raw_records(folder: Path, splits: Splits) -> list[Path]:
    def serialize(image: np.ndarray, label: int) -> bytes:
        return example(image.tobytes(), label, ("image_raw", "label"), height=5, width=4)

    return write_records(folder, splits, serialize, "images")


def write_number_records(folder: Path, splits: Splits) -> list[Path]:
    return write_records(folder, splits, lambda image, label: example(image.tolist(), label, ("x", "y")), "flat")


RESIZE = ("--resize", "5x4")
SIZE = ("--image-size", "5x4")
NUMPY_FILES = "train-x.npy,{0}/train-y.npy,{0}/test-x.npy,{0}/test-y.npy"
# By name: what writes the source and returns the files to predict, the file to name as the source, and options.
KINDS = {
    "tree": (write_tree, "", ()),
    "tree, resized": (write_tree, "", RESIZE),
    "IDX": (write_idx, "", ()),
    "IDX, transposed": (write_emnist, "", ()),
    "four .npy": (write_arrays, NUMPY_FILES, ()),
    ".npz": (write_archive, "", ()),
    ".npz, flat": (write_flat_archive, "", SIZE),
    ".npz, transposed": (write_transposed_archive, "", ("--transpose",)),
    "CSV of pixels": (write_csv, "", SIZE),
    "CSV of pixels, transposed": (write_transposed_csv, "", (*SIZE, "--transpose")),
    "CSV of pixels, without a header": (write_csv_without_header, "", (*SIZE, "--label-column", 21)),
    "CSV of paths": (write_csv_of_paths, "", ()),
    "CSV of paths, resized": (write_csv_of_paths, "", RESIZE),
    "pictures of CSV, resized": (write_paths_and_name_pictures, "", (*RESIZE, "--resize-mode", "crop")),
    "Parquet of pictures": (write_parquet, "", ()),
    "Parquet of pictures, resized": (write_parquet, "", (*RESIZE, "--resize-mode", "fit")),
    "Parquet of lists": (write_parquet_lists, "", ()),
    "Parquet of columns": (write_parquet_columns, "", SIZE),
    "TFRecord of pictures": (write_encoded_records, "", ()),
    "TFRecord of pictures, resized": (write_encoded_records, "", RESIZE),
    "TFRecord of bytes": (write_raw_records, "", ()),
    "TFRecord of numbers": (write_number_records, "", SIZE),
}


def write_kind(kind: str, folder: Path) -> tuple[list[object], list[Path]]:
    """Write a source; return the arguments that name it, and the files with its test images."""
    write, name, options = KINDS[kind]
    (folder / "source").mkdir()
    files = write(folder / "source", read_digits(varied="--resize" in options))
    source = f"{folder}/source/{name.format(folder / 'source')}"
    return ["--dataset", source, *options, "--workspace", folder / "ws"], files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.thorough
def test_the_model_is_given_the_pixels_of_the_shards(kind, tmp_path):
    arguments, files = write_kind(kind, tmp_path)
    done = run_in_process("preprocess", *arguments)
    assert done.code == 0, done.err
    [folder] = tmp_path.glob("ws/datasets/*")
    manifest = load_dataset(folder).manifest
    transposed = TRANSPOSED in manifest.style.conversions
    model = ModelImages(5, 4, manifest.class_names, manifest.style, transposed)
    named = NamedColumns(dataset=find_options(tmp_path / "ws", manifest))
    found = [item for file in files for _, item in read_items(str(file), model, named)]
    stored = read_split(folder, manifest, "test").images.reshape(-1, 5, 4)
    assert transposed == ("transposed" in kind)
    assert np.array_equal(np.stack([item.image for item in found]), stored)


def test_arrays_beside_pictures_are_transposed_as_the_option_says(tmp_path):
    splits = read_digits(varied=False)
    sources: list[object] = []
    for name, write in (("tree", write_tree), ("csv", write_transposed_csv)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, splits)
        sources += ["--dataset", tmp_path / name]
    done = run_in_process("preprocess", *sources, *SIZE, "--transpose", "--workspace", tmp_path / "ws")
    assert done.code == 0, done.err
    [manifest] = [
        each for each in (load_dataset(path).manifest for path in tmp_path.glob("ws/datasets/*")) if each.parts
    ]
    options = find_options(tmp_path / "ws", manifest)
    assert find_transposed(manifest, options) is True
    assert find_transposed(manifest, None) is None
    for origin in tmp_path.glob("ws/origins/*"):
        origin.write_bytes(b"damaged")
    assert find_options(tmp_path / "ws", manifest) is None


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_predict_answers_as_the_table_predictions(kind, tmp_path):
    arguments, files = write_kind(kind, tmp_path)
    done = run_in_process("run", *arguments, "--num-steps", 50)
    assert done.code == 0, done.err
    done = run_in_process("predict", *files, "--workspace", tmp_path / "ws", "--json")
    assert done.code == 0, done.err
    found = pd.DataFrame(done.json["predictions"])
    table = pd.read_parquet(tmp_path / "ws" / "reports" / "predictions")
    table = table[table["split"] == "test"].sort_values("index")
    assert list(found["class_name"].astype(int)) == list(table["predicted"])
    np.testing.assert_allclose(found["confidence"], table["confidence"], rtol=0, atol=1e-5)
