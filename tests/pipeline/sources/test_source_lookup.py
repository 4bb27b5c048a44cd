import os

import pytest

from model.errors import BadInput, BadUsage
from pipeline.sources.source_lookup import find_source
from tests.pictures import scan_folder, write_rows


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
