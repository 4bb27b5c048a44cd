"""Patterns of sources and of files, in folders and in stores, which are listed once."""

import shutil

import numpy as np
import pytest

from model.errors import BadInput
from pipeline.sources.idx_files import find_idx_files
from pipeline.sources.source_patterns import expand_source, expand_sources
from pipeline.storage.object_store import ObjectStore
from tests.helpers import Digits, write_files
from tests.pictures import scan_folder, write_rows

ROOT = "memory://bucket"


@pytest.fixture
def listings(memory, monkeypatch):
    """The folders that are listed, with all below or alone."""
    listed = []
    for name in ("walk", "list_folder"):
        method = getattr(ObjectStore, name)
        monkeypatch.setattr(
            ObjectStore, name, lambda self, uri, method=method: (listed.append(uri), method(self, uri))[1]
        )
    return listed


def upload(memory, folder, name):
    for path in folder.rglob("*"):
        if path.is_file():
            memory[f"{ROOT}/{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return f"{ROOT}/{name}"


def test_pattern_stands_for_the_folders_and_files_that_match(tmp_path, memory, listings):
    for place in ("day-2/x", "day-1/x", "day-1/y", ".hidden/x", "other/x", "day-3"):
        memory[f"{ROOT}/in/{place}"] = b""
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    days = ["day-1", "day-2", "day-3"]
    assert expand_sources([f"{ROOT}/in/day-*", "mnist"]) == (*(f"{ROOT}/in/{day}" for day in days), "mnist")
    assert listings == [f"{ROOT}/in/day-*", f"{ROOT}/in"]
    assert expand_source(f"{ROOT}/in/*/x") == [f"{ROOT}/in/{name}/x" for name in ("day-1", "day-2", "other")]
    assert expand_source(f"{ROOT}/*/[do]*") == [f"{ROOT}/in/{name}" for name in (*days, "other")]
    assert expand_source(str(tmp_path / "day-*")) == [str(tmp_path / day) for day in days]
    for nothing in (f"{ROOT}/in/night-*", str(tmp_path / "night-*")):
        with pytest.raises(BadInput, match="nothing fits this pattern"):
            expand_sources([nothing])
    memory[f"{ROOT}/in/a[1]/x"] = b""
    assert expand_source(f"{ROOT}/in/a[1]") == [f"{ROOT}/in/a[1]"]


def test_patterns_of_files_of_a_split_are_left_to_the_layouts(tmp_path):
    for name in ("1.npz", "2.npz", "1.csv"):
        (tmp_path / name).write_bytes(b"")
    names = (f"{tmp_path}/*.csv", f"{tmp_path}/train-*.parquet,{tmp_path}/test.parquet", "s3://b/in/part-*.tfrecord")
    assert expand_sources(names) == names
    assert expand_source(names[0]) == [str(tmp_path / "1.csv")]
    assert expand_source(names[1]) == [names[1]]
    assert expand_sources([f"{tmp_path}/*.npz"]) == (str(tmp_path / "1.npz"), str(tmp_path / "2.npz"))


def test_pattern_of_files_in_a_store_lists_the_folder_once(tmp_path, memory, listings):
    rows = write_rows(tmp_path / "rows")
    for number in range(2):
        shutil.copy(rows / "test.parquet", rows / f"part-{number}.parquet")
    place = upload(memory, rows, "in")
    scans = scan_folder(f"{place}/part-*.parquet", test_share=0.5)
    assert listings == [place]
    assert scans.infos == scan_folder(f"{rows}/part-*.parquet", test_share=0.5).infos


def test_folder_in_a_store_is_listed_once(tmp_path, memory, listings):
    np.savez(tmp_path / "digits.npz", **dict(zip(("x_train", "y_train"), Digits().split(0, 60), strict=True)))
    place = upload(memory, tmp_path, "arrays")
    assert scan_folder(place, test_share=0.5).splits["train"].num_examples == 60
    assert listings == [place]


@pytest.mark.parametrize("below", ["raw", "gzip", "MNIST/raw"])
def test_idx_files_below_a_folder_of_a_store_are_found(below, tmp_path, memory, digits_folder, listings):
    write_files(tmp_path / "place" / below, {name.upper(): data for name, data in Digits().files().items()}, True)
    place = upload(memory, tmp_path / "place", "place")
    assert scan_folder(place).infos == scan_folder(digits_folder).infos
    assert set(listings) == {place}
    assert len(listings) <= 2


def test_idx_files_of_a_prefix_in_a_store_are_found(tmp_path, memory, digits_folder):
    for prefix in ("a", "b"):
        files = Digits(seed="ab".index(prefix)).files()
        write_files(tmp_path, {f"{prefix}-{name}": data for name, data in files.items()})
    place = upload(memory, tmp_path, "gzip")
    assert scan_folder(f"{place}/a").infos == scan_folder(digits_folder).infos
    assert [file.name[:2] for file in find_idx_files(f"{place}/b")] == ["b-"] * 4
    with pytest.raises(BadInput, match="several data sets: name one with --dataset, such as memory://bucket/gzip/a, "):
        scan_folder(place)
    for missing in (f"{place}/c", "memory://empty"):
        with pytest.raises(BadInput, match="nothing of that kind is there"):
            scan_folder(missing)


def test_files_of_a_store_are_named_with_commas_between_them(tmp_path, memory):
    place = upload(memory, write_rows(tmp_path / "rows"), "rows")
    found = scan_folder(f"{place}/train.parquet,{place}/te*.parquet")
    assert found.infos == scan_folder(tmp_path / "rows").infos
