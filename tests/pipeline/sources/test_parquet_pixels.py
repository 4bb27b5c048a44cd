"""Parquet files of pixels, and of labels that are no integers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput, BadUsage
from pipeline.sources import parquet_images, parquet_pixels
from pipeline.sources.named_columns import NamedColumns
from tests.helpers import Digits
from tests.pictures import SPLITS, png, read_blocks, read_reasons, rows_table, scan_folder, split_of

NAMES = ("no", "yes", "maybe")


def digits_of(split):
    return Digits().split(SPLITS[split], 60 if split == "train" else 20)


def lists_of(kind):
    return lambda images: {"image": pa.array(images.reshape(len(images), -1).tolist(), kind)}


FORMS = {
    "bytes": lists_of(pa.list_(pa.uint8())),
    "fixed": lists_of(pa.list_(pa.uint8(), 20)),
    "floats": lists_of(pa.large_list(pa.float32())),
    "rows": lambda images: {"image": pa.array(images.tolist(), pa.list_(pa.list_(pa.int64())))},
    "columns": lambda images: {f"p{n}": pa.array(images.reshape(len(images), -1)[:, n]) for n in range(20)},
}


def write_pixels(folder, form="bytes", labels=pa.array, name="{}.parquet", **how):
    for split in SPLITS:
        images, numbers = digits_of(split)
        path = folder / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table(FORMS[form](images) | {"label": labels(numbers)})
        pq.write_table(table, path, row_group_size=17, **how)
    return folder


def examples_of(scans, split):
    return [np.concatenate(part) for part in zip(*(block.examples for block in read_blocks(scans, split)), strict=True)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_pixels_gives_the_same_examples_and_identity(form, tmp_path, monkeypatch):
    expected = scan_folder(write_pixels(tmp_path / "a"), image_size=(5, 4)).infos
    monkeypatch.setattr(parquet_pixels, "BLOCK_BYTES", 200)
    size = {} if form == "rows" else {"image_size": (5, 4)}
    scans = scan_folder(write_pixels(tmp_path / "b", form, compression="zstd"), **size)
    images, labels = digits_of("train")
    found = examples_of(scans, "train")
    assert scans.infos == expected
    assert np.array_equal(found[0], np.arange(60))
    assert np.array_equal(found[1], images.reshape(60, -1))
    assert np.array_equal(found[2], labels)


def text(numbers):
    return pa.array([NAMES[number] for number in numbers])


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (text, ("maybe", "no", "yes"), (1, 2, 0)),
        (lambda numbers: text(numbers).dictionary_encode(), ("maybe", "no", "yes"), (1, 2, 0)),
        (
            lambda numbers: pa.array([str(2 * int(number) + 1) + "a" for number in numbers]),
            ("1a", "3a", "5a"),
            (0, 1, 2),
        ),
        (lambda numbers: pa.array(numbers.astype(np.float64)), ("0", "1", "2"), (0, 1, 2)),
        (lambda numbers: pa.array(map(str, numbers)), ("0", "1", "2"), (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("encoded", [True, False])
def test_labels_of_any_type_are_read(labels, names, numbers, encoded, tmp_path):
    for split in SPLITS:
        images, found = digits_of(split)
        pictures = (
            pa.array([png(image) for image in images], pa.binary()) if encoded else FORMS["bytes"](images)["image"]
        )
        pq.write_table(pa.table({"image": pictures, "label": labels(found)}), tmp_path / f"{split}.parquet")
    scans = scan_folder(tmp_path, image_size=(5, 4))
    assert scans.class_names == names
    assert examples_of(scans, "test")[2].tolist() == [numbers[number % 3] for number in range(20)]


@pytest.mark.parametrize("name", ["{}/part-0.parquet", "data/{}-00000-of-00001.parquet", "my_{}ing.parquet"])
def test_files_in_folders_and_patterns_are_found(name, tmp_path):
    expected = scan_folder(write_pixels(tmp_path / "a"), image_size=(5, 4)).infos
    assert scan_folder(write_pixels(tmp_path / "b", name=name), image_size=(5, 4)).infos == expected
    named = ",".join(str(tmp_path / "b" / name.format(split)).replace(".parquet", "*.parquet") for split in SPLITS)
    assert scan_folder(named, image_size=(5, 4)).infos == expected
    with pytest.raises(BadInput, match=r"no file .*/x"):
        scan_folder(f"{tmp_path}/x*.parquet,{tmp_path}/a/test.parquet")


def test_null_among_lists_of_a_fixed_size_is_named(tmp_path):
    folder = write_pixels(tmp_path)
    lists = pa.array([None, *[[1] * 20] * 9], pa.list_(pa.uint8(), 20))
    pq.write_table(pa.table({"image": lists, "label": [0] * 10}), folder / "train.parquet")
    with pytest.raises(BadInput, match=r"train\.parquet: a null among lists of a fixed size"):
        scan_folder(folder, image_size=(5, 4))


def test_first_part_may_have_no_rows(tmp_path):
    expected = scan_folder(write_pixels(tmp_path / "a"), image_size=(5, 4)).infos
    folder = write_pixels(tmp_path / "b", name="{}-2.parquet")
    for split in SPLITS:
        table = pq.read_table(folder / f"{split}-2.parquet")
        pq.write_table(table.slice(0, 0), folder / f"{split}-1.parquet")
    assert scan_folder(folder, image_size=(5, 4)).infos == expected
    (folder / "train-2.parquet").unlink()
    with pytest.raises(BadInput, match=r"train-1\.parquet: the split is empty"):
        scan_folder(folder, image_size=(5, 4))


def test_unusable_rows_are_rejected_with_a_reason(tmp_path):
    images, _ = digits_of("test")
    rows = images.reshape(20, -1)[:5].astype(float).tolist()
    rows[0][3] = 0.5
    rows[1] = rows[1][:7]
    rows[2][1] = None
    rows[3] = None
    table = pa.table({"image": rows, "label": pa.array(["no", "no", "no", "no", "other"])})
    write_pixels(tmp_path, labels=text)
    pq.write_table(table, tmp_path / "test.parquet")
    assert list(read_reasons(scan_folder(tmp_path, image_size=(5, 4)), "test").values()) == [
        "row 0: the pixel '3' is 0.5, expected a whole number from 0 to 255",
        "row 1: an image of 7 pixels, expected 20",
        "row 2: the pixel '1' is missing, expected a whole number from 0 to 255",
        "row 3: there is no image",
        "row 4: the label 'other' is of no class of the train split",
    ]


def test_names_in_the_metadata_number_labels_that_are_text(tmp_path):
    for split in SPLITS:
        pictures, labels = split_of(Digits(), split)
        table = rows_table(pictures, labels, names=["yes", "no", "maybe"])
        column = pa.array([NAMES[label] for label in labels])
        schema = table.schema.set(1, pa.field("label", pa.string()))
        pq.write_table(pa.table([table.column(0), column], schema), tmp_path / f"{split}.parquet")
    scans = scan_folder(tmp_path)
    assert scans.class_names == ("yes", "no", "maybe")
    assert examples_of(scans, "test")[2].tolist() == [(1, 0, 2)[number % 3] for number in range(20)]


def test_size_that_does_not_fit_is_refused(tmp_path):
    folder = write_pixels(tmp_path)
    with pytest.raises(BadUsage, match=r"--image-size 28x28: .* has 20 pixels in an image"):
        scan_folder(folder, image_size=(28, 28))
    with pytest.raises(BadInput, match="20 pixels in an image, which is no square"):
        scan_folder(folder)


def test_columns_sorted_as_text_are_warned_of(tmp_path, capsys):
    for name in ("train", "test"):
        columns = {f"p{number}": [number] for number in sorted(range(16), key=str)}
        pq.write_table(pa.table({"label": [0], **columns}), tmp_path / f"{name}.parquet")
    scan_folder(tmp_path)
    list(parquet_images.read_images(tmp_path / "test.parquet", (4, 4), NamedColumns()))
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("the columns of pixels are not in the order of their numbers ('p2' follows 'p15')") == 2


def test_change_after_the_scan_is_found(tmp_path):
    scans = scan_folder(write_pixels(tmp_path), image_size=(5, 4))
    table = pq.read_table(tmp_path / "test.parquet")
    pq.write_table(table.set_column(1, "label", pa.array([0] * 20)), tmp_path / "test.parquet", row_group_size=17)
    with pytest.raises(BadInput, match="changed while it was read"):
        read_blocks(scans, "test")


def write_images(folder, test, train=None, kind=None):
    train = train or [[[1, 2, 3, 4]] * 4, [[5, 6, 7, 8]] * 4]
    for split, images in (("train", train), ("test", test)):
        table = pa.table({"image": pa.array(images, kind), "label": pa.array([n % 2 for n in range(len(images))])})
        pq.write_table(table, folder / f"{split}.parquet")
    return folder


@pytest.mark.parametrize(
    "image",
    [
        [[0] * 8, [1] * 8],
        [[0] * 8, [], [1] * 4, [2] * 4],
        [[0] * 8, None, [1] * 4, [2] * 4],
        [[0] * 3, [1] * 5, [2] * 4, [3] * 4],
    ],
)
def test_lists_of_another_shape_are_rejected_though_they_have_as_many_pixels(image, tmp_path):
    scans = scan_folder(write_images(tmp_path, [[[9] * 4] * 4, image]))
    assert scans.image_size == (4, 4)
    assert examples_of(scans, "test")[1].tolist() == [[9] * 16]
    assert list(read_reasons(scans, "test").values()) == ["row 1: the lists of the image are not 4 of 4 pixels each"]


def test_lists_are_not_read_in_another_shape_than_their_own(tmp_path):
    folder = write_images(tmp_path, [[[9] * 4] * 4])
    with pytest.raises(BadUsage, match=r"--image-size 2x8: .* has lists of 4 x 4 pixels"):
        scan_folder(folder, image_size=(2, 8))


@pytest.mark.parametrize("first", [[[], []], [None, [1, 2], [3]], [[1], [2, 3]], [], None])
def test_size_is_that_of_the_first_sound_image(first, tmp_path):
    train = [first, [[1, 2, 3, 4]] * 4, [[5, 6, 7, 8]] * 4]
    scans = scan_folder(write_images(tmp_path, [[[9] * 4] * 4], train))
    assert scans.image_size == (4, 4)
    assert list(read_reasons(scans, "train")) == ["train.parquet[0]"]


def test_lists_that_are_much_longer_than_the_images_are_refused_before_they_are_read(tmp_path, monkeypatch):
    long = [[0] * 4, *([[0] * 100_000] * 20)]
    folder = write_images(tmp_path, [[0] * 4], long, pa.list_(pa.uint8()))
    monkeypatch.setattr(parquet_pixels, "_read_lists", pytest.fail)
    with pytest.raises(BadInput, match=r"train\.parquet: images of 95239 pixels on average, expected at most 16"):
        scan_folder(folder)


@pytest.mark.parametrize("encoded", [True, False])
def test_long_text_in_the_column_of_labels_is_refused(encoded, tmp_path):
    images, _ = digits_of("test")
    pixels = FORMS["bytes"](images)["image"]
    column = pa.array(map(png, images), pa.binary()) if encoded else pixels
    for split in SPLITS:
        pq.write_table(pa.table({"image": column, "label": ["x" * 2**20] * 20}), tmp_path / f"{split}.parquet")
    assert (tmp_path / "train.parquet").stat().st_size < 2**18
    with pytest.raises(BadInput, match="a label or a split of 1048576 characters, expected at most 4096"):
        scan_folder(tmp_path, image_size=(5, 4))


@pytest.mark.parametrize(("names", "expected"), [(["2", "1", "0"], [2, 1, 0]), (["02", "01", "00"], [2, 1, 0])])
def test_text_labels_that_are_numbers_are_mapped_by_the_names_in_the_metadata(names, expected, tmp_path):
    for split in SPLITS:
        pictures, labels = split_of(Digits(), split)
        table = rows_table(pictures, labels, names=names)
        column = pa.array([names[::-1][label] for label in labels])
        schema = table.schema.set(1, pa.field("label", pa.string()))
        pq.write_table(pa.table([table.column(0), column], schema), tmp_path / f"{split}.parquet")
    scans = scan_folder(tmp_path)
    assert scans.class_names == tuple(names)
    assert examples_of(scans, "test")[2].tolist() == [expected[number % 3] for number in range(20)]
