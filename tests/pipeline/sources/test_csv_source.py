"""CSV files of pixels and of paths."""

import gzip
import re
import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from pipeline.preprocess.stage import DatasetConfig, scan_dataset
from pipeline.sources import csv_lines
from pipeline.sources.blocks import ExampleFormat
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.csv_images import read_images
from pipeline.sources.named_columns import NamedColumns
from tests.helpers import Digits, contents, run_in_process
from tests.pictures import SPLITS, read_blocks, read_reasons, scan_folder, split_of

PIXELS = [f"pixel{number}" for number in range(20)]


def lines_of(digits, split, names=("no", "yes", "maybe"), header=True, delimiter=",", label_first=True):
    images, labels = digits.split(SPLITS[split], digits.num_train if split == "train" else digits.num_test)
    rows = [["label", *PIXELS]] if header else []
    rows += [
        [names[label] if names else label, *image.reshape(-1)] for image, label in zip(images, labels, strict=True)
    ]
    rows = rows if label_first else [[*row[1:], row[0]] for row in rows]
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


def write_csv(folder, digits=None, ending="csv", **how):
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        data = lines_of(digits or Digits(), split, **how).encode()
        (folder / f"{split}.{ending}").write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    return folder


def examples_of(scans, split):
    blocks = read_blocks(scans, split)
    return tuple(np.concatenate(parts) for parts in zip(*(block.examples for block in blocks), strict=True))


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ("csv", {}),
        ("tsv", {"delimiter": "\t"}),
        ("csv", {"header": False}),
        ("csv", {"delimiter": ";", "label_first": False}),
    ],
)
def test_any_delimiter_header_and_order_of_columns_gives_the_same_examples(ending, how, tmp_path):
    scans = scan_folder(write_csv(tmp_path, ending=ending, names=None, **how), image_size=(5, 4))
    images, labels = Digits().split(0, 60)
    found = examples_of(scans, "train")
    assert scans.class_names == ("0", "1", "2")
    assert np.array_equal(found[0], np.arange(60))
    assert np.array_equal(found[1], images.reshape(60, -1))
    assert np.array_equal(found[2], labels)


def test_identity_is_that_of_the_lines(tmp_path):
    infos = scan_folder(write_csv(tmp_path / "a"), image_size=(5, 4)).infos
    assert scan_folder(write_csv(tmp_path / "b", ending="csv.gz"), image_size=(5, 4)).infos == infos
    assert scan_folder(write_csv(tmp_path / "c"), image_size=(4, 5)).infos != infos
    named = f"{tmp_path}/a/tr*.csv,{tmp_path}/a/test.csv"
    assert scan_folder(named, image_size=(5, 4)).infos == infos
    assert scan_folder(write_csv(tmp_path / "d", Digits(seed=1)), image_size=(5, 4)).infos != infos


def test_text_labels_are_class_names_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_lines, "PIECE_BYTES", 300)
    scans = scan_folder(write_csv(tmp_path), image_size=(5, 4))
    assert scans.class_names == ("maybe", "no", "yes")
    assert examples_of(scans, "test")[2].tolist() == [(1, 2, 0)[number % 3] for number in range(20)]
    assert len(scans.splits["train"].ranges) > 4


def edit(folder, split, change):
    path = folder / f"{split}.csv"
    path.write_text(change(path.read_text()))


def test_unusable_rows_are_rejected_with_a_reason(tmp_path):
    write_csv(tmp_path)
    header, *rows = lines_of(Digits(), "test").splitlines()
    fields = [row.split(",") for row in rows]
    fields[1][0] = ""
    fields[2][0] = "other"
    fields[3][0] = "2.5"
    fields[4][1] = "256"
    fields[5][2] = "0.5"
    fields[6][3] = "?"
    fields[7][20] = ""
    fields[8][1] = "17.0"
    (tmp_path / "test.csv").write_text("\n".join([header, *map(",".join, fields)]))
    scans = scan_folder(tmp_path, image_size=(5, 4))
    whole = "expected a whole number from 0 to 255"
    assert read_reasons(scans, "test") == {
        "test.csv[1]": "row 1: there is no label",
        "test.csv[2]": "row 2: the label 'other' is of no class of the train split",
        "test.csv[3]": "row 3: the label 2.5 is no whole number",
        "test.csv[4]": f"row 4: the pixel 'pixel0' is 256.0, {whole}",
        "test.csv[5]": f"row 5: the pixel 'pixel1' is 0.5, {whole}",
        "test.csv[6]": f"row 6: the pixel 'pixel2' is '?', {whole}",
        "test.csv[7]": f"row 7: the pixel 'pixel19' is missing, {whole}",
    }
    assert examples_of(scans, "test")[1][1][0] == 17


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.csv: the file is empty"),
        ("label,a,b,c,d\n", "train.csv: the split is empty: there is nothing after the header"),
        ("label,a,b,c,d\n1,2,3,4,5\n1,2\n", "train.csv: no sound CSV: Expected 5 columns, got 2: 1,2"),
        ("label,a,b,c\n1,2,3,4\n", "train.csv: 3 pixels in an image, which is no square: give the size"),
        ("a,b,c,d,e\n1,2,3,4,5\n", "train.csv: no column label, .* name that of the labels with --label-column"),
        ("label\n1\n", "train.csv: 1 columns, expected 2 to"),
        ("label,name\n1,x\n", "train.csv: no columns of pixels and none of paths"),
        ("\ufeffl\0,b\n", "train.csv: a zero byte"),
        ("label,a,b,c,d\n2,2,3,4,5\n", "train.csv: labels go up to 2 but none is 0"),
        ("".join(f"c{number},7,2,3,4\n" for number in range(257)), "train.csv: more than 256 different labels"),
    ],
)
def test_damaged_file_is_rejected(text, message, tmp_path):
    (tmp_path / "train.csv").write_text(text)
    (tmp_path / "test.csv").write_text(text)
    with pytest.raises(BadInput, match=message):
        scan_folder(tmp_path)


def test_header_may_repeat_names_and_follow_a_line_for_excel(tmp_path):
    expected = examples_of(scan_folder(write_csv(tmp_path / "a"), image_size=(5, 4)), "train")
    folder = write_csv(tmp_path / "b", delimiter=";")
    for split in SPLITS:
        edit(folder, split, lambda text: "sep=;\n" + text.replace("pixel1;", "pixel0;").replace("pixel7;", "pixel0;"))
    found = examples_of(scan_folder(folder, image_size=(5, 4)), "train")
    assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("header", [True, False])
def test_parts_without_rows_are_left_out(header, tmp_path):
    whole = write_csv(tmp_path / "whole", header=header)
    parts = write_csv(tmp_path / "parts", header=header)
    for split in SPLITS:
        (parts / f"{split}.csv").rename(parts / f"{split}-2.csv")
        (parts / f"{split}-1.csv").write_text(",".join(["label", *PIXELS]) + "\n")
        (parts / f"{split}-3.csv").write_bytes(b"")
    assert scan_folder(parts, image_size=(5, 4)).infos == scan_folder(whole, image_size=(5, 4)).infos
    (parts / "test-2.csv").unlink()
    with pytest.raises(BadInput, match=r"test-1\.csv: the split is empty: there is nothing after the header"):
        scan_folder(parts, image_size=(5, 4))


def test_ends_of_lines_of_old_macs_are_named(tmp_path):
    folder = write_csv(tmp_path)
    edit(folder, "train", lambda text: text.replace("\n", "\r"))
    with pytest.raises(BadInput, match=r"train\.csv: lines that end in a carriage return alone"):
        scan_folder(folder, image_size=(5, 4))


def test_files_of_different_columns_are_rejected(tmp_path):
    edit(write_csv(tmp_path), "test", lambda text: text.replace("pixel3", "other"))
    with pytest.raises(BadInput, match=r"test\.csv: its columns are not those of .*train\.csv"):
        scan_folder(tmp_path)
    with pytest.raises(
        BadUsage, match=r"--label-column x: .*train\.csv has no such column; its columns: label, pixel0"
    ):
        scan_folder(tmp_path, label_column="x")


@pytest.mark.parametrize("header", [True, False])
def test_test_file_without_labels_is_refused_with_advice(header, tmp_path):
    edit(write_csv(tmp_path, header=header), "test", lambda text: re.sub(r"(?m)^\w+,", "", text))
    with pytest.raises(
        BadInput, match=r"test\.csv: it has no labels: .* give --dataset .*train\.csv --test-share 0\.2"
    ):
        scan_folder(tmp_path, image_size=(5, 4))


@pytest.mark.parametrize("header", [True, False])
def test_images_are_read_with_labels_or_without(header, tmp_path):
    rows = [line.split(",") for line in lines_of(Digits(), "test", header=header).splitlines()]
    images = Digits().split(1, 20)[0]
    for name, lines in (("a.csv", rows), ("b.tsv", [row[1:] for row in rows])):
        delimiter = "," if name == "a.csv" else "\t"
        (tmp_path / name).write_text("\n".join(map(delimiter.join, lines)))
        assert np.array_equal(list(read_images(tmp_path / name, (5, 4), NamedColumns(), transposed=False)), images)
        with pytest.raises(BadInput, match="expected 24 pixels, 6 x 4 as the run's data set"):
            list(read_images(tmp_path / name, (6, 4), NamedColumns(), transposed=False))
    rows[3][2] = "x"
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, rows)))
    with pytest.raises(BadInput, match=r"a\.csv, row [23]: the pixel .* is 'x'"):
        list(read_images(tmp_path / "a.csv", (5, 4), NamedColumns(), transposed=False))


def test_transposed_images_are_turned_upright(tmp_path):
    write_csv(tmp_path / "a", names=None)
    for split in SPLITS:
        (tmp_path / f"a/{split}.csv").rename(tmp_path / f"a/EMNIST-{split}.csv")
    scans = scan_folder(tmp_path / "a", image_size=(4, 5))
    stored, _ = Digits().split(0, 60)
    expected = stored.transpose(0, 2, 1)
    assert np.array_equal(examples_of(scans, "train")[1], expected.reshape(60, -1))
    assert read_blocks(scans, "train")[0].conversions == ("transposed",) * 60
    file = tmp_path / "a/EMNIST-train.csv"
    assert np.array_equal(list(read_images(file, (4, 5), NamedColumns(), transposed=True)), expected)
    as_stored = scan_folder(tmp_path / "a", image_size=(5, 4), transpose=False)
    assert np.array_equal(examples_of(as_stored, "train")[1], stored.reshape(60, -1))


def test_one_file_is_split_by_the_content_of_its_rows(tmp_path):
    folder = write_csv(tmp_path, ending="csv.gz")
    scans = scan_folder(folder / "train.csv.gz", image_size=(5, 4), test_share=0.3)
    with ExitStack() as stack:
        target = ExampleFormat(5, 4, 3)
        ranges = [each for split in SPLITS for each in scans.splits[split].open(stack, tmp_path / "scratch")]
        found = {each.split: next(each.read(target)).examples.indices.tolist() for each in ranges}
    assert sorted(found["train"] + found["test"]) == list(range(60))
    assert 8 < len(found["test"]) < 28
    with pytest.raises(BadUsage, match=r"--test-share 0\.3: .* has a test split, test\.csv\.gz: leave out"):
        scan_folder(folder, image_size=(5, 4), test_share=0.3)
    (folder / "test.csv.gz").unlink()
    assert scan_folder(folder, image_size=(5, 4), test_share=0.3).infos == scans.infos
    with pytest.raises(BadInput, match=r"a split is missing: .*--dataset TRAIN\.csv --test-share 0\.2"):
        scan_folder(folder, image_size=(5, 4))


def write_paths(folder, below=""):
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = ["file_name,label"]
        for number, (data, label) in enumerate(zip(*split_of(Digits(), split), strict=True)):
            path = folder / below / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            lines.append(f"{split}/{number}.png,{('no', 'yes', 'maybe')[label]}")
        (folder / f"{split}.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize("below", ["", "images"])
def test_pictures_are_found_by_their_paths(below, tmp_path):
    scans = scan_folder(write_paths(tmp_path, below))
    images, labels = Digits().split(0, 60)
    found = examples_of(scans, "train")
    assert scans.class_names == ("maybe", "no", "yes")
    assert np.array_equal(found[1], images.reshape(60, -1))
    assert found[2].tolist() == [(1, 2, 0)[label] for label in labels]


def test_pictures_of_a_file_to_predict_are_found_where_preprocessing_found_them(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    for number, data in enumerate(split_of(Digits(), "train")[0]):
        (tmp_path / "train" / f"{number}.png").write_bytes(data)
    file = tmp_path / "labels.csv"
    file.write_text("file_name,label\n" + "".join(f"{number}.png,{number % 3}\n" for number in range(60)))
    assert read_reasons(scan_folder(file, test_share=0.3), "train") == {}
    found = read_images(file, (5, 4), NamedColumns(), transposed=False)
    assert [image.data for image in found] == split_of(Digits(), "train")[0]
    assert capsys.readouterr().err == ""
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    list(read_images(file, (5, 4), NamedColumns(), transposed=False))
    assert "its pictures are taken from" in capsys.readouterr().err


def test_of_several_sources_a_file_of_paths_is_not_transposed(tmp_path, capsys):
    folder = str(write_paths(tmp_path / "named"))
    config = DatasetConfig((folder, "other"), pictures=PictureOptions(transpose=True))
    assert scan_dataset(tmp_path / "ws", config, folder).scans.infos == scan_folder(folder).infos
    assert "is read without --transpose" in " ".join(capsys.readouterr().err.split())


def test_one_missing_picture_does_not_decide_where_paths_begin(tmp_path):
    write_paths(tmp_path, "images")
    (tmp_path / "images/test/0.png").unlink()
    (tmp_path / "images/test/1.png").unlink()
    (tmp_path / "images/test/1.png").mkdir()
    reasons = read_reasons(scan_folder(tmp_path), "test")
    assert [*reasons] == ["test/0.png[0]", "test/1.png[1]"]
    assert reasons["test/1.png[1]"] == "image: no regular file, but a folder"


def test_paths_that_lead_elsewhere_are_rejected(tmp_path):
    write_paths(tmp_path / "data")
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "data/link.png").symlink_to(tmp_path / "secret.png")
    paths = ["test/0.png", "../secret.png", f"{tmp_path}/secret.png", "link.png", "test/none.png", ""]
    (tmp_path / "data/test.csv").write_text("file_name,label\n" + "".join(f"{path},no\n" for path in paths))
    reasons = list(read_reasons(scan_folder(tmp_path / "data"), "test").values())
    assert len(reasons) == 5
    assert [reason.split("image: ")[1].split(" ")[0:2] for reason in reasons] == [
        ["the", "path"],
        ["the", "path"],
        ["link.png", "is"],
        ["no", "file"],
        ["the", "path"],
    ]


def test_rows_give_the_same_shards_as_idx_files(digits_folder, tmp_path):
    shards = []
    for number, source in enumerate([digits_folder, write_csv(tmp_path / "a", names=None, ending="csv.gz")]):
        workspace = tmp_path / f"ws{number}"
        size = ("--image-size", "5x4") if number else ()
        done = run_in_process("preprocess", "--workspace", workspace, "--dataset", source, "--num-shards", 3, *size)
        assert done.code == 0, done.err
        [folder] = (workspace / "datasets").iterdir()
        shards.append({name: data for name, data in contents(folder).items() if name.endswith("tfrecord")})
    assert shards[0] == shards[1]


def test_repair_finds_files_that_were_named_by_patterns(tmp_path, monkeypatch):
    write_csv(tmp_path / "source")
    monkeypatch.chdir(tmp_path / "source")
    workspace = ("--workspace", tmp_path / "ws")
    done = run_in_process("preprocess", *workspace, "--dataset", "tr*.csv,te*.csv", "--image-size", "5x4")
    assert done.code == 0, done.err
    monkeypatch.chdir(tmp_path)
    [shard] = (tmp_path / "ws/datasets").glob("*/train-*.tfrecord")
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    assert run_in_process("verify", *workspace, "--repair").code == 0
    assert shard.read_bytes() == data
    shard.write_bytes(data[:-1])
    edit(tmp_path / "source", "train", lambda text: text.replace("yes", "no", 1))
    assert run_in_process("verify", *workspace, "--repair").code != 0
    assert shard.read_bytes() != data


def test_file_that_changes_after_the_scan_is_rejected(tmp_path):
    scans = scan_folder(write_csv(tmp_path), image_size=(5, 4))
    edit(tmp_path, "train", lambda text: text.replace("yes", "no", 1))
    with pytest.raises(BadInput, match="changed while it was read"):
        read_blocks(scans, "train")


def test_many_blank_lines_before_the_second_line_are_refused_before_they_are_read(tmp_path):
    folder = write_csv(tmp_path, ending="csv.gz")
    lines = lines_of(Digits(), "train").encode()
    end = lines.index(b"\n") + 1
    with gzip.open(folder / "train.csv.gz", "wb") as stream:
        stream.write(lines[:end] + b"\n" * 100 + lines[end:])
    assert scan_folder(folder, image_size=(5, 4)).splits["train"].num_examples == 60
    with gzip.open(folder / "train.csv.gz", "wb") as stream:
        stream.write(lines[:end] + b"\n" * 2**24 + lines[end:])
    with pytest.raises(BadInput, match=r"train\.csv\.gz: more than 65536 bytes of blank lines"):
        scan_folder(folder, image_size=(5, 4))
