import os

import pytest

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import split_file_names
from pipeline.sources.source_lookup import find_source
from tests.pictures import scan_folder, write_rows, write_tree


@pytest.mark.parametrize(
    ("dataset", "data_dir", "message"),
    [
        (
            "mnits",
            None,
            r"no data set 'mnits' \(did you mean 'mnist'\?\): neither a folder nor one of mnist-5k, mnist, ",
        ),
        (".", ".", "--data-dir goes with a known data set"),
        ("x.parquet", None, r"expected the two files TRAIN\.parquet,TEST\.parquet"),
    ],
)
def test_wrong_option_is_reported(dataset, data_dir, message, tmp_path):
    with pytest.raises(BadUsage, match=message):
        find_source(dataset, data_dir, tmp_path)


def test_two_parquet_files_separated_by_a_comma_are_a_source(tmp_path):
    folder = write_rows(tmp_path / "pair")
    assert scan_folder(f"{folder}/train.parquet,{folder}/test.parquet").infos == scan_folder(folder).infos
    with pytest.raises(BadInput, match=r"no file .*none\.parquet"):
        scan_folder(f"{folder}/train.parquet,{folder}/none.parquet")


def test_path_of_one_file_may_have_commas(tmp_path):
    folder = write_rows(tmp_path / "a,b")
    expected = scan_folder(folder / "train.parquet", test_share=0.3)
    assert expected.splits["test"].num_examples == 60
    assert scan_folder(write_rows(tmp_path / "c") / "train.parquet", test_share=0.3).infos == expected.infos


def test_many_names_with_commas_between_them_are_no_long_path(tmp_path):
    names = ",".join(f"part-{number}.csv" for number in range(200))
    assert len(split_file_names(names)) == 200
    with pytest.raises(BadUsage, match=r"expected the two files TRAIN\.csv,TEST\.csv"):
        find_source(names, None, tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}.csv,y.csv", f"~/{'x' * 300}.npz"])
def test_name_too_long_for_a_file_is_bad_input(name, tmp_path):
    with pytest.raises(BadInput, match=r"xxx \.\.\.: the name is too long to be that of a file"):
        find_source(name, None, tmp_path)


def test_exchanged_files_of_two_splits_are_refused_and_parts_of_one_are_not(tmp_path):
    folder = write_rows(tmp_path)
    with pytest.raises(BadUsage, match=r"test\.parquet is in the place of the train split; the order is train, test$"):
        scan_folder(f"{folder}/test.parquet,{folder}/train.parquet")
    (folder / "more.parquet").write_bytes((folder / "train.parquet").read_bytes())
    with pytest.raises(BadUsage, match=r"test\.parquet is in the place of the train split"):
        scan_folder(f"{folder}/test.parquet,{folder}/more.parquet")
    (folder / "test.parquet").rename(folder / "train-2.parquet")
    assert scan_folder(f"{folder}/train.parquet,{folder}/train-2.parquet").splits["test"].num_examples == 20


@pytest.mark.parametrize("name", ["notes.parquet", "old.tfrecord"])
def test_file_of_no_split_beside_a_tree_of_pictures_is_ignored(name, tmp_path):
    expected = scan_folder(write_tree(tmp_path)).infos
    (tmp_path / name).write_bytes(b"no part of it")
    assert scan_folder(tmp_path).infos == expected


def test_parquet_name_of_a_pipe_is_not_opened(tmp_path):
    write_rows(tmp_path)
    (tmp_path / "train.parquet").unlink()
    os.mkfifo(tmp_path / "train.parquet")
    with pytest.raises(BadInput, match=r"train\.parquet is no file, nor a link to one"):
        scan_folder(tmp_path)


@pytest.mark.parametrize("name", ["digits", "train-test", "testimony-1"])
def test_parquet_file_of_no_split_is_rejected(name, tmp_path):
    (write_rows(tmp_path) / "train.parquet").rename(tmp_path / f"{name}.parquet")
    with pytest.raises(BadInput, match=rf"{name}\.parquet is of no split: expected Parquet files whose names have"):
        scan_folder(tmp_path)
