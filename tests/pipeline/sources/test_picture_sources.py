"""Data sets of Parquet files and of directory trees, built by the job and by the command."""

import pytest

from model.errors import BadInput
from pipeline.preprocess.beam_job import preprocess
from pipeline.preprocess.manifest import PreprocessConfig, dataset_id
from tests.helpers import Digits, contents, run_in_process
from tests.pictures import scan_folder, write_rows, write_tree

CONFIG = PreprocessConfig(seed=1, num_shards=4)


def build(source, parent):
    scans = scan_folder(source)
    folder = parent / dataset_id("digits", scans.class_names, CONFIG, scans.infos)
    preprocess(scans, "digits", CONFIG, folder, 0, [])
    return folder


def write_idx(folder, digits=None):
    return (digits or Digits()).write(folder)


def shards_of(folder):
    return {name: data for name, data in contents(folder).items() if name.endswith(".tfrecord")}


@pytest.mark.parametrize("nested", [True, False])
def test_parquet_rows_give_the_same_shards_as_idx_files(nested, digits_folder, tmp_path):
    expected = shards_of(build(digits_folder, tmp_path / "a"))
    assert len(expected) == 6
    assert shards_of(build(write_rows(tmp_path / "rows", nested=nested), tmp_path / "b")) == expected


@pytest.mark.parametrize("write", [write_rows, write_tree, write_idx])
def test_source_that_changes_after_its_scan_is_rejected(write, tmp_path):
    folder = write(tmp_path / "source")
    scans = scan_folder(folder)
    write(folder, Digits(seed=1))
    with pytest.raises(BadInput, match="changed while it was read"):
        preprocess(scans, "x", CONFIG, tmp_path / "out" / "x", 99, [])
    assert list((tmp_path / "out").iterdir()) == []


def test_preprocess_command_accepts_columns_and_image_size(tmp_path):
    folder = write_rows(tmp_path / "rows", columns=("picture", "digit"))
    options = ("--workspace", tmp_path / "ws", "--dataset", folder, "--image-size", "5x4", "--json")
    done = run_in_process("preprocess", *options)
    assert done.code == 0, done.err
    assert done.json["num_examples"] == {"train": 60, "test": 20}
