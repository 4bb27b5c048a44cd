"""Tables and records with a column that says the split of each row."""

import gzip
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import backbeam
from model.errors import BadInput, BadUsage
from pipeline.maintenance.rebuild import rebuild_dataset
from pipeline.preprocess.stage import DatasetConfig
from pipeline.sources import csv_lines, image_folder, parquet_source, tfrecord_tasks
from pipeline.sources.catalog import PictureOptions
from tests.examples import example, frame
from tests.helpers import run_in_process
from tests.pictures import png, read_blocks, read_reasons, rows_table, scan_folder
from tests.three_splits import digits_of, write_splits

THREE = {"train": "train", "test": "test", "validation": "val"}
WORDS = {"train": ("train", "Training"), "test": ("test", " TEST "), "validation": ("val", "validation")}
PIXELS = [f"pixel{number}" for number in range(20)]


def rows():
    """Return (word, image, label) of every example, the splits mixed, each in its own order."""
    order = np.random.default_rng(0).permutation([split for split in THREE for _ in digits_of(split)[1]])
    streams = {split: zip(*digits_of(split), strict=True) for split in THREE}
    return [(WORDS[split][number % 2], *next(streams[split])) for number, split in enumerate(order)]


def csv_of(folder, found):
    lines = [",".join(("usage", *PIXELS, "label")), *(",".join(map(str, (w, *i.reshape(-1), y))) for w, i, y in found)]
    (folder / "digits.csv").write_text("\n".join(lines))


def paths_of(folder, found):
    (folder / "images").mkdir()
    for number, (_, image, _) in enumerate(found):
        (folder / "images" / f"{number}.png").write_bytes(png(image))
    lines = [f"images/{number}.png,{label},{word}" for number, (word, _, label) in enumerate(found)]
    (folder / "digits.csv").write_text("\n".join(("file_name,label,usage", *lines)))


def pictures_of(folder, found):
    table = rows_table([png(image) for _, image, _ in found], [int(label) for _, _, label in found])
    words = pa.array([word for word, _, _ in found]).dictionary_encode()
    pq.write_table(table.append_column("usage", words), folder / "digits.parquet", row_group_size=11)


def columns_of(folder, found):
    images = np.array([image.reshape(-1) for _, image, _ in found])
    table = {"usage": [word for word, _, _ in found], "label": [f"class {label}" for _, _, label in found]}
    pq.write_table(
        pa.table(table | dict(zip(PIXELS, images.T, strict=True))), folder / "digits.parquet", row_group_size=11
    )


def records_of(folder, found):
    records = [frame(example(png(image), int(label), usage=word)) for word, image, label in found]
    (folder / "digits.tfrecord").write_bytes(b"".join(records))


LAYOUTS = {"csv": csv_of, "paths": paths_of, "pictures": pictures_of, "columns": columns_of, "tfrecord": records_of}
SIZED = ("csv", "columns")  # layouts whose images state no size


def write(folder, layout, found=None):
    folder.mkdir(parents=True)
    LAYOUTS[layout](folder, found or rows())
    return folder


def scan(place, layout, **options):
    return scan_folder(place, image_size=(5, 4) if layout in SIZED else None, **{"split_by": "usage"} | options)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    """Let every source have several ranges, some of them of one split."""
    monkeypatch.setattr(csv_lines, "PIECE_BYTES", 500)
    monkeypatch.setattr(image_folder, "MAX_RANGE_FILES", 9)
    monkeypatch.setattr(parquet_source, "MAX_BATCH_ROWS", 4)
    monkeypatch.setattr(tfrecord_tasks, "BLOCK_BYTES", 900)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_are_those_of_files_of_their_own(layout, tmp_path):
    scans = scan(write(tmp_path / "one", layout), layout)
    assert list(scans.splits) == list(THREE)
    assert len(scans.splits["train"].ranges) > 3
    for split in THREE:
        images, labels = digits_of(split)
        found = [np.concatenate(part) for part in zip(*(b.examples for b in read_blocks(scans, split)), strict=True)]
        assert found[0].tolist() == list(range(len(labels)))
        assert np.array_equal(found[1], images.reshape(len(labels), -1))
        assert np.array_equal(found[2], labels)
        assert scans.splits[split].num_examples == len(labels)


def test_shards_are_those_of_files_of_their_own_and_are_made_again(tmp_path):
    source = tmp_path / "one.csv.gz"
    source.write_bytes(gzip.compress((write(tmp_path / "one", "csv") / "digits.csv").read_bytes()))
    made, files = (
        backbeam.preprocess(place, workspace=tmp_path / "ws", image_size=(5, 4), **options).dataset
        for place, options in ((source, {"split_by": "usage"}), (write_splits(tmp_path / "files", "csv", THREE), {}))
    )
    assert made.manifest.splits == files.manifest.splits
    assert made.folder.name != files.folder.name
    [origin] = (tmp_path / "ws").glob("origins/one*.json")
    assert '"split_by":"usage"' in origin.read_text().replace(" ", "")
    assert rebuild_dataset(tmp_path / "ws", made.folder.name, tmp_path / "scratch").digest == made.digest


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_that_are_no_split_are_named(layout, tmp_path):
    found = [
        ("dev" if number in (3, 50) else "x" * 99 if number == 7 else word, *rest)
        for number, (word, *rest) in enumerate(rows())
    ]
    with pytest.raises(
        BadInput, match=rf"--split-by usage: values that are no split: 'dev', '{'x' * 60}'; expected train, t"
    ):
        scan(write(tmp_path / "x", layout, found), layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_column_must_exist_and_excludes_a_share(layout, tmp_path):
    folder = write(tmp_path / "x", layout)
    with pytest.raises(
        BadUsage, match=r"--split-by set: .* has no such (column|feature); its (column|feature)s: .*usage"
    ):
        scan(folder, layout, split_by="set")
    with pytest.raises(BadUsage, match="give --split-by, the column that says the splits, or --test-share, not both"):
        DatasetConfig((str(folder),), pictures=PictureOptions(split_by="usage", test_share=0.2))


@pytest.mark.parametrize("is_dictionary", [False, True])
def test_a_parquet_column_of_splits_may_hold_bytes(is_dictionary, tmp_path):
    found = scan(write(tmp_path / "text", "pictures"), "pictures")
    folder = write(tmp_path / "bytes", "pictures")
    words = pa.array([word.encode() for word, _, _ in rows()])
    replace_words(folder, words.dictionary_encode() if is_dictionary else words)
    assert scan(folder, "pictures").infos == found.infos


@pytest.mark.parametrize("value", [1, {"name": "train"}, ["train"]], ids=str)
def test_a_parquet_column_of_splits_that_holds_no_text_is_refused(value, tmp_path):
    folder = write(tmp_path / "x", "pictures")
    replace_words(folder, pa.array([value for _ in rows()]))
    with pytest.raises(BadUsage, match=r"--split-by usage: in .*digits\.parquet it is a column of .*, expected text"):
        scan(folder, "pictures")


def replace_words(folder, words):
    table = pq.read_table(folder / "digits.parquet")
    pq.write_table(table.drop_columns("usage").append_column("usage", words), folder / "digits.parquet")


def test_validation_without_test_is_the_test_split_and_train_alone_is_none(tmp_path, capsys):
    found = [row for row in rows() if row[0].strip().lower() != "test"]
    scans = scan(write(tmp_path / "x", "csv", found), "csv")
    assert {name: split.num_examples for name, split in scans.splits.items()} == {"train": 60, "test": 15}
    assert "the validation split is read as the test split" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(BadInput, match="--split-by usage: no row is of the test split; expected rows of train and of"):
        scan(write(tmp_path / "y", "csv", [row for row in found if row[0].lower().startswith("train")]), "csv")
    missing = [("", *row[1:]) if number == 4 else row for number, row in enumerate(rows())]
    with pytest.raises(BadInput, match="values that are no split: '';"):
        scan(write(tmp_path / "z", "csv", missing), "csv")


def test_several_files_gzipped_and_named_by_a_pattern(tmp_path):
    found = rows()
    for name, part in (("a", found[:40]), ("b", found[40:])):
        folder = write(tmp_path / name, "csv", part)
        (tmp_path / f"part-{name}.csv.gz").write_bytes(gzip.compress((folder / "digits.csv").read_bytes()))
    scans = scan(tmp_path / "part-*.csv.gz", "csv")
    assert {name: split.num_examples for name, split in scans.splits.items()} == {
        "train": 60,
        "test": 20,
        "validation": 15,
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(tmp_path / f"part-{name}.csv.gz", folder)
    assert scan(folder, "csv").infos == scans.infos
    named = f"{tmp_path / 'part-a.csv.gz'},{tmp_path / 'part-b.csv.gz'}"
    assert scan(named, "csv").infos == scans.infos
    moved = [
        ("test", *row[1:]) if number == 0 else row for number, row in enumerate(found) if number or row[0] != "test"
    ]
    assert scan(write(tmp_path / "c", "csv", moved), "csv").infos != scans.infos


@pytest.mark.parametrize("layout", ["csv", "paths"])
def test_rejected_rows_are_of_their_split(layout, tmp_path):
    found = rows()
    place = next(number for number, row in enumerate(found) if row[0] == "test")
    position = sum(row[0].strip().lower() == "test" for row in found[:place])
    found[place] = (found[place][0], found[place][1], 999)
    folder = write(tmp_path / "x", layout, found)
    scans = scan(folder, layout)
    reasons = {split: read_reasons(scans, split) for split in THREE}
    assert [len(each) for each in reasons.values()] == [0, 1, 0]
    [name] = reasons["test"]
    assert name.endswith(f"[{position}]")


def test_transposed_images_are_counted_in_their_split(tmp_path):
    scans = scan(write(tmp_path / "x", "csv"), "csv", transpose=True)
    for split, number in (("train", 60), ("test", 20), ("validation", 15)):
        assert sum(len(block.conversions) for block in read_blocks(scans, split)) == number


def test_command_refuses_it_for_what_has_no_columns(tmp_path):
    tree = write_splits(tmp_path / "tree", "tree", THREE)
    done = run_in_process("preprocess", "--workspace", tmp_path / "ws", tree, "--split-by", "usage")
    assert done.code == 2
    assert "--split-by goes with tables and records, and tree is of image files" in " ".join(done.err.split())
