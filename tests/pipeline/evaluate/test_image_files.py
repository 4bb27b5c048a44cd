"""Files to predict: without labels, with columns of any name, and those that are refused."""

import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput, BadUsage
from pipeline.evaluate.image_files import ModelImages, read_items
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.named_columns import NamedColumns
from tests.examples import example, frame
from tests.helpers import Digits, images_bytes, run_in_process
from tests.pictures import png, rows_table

IMAGES = Digits().split(1, 6)[0]
FLAT = IMAGES.reshape(6, -1)
MODEL = ModelImages(5, 4, ("a", "b", "c"))


def parquet_bytes(table):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=4)
    return sink.getvalue()


def archive_bytes(**arrays):
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def records_bytes(*images, name="image"):
    return b"".join(frame(example(image, 0, (name, "other"))) for image in images)


def columns_of(count):
    return pa.table({f"p{number}": FLAT[:, number % 20] for number in range(count)})


UNLABELLED = {
    "lists": parquet_bytes(pa.table({"image": FLAT.tolist()})),
    "columns": parquet_bytes(columns_of(20)),
    "pictures": parquet_bytes(pa.table({"image": [png(image) for image in IMAGES]})),
    "several columns of integers": parquet_bytes(
        pa.table({"image": [png(image) for image in IMAGES], "height": [5] * 6, "width": [4] * 6})
    ),
    "records": records_bytes(*map(png, IMAGES)),
    "records of pixels": records_bytes(*(image.tobytes() for image in IMAGES)),
    "gzipped records": gzip.compress(records_bytes(*map(png, IMAGES)), mtime=0),
    "only array": archive_bytes(other=IMAGES),
    "flat array": archive_bytes(other=FLAT),
}


def read(folder, data, image_column=None, name="images", label_column=None, dataset=None):
    (folder / name).write_bytes(data)
    return list(read_items(str(folder / name), MODEL, NamedColumns(image_column, label_column, dataset)))


@pytest.mark.parametrize("kind", UNLABELLED)
def test_images_need_no_labels(kind, tmp_path):
    found = read(tmp_path, UNLABELLED[kind])
    assert [index for index, _ in found] == list(range(6))
    assert np.array_equal(np.stack([item.image for _, item in found]), IMAGES)


@pytest.mark.parametrize(
    ("data", "column"),
    [
        (parquet_bytes(rows_table([png(image) for image in IMAGES] * 2, [0] * 12, columns=("x", "label"))), "x"),
        (parquet_bytes(pa.table({"image": [png(255 - IMAGES[0])] * 6, "x": FLAT.tolist()})), "x"),
        (records_bytes(*map(png, IMAGES), name="scan"), "scan"),
        (archive_bytes(x_test=255 - IMAGES, extra=IMAGES), "extra"),
    ],
    ids=["pictures", "lists", "records", "archive"],
)
def test_images_are_those_of_the_column_that_is_named(data, column, tmp_path):
    found = read(tmp_path, data, column)
    assert np.array_equal(np.stack([item.image for _, item in found])[:6], IMAGES)
    with pytest.raises(BadUsage, match="nothing"):
        read(tmp_path, data, "nothing")


def test_pictures_of_rows_are_prepared_as_pictures_are(tmp_path):
    large = np.pad(np.zeros((10, 8), np.uint8), 5, constant_values=255)
    [(_, from_file)] = read(tmp_path, png(large))
    for data in (parquet_bytes(rows_table([png(large)], [0])), records_bytes(png(large))):
        [(index, from_row)] = read(tmp_path, data)
        assert index == 0
        assert np.array_equal(from_row.image, from_file.image)
        assert from_row.remarks == from_file.remarks


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "images: an empty file: neither a picture"),
        (parquet_bytes(columns_of(24)), "24 columns of numbers, expected 20 pixels, 5 x 4 as the run's data set"),
        (parquet_bytes(pa.table({"image": FLAT[:, :9].tolist()})), "row 0: an image of 9 pixels, expected 20"),
        (parquet_bytes(rows_table([png(IMAGES[0]), None], [0, 0])), "images, row 1: there are no bytes of a picture"),
        (parquet_bytes(rows_table([b"text"], [0])), "images, row 0: not a sound picture"),
        (parquet_bytes(columns_of(20))[:-9], "no sound Parquet file"),
        (records_bytes(png(IMAGES[0]), b"text"), "images: record 1: not a sound picture"),
        (records_bytes(b"text"), "images: record 0: an image of 4 pixels, expected 20"),
        (records_bytes(png(IMAGES[0]))[:-1], "record 0: truncated"),
        (archive_bytes(a=IMAGES, b=IMAGES), "its arrays are a, b; expected one array, or x_test or test_images"),
        (archive_bytes(a=IMAGES[:, :4]), r"expected images of 5 x 4 as the run's data set"),
        (archive_bytes(a=IMAGES)[:-30], "no sound NumPy file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # the bytes of records differ between processes
)
def test_file_without_images_for_the_model_is_refused(data, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        read(tmp_path, data)


def test_folder_is_refused_with_advice(tmp_path):
    with pytest.raises(BadInput, match=r": a folder: name the files in it, such as .*/\*"):
        list(read_items(str(tmp_path), MODEL))


def test_row_without_a_picture_is_refused_and_named(tmp_path):
    (tmp_path / "0.png").write_bytes(png(IMAGES[0]))
    for path, fault in (("1.png", "no file 1.png"), ("../1.png", "leads out of"), (".png/0.png", "no file")):
        with pytest.raises(BadInput, match=rf"a\.csv, row 1: {path}: .*{fault}"):
            read(tmp_path, f"path,note\n0.png,x\n{path},y\n".encode(), name="a.csv")


@pytest.mark.parametrize("data", [png(IMAGES[0]), images_bytes(IMAGES)])
def test_column_goes_with_files_that_have_some(data, tmp_path):
    with pytest.raises(BadUsage, match="--image-column goes with tables"):
        read(tmp_path, data, "image")


def csv_text(header, *columns, images=FLAT):
    """Return lines of CSV: a header or None, and in each row what columns have before or after the pixels."""
    before, after = columns
    rows = [[*before, *image, *after] for image in images]
    return "".join(",".join(map(str, row)) + "\n" for row in [*([header] if header else []), *rows]).encode()


NUMBERED = [f"p{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (csv_text(None, [], [7]), {"label_column": "21"}),
        (csv_text(None, [], []), {"label_column": "1"}),
        (csv_text(None, [7], []), {}),
        (csv_text([*NUMBERED, "species"], [], ["cat"]), {"label_column": "species"}),
        (csv_text(NUMBERED, [], []), {"label_column": "species"}),
        (csv_text([*NUMBERED, "label"], [], ["cat"]), {"label_column": "species"}),
        (csv_text(["part", *NUMBERED], ["test"], []), {"label_column": "species", "split_by": "part"}),
        (csv_text(["part", *NUMBERED, "no"], ["test"], [3]), {"label_column": "no", "split_by": "part"}),
        (csv_text(None, ["test"], [3]), {"label_column": "22", "split_by": "1"}),
        (
            parquet_bytes(pa.table({**{name: FLAT[:, n] for n, name in enumerate(NUMBERED)}, "no": [3] * 6})),
            {"label_column": "no"},
        ),
        (
            parquet_bytes(pa.table({"a": [png(255 - IMAGES[0])] * 6, "b": [png(image) for image in IMAGES]})),
            {"image_column": "b"},
        ),
        (parquet_bytes(pa.table({"image": FLAT.tolist()})), {"image_column": "b"}),
        (records_bytes(*map(png, IMAGES), name="scan"), {"image_column": "scan"}),
    ],
    ids=range(13),
)
def test_columns_are_those_of_the_data_set_where_the_file_has_them(data, options, tmp_path):
    name = "images" if data.startswith(b"PAR1") or b"scan" in data else "a.csv"
    found = read(tmp_path, data, name=name, dataset=PictureOptions(**options))
    assert np.array_equal(np.stack([item.image for _, item in found]), IMAGES)


@pytest.mark.parametrize("dataset", [None, PictureOptions(label_column="species")])
def test_label_that_nothing_names_is_not_guessed_where_there_is_no_header(dataset, tmp_path, capsys):
    data = csv_text(None, [], [7])
    with pytest.raises(BadInput, match=r"a\.csv: 21 columns without a header, .* by its number, with --label-column"):
        read(tmp_path, data, name="a.csv", dataset=dataset)
    found = read(tmp_path, data, name="a.csv", dataset=dataset, label_column="21")
    assert np.array_equal(np.stack([item.image for _, item in found]), IMAGES)
    assert not capsys.readouterr().err
    read(tmp_path, data, name="a.csv", dataset=PictureOptions())
    assert "there is no header, so column 1 is taken for that of labels" in " ".join(capsys.readouterr().err.split())


def test_column_of_labels_that_is_named_must_exist(tmp_path):
    for name, data in (("a.csv", csv_text(NUMBERED, [], [])), ("images", UNLABELLED["columns"])):
        with pytest.raises(BadUsage, match="species"):
            read(tmp_path, data, name=name, label_column="species")
    for data in (png(IMAGES[0]), images_bytes(IMAGES), UNLABELLED["records"], UNLABELLED["only array"]):
        with pytest.raises(BadUsage, match="--label-column goes with tables, CSV or Parquet"):
            read(tmp_path, data, label_column="species")


def test_command_takes_the_column(digits_run, tmp_path):
    images = [png(np.pad(np.full((9, 9), 250, np.uint8), 10)[:28, :28])] * 3
    pq.write_table(pa.table({"a": images, "b": images}), tmp_path / "x.parquet")
    arguments = ("predict", tmp_path / "x.parquet", "--workspace", digits_run)
    done = run_in_process(*arguments, "--image-column", "b", "--json")
    assert [each["index"] for each in done.json["predictions"]] == [0, 1, 2], done.err
    done = run_in_process(*arguments)
    assert (done.code, "name one with --image-column" in " ".join(done.err.split())) == (3, True)
