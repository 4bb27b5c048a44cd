import gzip

import numpy as np
import pytest

from model.errors import BadInput
from pipeline.sources.catalog import FILE_NAMES
from pipeline.sources.found_layout import describe_found
from pipeline.sources.source_lookup import WHAT_IS_READ, find_source, scan_source
from tests.helpers import Digits, idx_bytes, write_files
from tests.pictures import png, write_tree


def classes_alone(folder):
    write_tree(folder.with_name("tree"))
    (folder.with_name("tree") / "train").rename(folder)


def tables(folder):
    folder.mkdir()
    for name in ("a.csv", "b.csv", "c.CSV", "d.csv", "x.pkl", "notes"):
        (folder / name).write_text("label,pixel0\n")
    (folder / "1.png").write_bytes(png(np.zeros((2, 2), np.uint8)))


FOUND = {
    "empty": (lambda folder: folder.mkdir(), "found an empty folder. What is read: a folder of the four"),
    "tables": (tables, r"found 4 CSV files \(a.csv, b.csv, c.CSV ...\); 1 other file \(notes\); 1 pickle \(x.pkl\)"),
    "file": (lambda folder: folder.write_text("label\n"), "is no folder but a file"),
    "classes alone": (classes_alone, r"found 3 folders \(0, 1, 2\): folders of pictures, but no splits: put some"),
    "archives": (
        lambda folder: folder.mkdir() or [(folder / name).touch() for name in ("a.zip", "b.tar.xz", "usps.bz2")],
        r"found 3 archives \(a\.zip, b\.tar\.xz, usps\.bz2\): unpack the archive first\. What is read",
    ),
    "classes of splits": (
        lambda folder: [(folder / name).mkdir(parents=True) for name in ("a/train", "a/test", "b/train", "b/test")],
        r"found 2 folders \(a, b\)\. What is read",
    ),
    "a data set below": (
        lambda folder: write_tree(folder / "digits"),
        r"found 1 folder \(digits\); there are data sets in it, name one: .*/place/digits\. What is read",
    ),
    "train alone": (lambda folder: (folder / "train").mkdir(parents=True), "there is train/ but no test/"),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_there_and_what_is_read_are_said(case, tmp_path):
    make, message = FOUND[case]
    make(tmp_path / "place")
    with pytest.raises(BadInput, match=message) as caught:
        find_source(str(tmp_path / "place"), None, None)
    assert WHAT_IS_READ in str(caught.value)
    assert str(tmp_path / "place") in str(caught.value)


def test_idx_files_of_other_types_are_described(tmp_path):
    images = idx_bytes(0x804, np.zeros((60, 5, 4, 3)))
    write_files(tmp_path / "idx", Digits().files() | {FILE_NAMES[0]: images})
    with pytest.raises(
        BadInput, match=r"0x00000804 \(uint8 of 4 dimensions\), expected 0x00000803 \(images: uint8 of 3"
    ):
        scan_source(find_source(str(tmp_path / "idx"), None, None))
    (tmp_path / "idx" / FILE_NAMES[0]).write_bytes(gzip.compress(b"<!DOCTYPE html>"))
    with pytest.raises(BadInput, match=r"\(no IDX file\)"):
        scan_source(find_source(str(tmp_path / "idx"), None, None))


def test_many_entries_are_cut(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.npz").touch()
    assert describe_found(tmp_path) == "found 5 NumPy files (0.npz, 1.npz, 2.npz ...)"


@pytest.mark.parametrize("name", ["a.zip", "a.TAR.gz", "a.tgz", "a.tar.xz"])
def test_archive_is_to_be_unpacked(name, tmp_path):
    (tmp_path / name).touch()
    assert describe_found(tmp_path / name) == "no folder but a file (archive): unpack it first"
    assert describe_found(tmp_path) == f"found 1 archive ({name}): unpack the archive first"


def test_what_the_folder_of_a_split_holds_is_said(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "data.arrow").write_bytes(b"ARROW1")
    expected = r"train/data\.arrow: expected folders, one a class in .*/train; found 1 Arrow file \(data\.arrow\)"
    with pytest.raises(BadInput, match=expected):
        scan_source(find_source(str(tmp_path), None, None))
