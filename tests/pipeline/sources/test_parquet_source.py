import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput, BadUsage
from pipeline.sources import parquet_source
from tests.helpers import Digits
from tests.pictures import read_blocks, rows_table, scan_folder, split_of, write_rows


def test_identity_does_not_depend_on_compression_or_files(tmp_path):
    first = scan_folder(write_rows(tmp_path / "a"))
    again = write_rows(tmp_path / "b", suffix="-00000", row_group_size=50, compression="zstd", nested=False)
    assert scan_folder(again).infos == first.infos
    halves = write_rows(tmp_path / "c")
    table = pq.read_table(halves / "train.parquet")
    (halves / "train.parquet").unlink()
    for number, part in enumerate((table.slice(0, 31), table.slice(31))):
        pq.write_table(part, halves / f"train-{number}.parquet")
    assert scan_folder(halves).infos == first.infos
    assert scan_folder(write_rows(tmp_path / "d", Digits(seed=1))).infos != first.infos


@pytest.mark.parametrize(
    "encode", [lambda column: column.cast(pa.binary_view()), lambda column: column.dictionary_encode()]
)
def test_bytes_of_pictures_may_be_views_or_categories(encode, tmp_path):
    folder = write_rows(tmp_path, nested=False)
    expected = scan_folder(folder).infos
    for file in folder.iterdir():
        table = pq.read_table(file)
        pq.write_table(table.set_column(0, "image", encode(table["image"])), file)
    assert scan_folder(folder).infos == expected


def test_class_names_are_read_from_schema_metadata(tmp_path):
    folder = write_rows(tmp_path / "rows", names=["no", "yes", "maybe", "never"])
    assert scan_folder(folder).class_names == ("no", "yes", "maybe", "never")
    with pytest.raises(BadUsage, match="--num-classes 3: rows has its own classes, 4 of them"):
        scan_folder(folder, 3)


def replace_split(split, pictures, labels, **how):
    def replace(folder):
        pq.write_table(rows_table(pictures, labels, **how), folder / f"{split}.parquet")

    return replace


def flip_a_bit_of_a_picture(folder):
    write_rows(folder, compression="none")
    data = bytearray((folder / "train.parquet").read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1
    (folder / "train.parquet").write_bytes(data)


PICTURES, LABELS = split_of(Digits(), "test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit_of_a_picture, "train.parquet: no sound Parquet file: .*CRC"),
        (replace_split("test", [], []), "test.parquet: the split is empty"),
        (replace_split("test", PICTURES, LABELS, names=["c", "b", "a"]), "test.parquet name their classes differently"),
        (replace_split("test", PICTURES, LABELS, nested=False), "test.parquet: the column 'image' is of another type"),
        (replace_split("test", PICTURES, LABELS, columns=("a", "b")), "test.parquet: no column 'image' of pictures"),
        (
            replace_split("train", [b"x"] * 3, [0, 1, 2]),
            "no picture of the train split can be decoded; of the first one: .*row 0: not a sound",
        ),
    ],
    ids=range(6),
)
def test_damaged_or_unfitting_file_is_rejected(damage, message, tmp_path):
    damage(write_rows(tmp_path / "rows", names=["a", "b", "c"]))
    with pytest.raises(BadInput, match=message):
        scan_folder(tmp_path / "rows")


def test_test_file_without_labels_is_refused_with_advice(tmp_path):
    folder = write_rows(tmp_path)
    pq.write_table(pq.read_table(folder / "test.parquet").drop_columns(["label"]), folder / "test.parquet")
    with pytest.raises(BadInput, match=r"test\.parquet: it has no labels: no column 'label', .* --test-share 0\.2"):
        scan_folder(folder)


def test_row_group_is_read_in_batches_of_bounded_size(tmp_path, monkeypatch):
    scans = scan_folder(write_rows(tmp_path / "b", row_group_size=60))
    monkeypatch.setattr(parquet_source, "BLOCK_BYTES", 1000)
    blocks = [block.examples for block in read_blocks(scans, "train")]
    assert len(blocks) > 4
    assert max(len(block.labels) for block in blocks) < 15
    assert np.array_equal(np.concatenate([block.images for block in blocks]), Digits().split(0, 60)[0].reshape(60, -1))
