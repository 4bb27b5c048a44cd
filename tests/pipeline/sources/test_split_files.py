"""A validation split beside train and test, in every layout; and files whose split is not clear."""

import os
from pathlib import Path

import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from tests.helpers import Digits, contents
from tests.pictures import read_blocks, scan_folder, write_rows
from tests.three_splits import WRITERS, digits_of, write_splits

TWO = {"train": "train", "test": "test"}
THREE = TWO | {"validation": "val"}
LAYOUTS = pytest.mark.parametrize("layout", WRITERS)


def scan(folder, **options):
    size = (5, 4) if list(folder.glob("*.csv")) else None
    return scan_folder(folder, image_size=size, **options)


def images_of(scans, split):
    found = [block.examples.images for block in read_blocks(scans, split)]
    return np.sort(np.concatenate(found), axis=0)


@LAYOUTS
def test_validation_is_a_split_of_its_own_and_changes_no_other(layout, tmp_path):
    two = scan(write_splits(tmp_path / "two", layout, TWO))
    three = scan(write_splits(tmp_path / "three", layout, THREE))
    assert list(three.splits) == ["train", "test", "validation"]
    assert {split: three.splits[split].infos for split in TWO} == {split: two.splits[split].infos for split in TWO}
    assert three.class_names == two.class_names
    assert three.splits["validation"].num_examples == 15


@LAYOUTS
def test_validation_without_test_is_the_test_split_and_is_said_to_be(layout, tmp_path, capsys):
    folder = write_splits(tmp_path / "digits", layout, {"train": "train", "validation": "val"})
    scans = scan(folder)
    assert list(scans.splits) == ["train", "test"]
    assert scans.splits["test"].num_examples == 15
    said = " ".join(capsys.readouterr().err.split())
    assert "there is no test split, so the validation split is read as the test split" in said
    as_test = write_splits(tmp_path / "same", layout, {"train": "train", "validation": "test"})
    assert scan(as_test).infos == scans.infos
    assert not capsys.readouterr().err


@pytest.mark.parametrize("word", ["val", "valid", "Validation"])
@pytest.mark.parametrize("layout", [layout for layout in WRITERS if layout != "numpy"])
def test_every_word_of_validation_is_the_same_source(word, layout, tmp_path):
    found = scan(write_splits(tmp_path / "x", layout, THREE | {"validation": word}))
    assert found.infos == scan(write_splits(tmp_path / "y", layout, THREE)).infos
    if layout in ("tree", "parquet", "csv"):
        assert np.array_equal(
            images_of(found, "validation"), np.sort(digits_of("validation")[0].reshape(15, -1), axis=0)
        )


@pytest.mark.parametrize("layout", ["tree", "parquet", "csv", "tfrecord"])
def test_a_test_split_is_held_out_from_train_alone(layout, tmp_path):
    scans = scan(write_splits(tmp_path / "x", layout, {"train": "train", "validation": "val"}), test_share=0.3)
    assert list(scans.splits) == ["train", "test", "validation"]
    sizes = {split: sum(len(block.examples.labels) for block in read_blocks(scans, split)) for split in scans.splits}
    assert sizes["train"] + sizes["test"] == 60
    assert sizes["test"] > 0
    assert sizes["validation"] == 15


@pytest.mark.parametrize("layout", ["idx", "numpy"])
def test_half_a_validation_split_is_no_split(layout, tmp_path, capsys):
    folder = write_splits(tmp_path / "x", layout, THREE)
    if layout == "idx":
        (folder / "val-labels-idx1-ubyte").unlink()
        with pytest.raises(BadInput, match="missing validation-labels-idx1-ubyte"):
            scan(folder)
        return
    content = dict(np.load(folder / "digits.npz"))
    del content["val_labels"]
    np.savez(folder / "digits.npz", **content)
    assert list(scan(folder).splits) == ["train", "test"]
    assert "the arrays val_images are not used" in " ".join(capsys.readouterr().err.split())


def test_three_files_are_named_in_the_order_of_the_splits(tmp_path):
    folder = write_splits(tmp_path / "x", "csv", THREE)
    train, test, validation = (folder / f"digits_{word}.csv" for word in ("train", "test", "val"))
    expected = scan_folder(folder, image_size=(5, 4))
    assert scan_folder(f"{train},{test},{validation}", image_size=(5, 4)).infos == expected.infos
    with pytest.raises(
        BadUsage, match=r"digits_val\.csv is in the place of the test split; the order is train, test, v"
    ):
        scan_folder(f"{train},{validation},{test}", image_size=(5, 4))


def test_six_arrays_are_named_in_the_order_of_the_splits(tmp_path):
    folder = write_splits(tmp_path / "x", "numpy", THREE)
    expected = scan_folder(folder)
    names = [f"{word}_{kind}" for word in ("train", "test", "val") for kind in ("images", "labels")]
    assert scan_folder(folder, arrays=tuple(names)).infos == expected.infos
    with pytest.raises(BadUsage, match="--arrays: val_images is in the place of the test split"):
        scan_folder(folder, arrays=(*names[:2], *names[4:], *names[2:4]))
    for name, values in np.load(folder / "digits.npz").items():
        np.save(tmp_path / f"{name}.npy", values)
    assert scan_folder(",".join(str(tmp_path / f"{name}.npy") for name in names)).infos == expected.infos


def test_a_class_that_train_lacks_and_a_split_without_images_are_refused(tmp_path):
    folder = write_splits(tmp_path / "x", "tree", THREE)
    (folder / "val" / "9").mkdir()
    with pytest.raises(BadInput, match=r"val/9: no class of that name in .*train"):
        scan(folder)
    folder = write_splits(tmp_path / "y", "tree", TWO)
    (folder / "valid").mkdir()
    with pytest.raises(BadInput, match="valid: the split is empty"):
        scan(folder)


def test_folders_may_have_names_of_files(tmp_path):
    expected = scan_folder(write_rows(tmp_path / "rows")).infos
    for split in ("train", "test"):
        part = tmp_path / f"spark/{split}.parquet/part-00000.parquet"
        part.parent.mkdir(parents=True)
        (tmp_path / f"rows/{split}.parquet").rename(part)
    assert scan_folder(tmp_path / "spark").infos == expected
    train = tmp_path / "spark/train.parquet"
    parts = [scan_folder(place, test_share=0.3) for place in (train, train / "part-00000.parquet")]
    assert parts[0].infos == parts[1].infos


def test_a_file_of_no_split_or_of_several_is_refused(tmp_path):
    folder = write_splits(tmp_path / "x", "parquet", THREE)
    (folder / "train-val.parquet").touch()
    with pytest.raises(BadInput, match=r"train-val\.parquet is of no split: expected Parquet files whose names have"):
        scan(folder)


@pytest.mark.parametrize("splits", [TWO, {"train": "train"}])
def test_several_data_sets_in_a_folder_are_not_read_as_one(splits, tmp_path):
    for name, words in (("a", TWO), ("b", splits)):
        write_splits(tmp_path / name, "csv", words)
    with pytest.raises(
        BadInput, match=r"holds several data sets: .*/a has a train and a test split, .* others in .*/b"
    ):
        scan(tmp_path)


def test_file_of_no_split_beside_train_is_not_left_out_of_what_is_divided(tmp_path):
    folder = write_splits(tmp_path / "x", "csv", {"train": "train"})
    (folder / "extra.csv").write_bytes((folder / "digits_train.csv").read_bytes())
    with pytest.raises(BadInput, match=r"extra\.csv is of no split"):
        scan(folder, test_share=0.3)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("nothing")])
@pytest.mark.parametrize("options", [{}, {"split_by": "label"}])
def test_what_a_pattern_matches_must_be_files(make, options, tmp_path):
    folder = write_splits(tmp_path / "x", "csv", TWO)
    make(folder / "digits_train2.csv")
    named = f"{folder}/digits_train*.csv" + ("" if options else f",{folder}/digits_test.csv")
    with pytest.raises(BadInput, match=r"digits_train2\.csv is (no file, nor a link to one|missing)"):
        scan_folder(named, image_size=(5, 4), **options)


def test_idx_files_of_a_store_have_a_validation_split_too(memory, tmp_path):
    folder = write_splits(tmp_path / "x", "idx", THREE | {"test": "t10k"})
    memory.update({f"memory://b/digits/{name}": data for name, data in contents(folder).items()})
    assert scan_folder("memory://b/digits").infos == scan(folder).infos
    assert list(scan(folder).splits) == ["train", "test", "validation"]


def test_known_data_set_has_no_validation_split(tmp_path):
    from pipeline.sources.source_lookup import find_source

    Digits().write(tmp_path)
    for name in ("val-images-idx3-ubyte", "val-labels-idx1-ubyte"):
        (tmp_path / name).touch()
    assert len(find_source("mnist", str(tmp_path), None).files) == 4
