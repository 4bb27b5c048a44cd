"""Parquet files and directory trees of images: they give the same examples as IDX files, or a clear error."""

import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput, BadUsage
from pipeline.preprocess.beam_job import preprocess
from pipeline.preprocess.manifest import PreprocessConfig, check_dataset, dataset_id
from pipeline.preprocess.shards import read_shard
from pipeline.sources import parquet_source
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.parquet_columns import detect_columns, read_class_names
from pipeline.sources.scan import scan_source
from pipeline.sources.source_lookup import find_source
from pipeline.storage.tables import read_table
from tests.helpers import Digits, backbeam, contents
from tests.pictures import png, rows_table, split_of, write_rows, write_tree


def scan(folder, num_classes=None, **options):
    return scan_source(find_source(str(folder), None, folder, PictureOptions(**options)), num_classes)


def build(source_folder, parent, max_rejected=0, beam=(), num_classes=None, **options):
    scans = scan(source_folder, num_classes, **options)
    config = PreprocessConfig(seed=1, num_shards=4)
    folder = parent / dataset_id("digits", scans.class_names, config, scans.infos)
    preprocess(scans, "digits", config, folder, max_rejected, list(beam))
    return folder


def shards_of(folder):
    return {name: data for name, data in contents(folder).items() if name.endswith(".tfrecord")}


def examples_of(folder, split):
    manifest, _ = check_dataset(folder)
    shards = [read_shard(folder, manifest, split, shard) for shard in manifest.splits[split].shards]
    return sorted(
        (image.tobytes(), int(label))
        for examples in shards
        for image, label in zip(examples.images, examples.labels, strict=True)
    )


@pytest.mark.parametrize("nested", [True, False])
def test_parquet_rows_give_the_same_shards_as_idx_files(nested, digits_folder, tmp_path):
    expected = shards_of(build(digits_folder, tmp_path / "a"))
    assert len(expected) == 6
    assert shards_of(build(write_rows(tmp_path / "rows", nested=nested), tmp_path / "b")) == expected


def test_image_folder_gives_the_same_examples_as_idx_files_in_another_order(digits_folder, tmp_path):
    idx = build(digits_folder, tmp_path / "a")
    tree = build(write_tree(tmp_path / "tree"), tmp_path / "b")
    for split in ("train", "test"):
        assert examples_of(tree, split) == examples_of(idx, split)
    assert check_dataset(tree)[0].class_names == ("0", "1", "2")


def test_image_folder_is_ordered_by_class_then_name(tmp_path):
    folder = build(write_tree(tmp_path / "tree"), tmp_path / "b")
    manifest, _ = check_dataset(folder)
    shards = [read_shard(folder, manifest, "train", shard) for shard in manifest.splits["train"].shards]
    order = np.argsort(np.concatenate([examples.indices for examples in shards]))
    labels = np.concatenate([examples.labels for examples in shards])[order]
    assert labels.tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_identity_of_rows_does_not_depend_on_compression_or_files(tmp_path):
    first = scan(write_rows(tmp_path / "a"))
    again = scan(write_rows(tmp_path / "b", suffix="-00000", row_group_size=50, compression="zstd", nested=False))
    assert again.infos == first.infos
    halves = write_rows(tmp_path / "c")
    table = pq.read_table(halves / "train.parquet")
    (halves / "train.parquet").unlink()
    for number, part in enumerate((table.slice(0, 31), table.slice(31))):
        pq.write_table(part, halves / f"train-{number}.parquet")
    assert scan(halves).infos == first.infos
    assert scan(write_rows(tmp_path / "d", Digits(seed=1))).infos != first.infos


def test_two_parquet_files_separated_by_a_comma_are_a_source(tmp_path):
    folder = write_rows(tmp_path / "pair")
    assert scan(f"{folder}/train.parquet,{folder}/test.parquet").infos == scan(folder).infos
    with pytest.raises(BadUsage, match=r"expected the two files TRAIN\.parquet,TEST\.parquet"):
        scan(f"{folder}/train.parquet")


@pytest.mark.parametrize("kind", [write_rows, write_tree])
def test_two_worker_processes_write_the_same_bytes(kind, tmp_path):
    source = kind(tmp_path / "source")
    expected = contents(build(source, tmp_path / "a"))
    beam = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    assert contents(build(source, tmp_path / "b", beam=beam)) == expected


def test_class_names_are_read_from_schema_metadata(tmp_path):
    folder = write_rows(tmp_path / "rows", names=["no", "yes", "maybe", "never"])
    assert scan(folder).class_names == ("no", "yes", "maybe", "never")
    with pytest.raises(BadUsage, match="--num-classes 3: rows has its own classes, 4 of them"):
        scan(folder, 3)


def write_unusable_rows(folder):
    write_rows(folder)
    pictures, labels = split_of(Digits(), "train")
    pictures[3] = None
    pictures[4] = b"no picture"
    pictures[5] = pictures[5][:60]
    pictures[6] = png(np.zeros((9, 9), np.uint8))
    pictures[7] = png(np.zeros((5000, 5000), np.uint8))  # 25 million pixels in a few kilobytes
    labels[8] = None
    labels[9] = -1
    labels[10] = 3
    pq.write_table(rows_table(pictures, labels), folder / "train.parquet", row_group_size=4)
    return folder


REASONS = {
    3: "row 3: there are no bytes of a picture",
    4: "row 4: not a sound PNG or JPEG picture: damaged at its beginning",
    5: "row 5: not a sound PNG or JPEG picture",
    6: "row 6: 9 x 9 pixels, expected 5 x 4",
    7: "row 7: 5000 x 5000 pixels, expected at most 16777216 in all",
    8: "row 8: there is no label",
    9: "row 9: label -1 is negative",
    10: "row 10: label 3 is not below 3",
}


def test_rejected_rows_are_listed_with_their_reasons(tmp_path):
    source = write_unusable_rows(tmp_path / "rows")
    folder = build(source, tmp_path / "out", max_rejected=8, num_classes=3)
    rejected = read_table(folder / "rejected.parquet").to_pylist()
    assert [(row["split"], row["file"], row["index"]) for row in rejected] == [
        ("train", "train.parquet", index) for index in REASONS
    ]
    for row in rejected:
        assert row["reason"].startswith(REASONS[row["index"]])
    manifest, _ = check_dataset(folder)
    assert (manifest.num_rejected, manifest.splits["train"].num_examples) == (8, 52)
    with pytest.raises(BadInput, match="more than 7 examples are rejected"):
        build(source, tmp_path / "out", max_rejected=7, num_classes=3)


def test_rejected_image_files_are_listed_with_their_reasons(tmp_path):
    source = write_tree(tmp_path / "tree")
    (source / "train" / "1" / "00001.png").write_bytes(b"")
    (source / "train" / "2" / "00002.png").write_bytes(png(np.zeros((4, 5), np.uint8)))
    (source / "train" / "2" / ".hidden").write_bytes(b"no part of it")
    (source / "train" / "2" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    folder = build(source, tmp_path / "out", max_rejected=3)
    reasons = {row["file"]: row["reason"] for row in read_table(folder / "rejected.parquet").to_pylist()}
    assert set(reasons) == {"train/1/00001.png", "train/2/00002.png", "train/2/Thumbs.db"}
    assert reasons["train/2/00002.png"] == "image: 4 x 5 pixels, expected 5 x 4"
    assert check_dataset(folder)[0].splits["train"].num_examples == 58


def test_image_size_rejects_other_sizes_and_is_part_of_the_identity(tmp_path):
    with pytest.raises(BadInput, match="more than 0 examples are rejected"):
        build(write_tree(tmp_path / "tree"), tmp_path / "out", image_size=(6, 6))
    sized = scan(tmp_path / "tree", image_size=(5, 4))
    assert sized.infos == scan(tmp_path / "tree").infos
    assert scan(tmp_path / "tree", image_size=(4, 5)).infos != sized.infos


def write_extra_class(folder):
    (write_tree(folder) / "test" / "7").mkdir()


def write_stray_file(folder):
    (write_tree(folder) / "train" / "README").write_text("x")


def write_nested_folder(folder):
    (write_tree(folder) / "train" / "1" / "more").mkdir()


def write_without_test_split(folder):
    shutil.rmtree(write_tree(folder) / "test")


def write_without_split_names(folder):
    write_rows(folder)
    (folder / "train.parquet").rename(folder / "digits.parquet")


def write_truncated_file(folder):
    write_rows(folder)
    data = (folder / "test.parquet").read_bytes()
    (folder / "test.parquet").write_bytes(data[: len(data) // 2])


def write_flipped_byte(folder):
    write_rows(folder, compression="none")
    data = bytearray((folder / "train.parquet").read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1
    (folder / "train.parquet").write_bytes(data)


def write_without_rows(folder):
    write_rows(folder)
    pq.write_table(rows_table([], []), folder / "test.parquet")


def write_different_class_names(folder):
    write_rows(folder, names=["a", "b", "c"])
    pq.write_table(rows_table(*split_of(Digits(), "test"), names=["c", "b", "a"]), folder / "test.parquet")


def write_without_decodable_images(folder):
    write_rows(folder)
    pq.write_table(rows_table([b"x"] * 3, [0, 1, 2]), folder / "train.parquet")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (write_extra_class, "test/7: no class of that name in"),
        (write_stray_file, "README: expected folders, one a class in"),
        (write_nested_folder, "more: expected image files in"),
        (write_without_test_split, "test is missing: expected train/CLASS/IMAGE"),
        (
            write_without_split_names,
            "digits.parquet is of neither split: expected Parquet files whose names begin with train",
        ),
        (write_truncated_file, "test.parquet: no sound Parquet file"),
        (write_flipped_byte, "train.parquet: no sound Parquet file: .*CRC"),
        (write_without_rows, "test.parquet: the split is empty"),
        (write_different_class_names, "name their classes differently"),
        (
            write_without_decodable_images,
            "no picture of the train split can be decoded; of the first one: .*row 0: not a sound",
        ),
    ],
)
def test_bad_layout_or_damaged_file_is_rejected(damage, message, tmp_path):
    damage(tmp_path / "source")
    with pytest.raises(BadInput, match=message):
        scan(tmp_path / "source")


@pytest.mark.parametrize("kind", ["rows", "tree"])
def test_source_that_changes_after_its_scan_is_rejected(kind, tmp_path):
    write = {"rows": write_rows, "tree": write_tree}[kind]
    folder = write(tmp_path / "source")
    scans = scan(folder)
    write(folder, Digits(seed=1))
    with pytest.raises(BadInput, match="changed while it was read"):
        preprocess(scans, "x", PreprocessConfig(seed=1, num_shards=4), tmp_path / "out" / "x", 99, [])
    assert list((tmp_path / "out").iterdir()) == []


def test_row_group_is_read_in_batches_of_bounded_size(tmp_path, monkeypatch):
    """One row group of 60 rows gives the same shards as several."""
    expected = shards_of(build(write_rows(tmp_path / "a"), tmp_path / "x"))
    write_rows(tmp_path / "b", row_group_size=60)
    monkeypatch.setattr(parquet_source, "BLOCK_BYTES", 1000)
    sizes = []
    read_batches = parquet_source.read_batches

    def record_sizes(*arguments):
        for batch in read_batches(*arguments):
            sizes.append(len(batch))
            yield batch

    monkeypatch.setattr(parquet_source, "read_batches", record_sizes)
    assert shards_of(build(tmp_path / "b", tmp_path / "y")) == expected
    assert max(sizes) < 15


READ = """
import sys
from pathlib import Path
from pipeline.sources.parquet_columns import ParquetColumns
from pipeline.sources.parquet_source import open_parquet, read_batches

def peak():  # of this process alone: ru_maxrss starts at the peak of the parent process
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

num_bytes = 0
with open_parquet(Path(sys.argv[1])) as parquet:
    before = peak()
    for batch in read_batches(parquet, 0, ParquetColumns("image", False, "label")):
        num_bytes += sum(len(row.data) for row in batch)
print(num_bytes, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_reading_batches_takes_less_memory_than_a_row_group(tmp_path):
    pictures = [bytes([number]) * 2**17 for number in range(256)] * 4
    file = tmp_path / "train.parquet"
    table = rows_table(pictures, [0] * 1024, nested=False)
    pq.write_table(table, file, use_dictionary=False, compression="none", write_batch_size=16)  # else it is one page
    done = subprocess.run([sys.executable, "-c", READ, str(file)], capture_output=True, text=True, check=True)
    num_bytes, grown_kib = map(int, done.stdout.split())
    assert num_bytes == 2**27
    assert grown_kib < 2**17  # less than the row group alone; 71 MiB in a trial, and 178 with pre-buffering


KINDS = {
    "pictures": pa.binary(),
    "nested": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "integers": pa.int32(),
    "text": pa.string(),
    "numbers": pa.float64(),
}


@given(st.dictionaries(st.sampled_from(["image", "label", "a", "b", "c"]), st.sampled_from(sorted(KINDS))))
def test_detected_columns_fit_and_are_the_preferred_or_the_only_ones(columns):
    schema = pa.schema([(name, KINDS[kind]) for name, kind in columns.items()])
    images = [name for name, kind in columns.items() if kind in ("pictures", "nested")]
    labels = [name for name, kind in columns.items() if kind == "integers"]
    is_unambiguous = ("image" in images or len(images) == 1) and ("label" in labels or len(labels) == 1)
    if not is_unambiguous:
        with pytest.raises(BadInput, match=r"--(image|label)-column; its columns"):
            detect_columns(schema, PictureOptions(), "x.parquet")
        return
    found = detect_columns(schema, PictureOptions(), "x.parquet")
    assert found.image == ("image" if "image" in images else images[0])
    assert found.label == ("label" if "label" in labels else labels[0])
    assert found.nested == (columns[found.image] == "nested")
    assert detect_columns(schema, PictureOptions(found.image, found.label), "x.parquet") == found


def test_requested_column_must_exist_and_fit(tmp_path):
    folder = write_rows(tmp_path / "rows", columns=("picture", "digit"))
    assert scan(folder, image_column="picture", label_column="digit").class_names == ("0", "1", "2")
    with pytest.raises(BadUsage, match="no column 'digit' of pictures"):
        scan(folder, image_column="digit")


@given(
    st.one_of(
        st.binary(max_size=60), st.sampled_from([b'{"info": 3}', b'{"info": {"features": {"label": {"names": [1]}}}}'])
    )
)
def test_arbitrary_metadata_gives_no_names_or_a_clear_error(metadata):
    schema = pa.schema([("label", pa.int64())], {"huggingface": metadata})
    try:
        names = read_class_names(schema, "label", "x.parquet")
    except BadInput:
        return
    assert names is None


def test_damaged_metadata_is_rejected():
    with pytest.raises(BadInput, match=r"x\.parquet: the metadata `huggingface` of its schema is damaged"):
        read_class_names(pa.schema([("label", pa.int64())], {"huggingface": b"{"}), "label", "x.parquet")


def test_preprocess_command_accepts_columns_and_image_size(tmp_path):
    folder = write_rows(tmp_path / "rows", columns=("picture", "digit"))
    done = backbeam("preprocess", "--workspace", tmp_path / "ws", "--dataset", folder, "--image-size", "5x4", "--json")
    assert done.code == 0, done.err
    assert done.json["num_examples"] == {"train": 60, "test": 20}
    assert backbeam("preprocess", "--dataset", folder, "--image-size", "5", "--workspace", tmp_path / "ws").code == 2
    assert backbeam("preprocess", "--image-size", "28x28", "--workspace", tmp_path / "ws").code == 2
