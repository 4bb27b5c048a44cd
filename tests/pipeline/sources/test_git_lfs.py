"""Pointers of Git LFS in place of the files of a data set."""

import pytest

from model.errors import BadInput
from pipeline.evaluate.image_files import ModelImages, read_items
from pipeline.sources.catalog import FILE_NAMES
from pipeline.sources.git_lfs import POINTER
from tests.pictures import scan_folder, write_rows, write_tree

TEXT = POINTER + b"v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("train.csv", "test.csv"),
        ("train.tfrecord", "test.tfrecord"),
        tuple(f"{name}.gz" for name in FILE_NAMES),
        ("mnist.npz",),
        ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"),
    ],
    ids=lambda names: names[0],
)
def test_pointers_are_named_with_advice(names, tmp_path):
    for name in names:
        (tmp_path / name).write_bytes(TEXT)
    for place in (tmp_path, ",".join(f"{tmp_path}/{name}" for name in names)):
        if not str(place).endswith(".gz"):  # IDX files are not named one by one
            with pytest.raises(BadInput, match="is a pointer of Git LFS: `git lfs pull` in its folder fetches"):
                scan_folder(place)


def test_pointers_among_pictures_are_named(tmp_path):
    pictures = sorted(write_tree(tmp_path).glob("train/*/*"))
    for picture in pictures:
        picture.write_bytes(TEXT)
    with pytest.raises(BadInput, match=r"no picture .* a pointer of Git LFS, which `git lfs pull` replaces"):
        scan_folder(tmp_path)
    with pytest.raises(BadInput, match="a pointer of Git LFS"):
        list(read_items(str(pictures[0]), ModelImages(5, 4, ("a",))))


def test_one_pointer_among_files_is_found(tmp_path):
    (write_rows(tmp_path) / "test.parquet").write_bytes(TEXT)
    with pytest.raises(BadInput, match=r"test\.parquet is a pointer of Git LFS"):
        scan_folder(tmp_path)
