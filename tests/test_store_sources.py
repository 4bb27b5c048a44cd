"""Sources in object stores, of each layout that stores have, give the data sets that they give on a disk."""

import gzip

import numpy as np
import pytest

from tests.helpers import Digits, contents, run_in_process
from tests.pictures import write_rows
from tests.pipeline.sources.test_class_order import write_named_csv
from tests.pipeline.sources.test_tfrecord_source import write_records

pytestmark = pytest.mark.thorough


def write_csv(folder):
    write_named_csv(folder)
    train = folder / "train.csv"
    (folder / "train.csv.gz").write_bytes(gzip.compress(train.read_bytes(), mtime=0))
    train.unlink()


def write_tfrecord(folder):
    write_records(folder / "mnist", name="{}.tfrecord.gz", change=gzip.compress)


def write_numpy(folder):
    folder.mkdir(parents=True)
    arrays = (*Digits().split(0, 60), *Digits().split(1, 20))
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez_compressed(folder / "digits.npz", **dict(zip(names, arrays, strict=True)))


def write_idx(folder):
    Digits().write(folder / "MNIST" / "raw", compress=True)


WRITERS = {"csv": write_csv, "tfrecord": write_tfrecord, "numpy": write_numpy, "parquet": write_rows, "idx": write_idx}


def upload(store, folder, name):
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def data_sets(files):
    return {name: data for name, data in files.items() if name.startswith("datasets/") and "validation" not in name}


@pytest.fixture
def preprocess_both(store, run_in_store, tmp_path):
    """Preprocesses what --dataset names below a folder, on this disk and in a store; returns both data sets' files."""

    def preprocess(folder, name, *options):
        remote = f"{tmp_path.name}-source"
        upload(store, folder, remote)
        for where, run in ((store.uri(remote), run_in_store), (folder, run_here)):
            dataset = ",".join(f"{where}/{each}".rstrip("/") for each in name.split(","))
            done = run("preprocess", "--dataset", dataset, *options)
            assert done.code == 0, done.err
        return data_sets(store.visible(tmp_path.name)), data_sets(contents(tmp_path / "ws"))

    def run_here(command, *arguments):
        return run_in_process(command, "--workspace", tmp_path / "ws", *arguments)

    return preprocess


@pytest.mark.parametrize("layout", WRITERS)
def test_folder_in_a_store_is_a_source(layout, preprocess_both, tmp_path):
    WRITERS[layout](tmp_path / "files" / "digits")
    in_store, here = preprocess_both(tmp_path / "files", "digits")
    assert in_store == here


PATTERNS = {
    "csv": "rows/train-*.csv.gz,rows/te*.csv",
    "parquet": "rows/train-*.parquet,rows/te*.parquet",
    "tfrecord": "rows/mnist/train-*.tfrecord.gz,rows/mnist/te*.tfrecord.gz",
}


@pytest.mark.parametrize(
    "layout", ["csv", *(pytest.param(name, marks=pytest.mark.slow) for name in PATTERNS if name != "csv")]
)
def test_pattern_of_files_in_a_store_is_a_source(layout, preprocess_both, tmp_path):
    WRITERS[layout](tmp_path / "files" / "rows")
    for path in [path for path in tmp_path.rglob("t*.*") if path.is_file()]:
        path.rename(path.with_name(path.name.replace(".", "-1.", 1)))
    in_store, here = preprocess_both(tmp_path / "files", PATTERNS[layout])
    assert in_store == here


def test_pattern_of_sources_in_a_store_joins_them(preprocess_both, tmp_path):
    for seed, day in enumerate(("day-1", "day-2")):
        Digits(seed=seed).write(tmp_path / "files" / "incoming" / day)
    (tmp_path / "files" / "incoming" / "readme.txt").write_text("")
    in_store, here = preprocess_both(tmp_path / "files", "incoming/day-*")
    assert in_store == here
    assert len([name for name in here if name.endswith("manifest.json")]) == 3


def test_idx_files_of_one_prefix_and_one_split_in_a_store_are_a_source(preprocess_both, tmp_path):
    for name, data in list(Digits().files().items())[:2]:
        for prefix in ("a", "b"):
            (tmp_path / "files" / "gzip").mkdir(parents=True, exist_ok=True)
            (tmp_path / "files" / "gzip" / f"{prefix}-{name}.gz").write_bytes(gzip.compress(data))
    in_store, here = preprocess_both(tmp_path / "files", "gzip/b", "--test-share", 0.3)
    assert in_store == here
    assert next(iter(here)).startswith("datasets/b-")
