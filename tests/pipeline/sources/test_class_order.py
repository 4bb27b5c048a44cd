"""Sources are joined by the names of their classes, whatever the order of their labels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput, BadUsage
from pipeline.maintenance.rebuild import rebuild_dataset
from pipeline.sources.source_lookup import find_source, scan_source
from tests.helpers import Digits, contents, labels_bytes, run_in_process, write_files
from tests.pictures import read_blocks, rows_table, split_of, write_rows, write_tree

SQUARE = Digits(width=5)
NAMES = ("pear", "apple", "fig")  # in the order of the labels of Digits


def scan(place, class_names=(), num_classes=None):
    return scan_source(find_source(str(place), None, Path("no-cache")), num_classes, class_names=class_names)


def write_named_rows(folder, names=NAMES, digits=SQUARE):
    return write_rows(folder, digits, names=list(names))


def write_named_csv(folder, digits=SQUARE, names=NAMES):
    folder.mkdir(parents=True)
    for number, (split, total) in enumerate((("train", digits.num_train), ("test", digits.num_test))):
        images, labels = digits.split(number, total)
        rows = [
            f"{names[label]},{','.join(map(str, image.reshape(-1)))}"
            for image, label in zip(images, labels, strict=True)
        ]
        header = ",".join(["label", *map(str, range(digits.height * digits.width))])
        (folder / f"{split}.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def names_of(scans, split):
    return {
        image.tobytes(): scans.class_names[label]
        for block in read_blocks(scans, split)
        for image, label in zip(block.examples.images, block.examples.labels, strict=True)
    }


def test_labels_are_those_of_the_names_in_the_first_source(tmp_path):
    own = scan(write_named_csv(tmp_path / "csv"))
    assert own.class_names == ("apple", "fig", "pear")
    joined = scan(tmp_path / "csv", NAMES)
    assert joined.class_names == NAMES
    assert joined.infos != own.infos
    for number, (split, total) in enumerate((("train", 60), ("test", 20))):
        [block] = read_blocks(joined, split)
        assert np.array_equal(block.examples.labels, SQUARE.split(number, total)[1])
        assert names_of(joined, split) == names_of(own, split)


def test_source_whose_order_is_that_of_the_first_keeps_its_identity(tmp_path):
    own = scan(write_named_rows(tmp_path / "rows"))
    assert scan(tmp_path / "rows", NAMES) == own


def test_rows_that_are_named_in_another_order_are_another_source(tmp_path):
    first = scan(write_named_rows(tmp_path / "first", ("apple", "fig", "pear")), NAMES)
    second = scan(write_named_rows(tmp_path / "second", ("fig", "apple", "pear")), NAMES)
    assert first.infos != second.infos
    assert names_of(first, "test") != names_of(second, "test")


def test_fewer_classes_are_joined_and_another_class_is_named(tmp_path):
    rows = write_named_csv(tmp_path / "csv")
    assert scan(rows, (*NAMES, "plum")).class_names == (*NAMES, "plum")
    with pytest.raises(
        BadInput, match=r"csv has classes that the first source has not: apple, pear; the first one has "
    ):
        scan(rows, ("fig", "plum"))
    with pytest.raises(BadUsage, match=r"--num-classes 4: csv has its own classes, 3 of them"):
        scan(rows, num_classes=4)
    assert scan(rows, (*NAMES, "plum"), num_classes=4).class_names == (*NAMES, "plum")


@pytest.mark.parametrize("labels", [[0, 1, 4], [0, 1, 2]])
def test_labels_that_are_numbers_are_the_names_of_classes(labels, tmp_path):
    numbers = tuple("01234")
    files = {
        name: labels_bytes(np.array(labels)[np.frombuffer(data[8:], np.uint8)]) if "labels" in name else data
        for name, data in SQUARE.files().items()
    }
    source = write_files(tmp_path / "idx", files)
    tree = write_tree(tmp_path / "tree", Digits(width=5, num_classes=5))
    scans = scan(source, scan(tree).class_names)
    assert scans.class_names == numbers
    assert scans.infos == scan(source, num_classes=5).infos
    assert {int(name) for name in names_of(scans, "train").values()} == {*labels}
    with pytest.raises(BadInput, match="classes that the first source has not: 0, 1, 2"):
        scan(write_files(tmp_path / "two", SQUARE.files()), NAMES)


def test_class_folders_that_are_numbers_are_joined_with_idx_files(tmp_path):
    tree = write_tree(tmp_path / "tree", SQUARE)
    for split in ("train", "test"):
        shutil.rmtree(tree / split / "1")
    scans = scan(tree, scan(write_files(tmp_path / "idx", SQUARE.files())).class_names)
    assert scans.class_names == ("0", "1", "2")
    assert set(names_of(scans, "test").values()) == {"0", "2"}


def test_rejected_examples_count_for_the_class_of_the_first_source(tmp_path):
    pictures, labels = split_of(SQUARE, "train")
    write_named_rows(tmp_path / "rows", ("apple", "fig", "pear"))
    pictures[0] = b"no picture"
    pq.write_table(rows_table(pictures, labels, names=["apple", "fig", "pear"]), tmp_path / "rows" / "train.parquet")
    [block] = read_blocks(scan(tmp_path / "rows", NAMES), "train")
    assert [NAMES[each.label] for each in block.rejected] == ["apple"]


@pytest.mark.thorough
def test_command_joins_by_name_and_a_part_is_made_again_alone(tmp_path):
    first = write_named_rows(tmp_path / "first", digits=Digits(width=5, seed=3))
    second = write_named_csv(tmp_path / "second", Digits(31, 9, width=5))
    workspace = tmp_path / "ws"
    options = ("preprocess", "--workspace", workspace, "--json", "--dataset")
    done = run_in_process(*options, first, "--dataset", second)
    assert done.code == 0, done.err
    part = done.json["parts"][1]
    manifest = read_manifest(workspace, part)
    assert manifest["class_names"] == [*NAMES]
    assert manifest["splits"]["train"]["class_counts"] == [11, 10, 10]
    assert read_manifest(workspace, done.json["dataset_id"])["splits"]["train"]["class_counts"] == [31, 30, 30]
    alone = run_in_process(*options, second)
    assert alone.json["dataset_id"] != part
    assert contents(rebuild_dataset(workspace, part, tmp_path / "scratch").folder) == contents(
        workspace / "datasets" / part
    )
    rebuilt = rebuild_dataset(workspace, done.json["dataset_id"], tmp_path / "scratch")
    assert rebuilt.folder.name == done.json["dataset_id"]


def read_manifest(workspace, name):
    return json.loads((workspace / "datasets" / name / "manifest.json").read_bytes())
