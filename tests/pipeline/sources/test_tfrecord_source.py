"""TFRecord files of other writers, and of backbeam itself."""

import gzip
import struct
import zlib

import google_crc32c
import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from pipeline.sources import tfrecord_tasks
from pipeline.sources.tfrecord_format import mask_checksum
from tests.examples import example, frame
from tests.helpers import Digits, contents, run_in_process
from tests.pictures import SPLITS, png, read_blocks, read_reasons, scan_folder

NAMES = ("no", "yes", "maybe")
SLIM = {"image/height": 5, "image/width": 4, "image/format": "png"}


def digits_of(split):
    return Digits().split(SPLITS[split], 60 if split == "train" else 20)


def slim(image, label):
    return example(png(image), int(label), **SLIM)


def raw(image, label):
    return example(image.tobytes(), NAMES[label], ("image_raw", "label"), height=5, width=4)


def floats(image, label):
    return example(image.reshape(-1).astype(float).tolist(), float(label), ("image", "label"))


def own(image, label):
    return example(image.tobytes(), int(label), ("image", "label"), index=3)


def write_records(folder, write=slim, name="{}.tfrecord", change=lambda data: data):
    for split in SPLITS:
        path = folder / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(change(b"".join(frame(write(*pair)) for pair in zip(*digits_of(split), strict=True))))
    return folder


def examples_of(scans, split):
    return [np.concatenate(part) for part in zip(*(block.examples for block in read_blocks(scans, split)), strict=True)]


@pytest.mark.parametrize("write", [slim, raw, floats, own])
def test_records_of_any_writer_give_the_same_examples(write, tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecord_tasks, "BLOCK_BYTES", 900)
    scans = scan_folder(write_records(tmp_path, write), image_size=(5, 4) if write in (floats, own) else None)
    images, labels = digits_of("train")
    found = examples_of(scans, "train")
    assert len(scans.splits["train"].ranges) > 3
    assert scans.class_names == (("maybe", "no", "yes") if write is raw else ("0", "1", "2"))
    assert np.array_equal(found[0], np.arange(60))
    assert np.array_equal(found[1], images.reshape(60, -1))
    assert found[2].tolist() == ([(1, 2, 0)[label] for label in labels] if write is raw else labels.tolist())


def test_identity_does_not_depend_on_files_compression_or_other_features(tmp_path):
    infos = scan_folder(write_records(tmp_path / "a")).infos
    zipped = write_records(tmp_path / "b", name="x-{}.tfrecord-00000-of-00001.gz", change=gzip.compress)
    scans = scan_folder(zipped)
    assert scans.infos == infos
    more = write_records(tmp_path / "c", lambda image, label: example(png(image), int(label), other="x"))
    data = (more / "train.tfrecord").read_bytes()
    size = len(frame(example(png(digits_of("train")[0][0]), 0, other="x")))
    (more / "train.tfrecord").unlink()
    (more / "train").mkdir()
    (more / "train-0.tfrecord").write_bytes(data[:size])
    (more / "train-1.tfrecord").write_bytes(data[size:])
    assert scan_folder(more).infos == infos
    assert scan_folder(write_records(tmp_path / "d", raw)).infos != infos


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("{}.tfrecords.gz", "{}.tfrecords.gz"),
        ("mnist-{}.tfrecord-00000-of-00001", "mnist-{}.tfrecord-00000-of-00001"),
        ("mnist-{}.tfrecord-00000-of-00001", "mnist-{}.tfrecord-*-of-00001"),
        ("mnist-{}.tfrecord-00000-of-00001", "mnist-{}.tfrecord-?????-of-*"),
        ("mnist-{}.tfrecord-00000-of-00001", "mnist-{}.tfrecord*"),
    ],
)
def test_files_of_any_customary_name_can_be_named(name, pattern, tmp_path):
    expected = scan_folder(write_records(tmp_path / "a")).infos
    write_records(tmp_path / "b", name=name, change=gzip.compress if name.endswith("gz") else bytes)
    files = [f"{tmp_path}/b/{pattern.format(split)}" for split in SPLITS]
    assert scan_folder(",".join(files)).infos == expected


def test_shards_of_a_data_set_are_a_source_of_its_size_and_classes(tmp_path):
    options = ("--workspace", tmp_path / "a", "--dataset", write_records(tmp_path / "source", raw), "--max-rejected", 1)
    first = run_in_process("preprocess", *options)
    assert first.code == 0, first.err
    [folder] = (tmp_path / "a/datasets").iterdir()
    (folder / "rejected.parquet").write_bytes(b"a table")
    scans = scan_folder(folder)
    assert (scans.image_size, scans.class_names) == ((5, 4), ("maybe", "no", "yes"))
    assert sorted(map(bytes, examples_of(scans, "test")[1])) == sorted(each.tobytes() for each in digits_of("test")[0])


def test_gzipped_records_give_the_same_shards_as_idx_files(digits_folder, tmp_path):
    shards = []
    zipped = write_records(tmp_path / "source", name="{}.tfrecord.gz", change=gzip.compress)
    for number, source in enumerate([digits_folder, zipped]):
        workspace = tmp_path / f"ws{number}"
        done = run_in_process("preprocess", "--workspace", workspace, "--dataset", source, "--num-shards", 3)
        assert done.code == 0, done.err
        [folder] = (workspace / "datasets").iterdir()
        shards.append({name: data for name, data in contents(folder).items() if name.endswith("tfrecord")})
    assert shards[0] == shards[1]


def test_unusable_records_are_rejected_with_a_reason(tmp_path):
    image = digits_of("test")[0][0]
    records = [
        example(image.tobytes()[:7], "no", ("image_raw", "label")),
        example([b"x", b"y"], "no", ("image_raw", "label")),
        example(image.tobytes(), "other", ("image_raw", "label")),
        example(image.tobytes(), ["no", "no"], ("image_raw", "label")),
        example([0.5] * 20, "no", ("image_raw", "label")),
        example(image.tobytes(), "no", ("other", "label")),
        example(image.tobytes(), "no", ("image_raw", "label"), height=2, width=10),
        example(image.tobytes(), "no", ("image_raw", "label"), height=-5, width=-4),
        example(image.tobytes(), b"B\xe4r", ("image_raw", "label")),
        example(image.tobytes(), b"\x08", ("image_raw", "label")),
        example(image.tobytes(), b"\t", ("image_raw", "label")),
    ]
    (write_records(tmp_path, raw) / "test.tfrecord").write_bytes(b"".join(map(frame, records)))
    assert list(read_reasons(scan_folder(tmp_path), "test").values()) == [
        "row 0: an image of 7 pixels, expected 20",
        "row 1: there is no image",
        "row 2: the label 'other' is of no class of the train split",
        "row 3: there is no label",
        "row 4: the pixel '0' is 0.5, expected a whole number from 0 to 255",
        "row 5: there is no image",
        "row 6: the record says 2 x 10 pixels, expected 5 x 4",
        "row 7: the record says -5 x -4 pixels, expected 5 x 4",
        r"row 8: the label 'B\udce4r' is no text in UTF-8",
        r"row 9: the label '\x08' is no text in UTF-8",
        "row 10: there is no label",
    ]


WIDE = np.arange(100, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the split is empty: it has no records"),
        (b"123456789", "record 0: truncated: 9 bytes of a header"),
        (struct.pack("<QI", 2**40, 0) + bytes(50), "record 0: the checksum of its length is wrong"),
        (
            zlib.compress(frame(slim(*[each[0] for each in digits_of("test")]))),
            "compressed by ZLIB: write it with GZIP",
        ),
        (frame(slim(*[each[0] for each in digits_of("test")]))[:-3], "record 0: truncated: its header promises"),
        (frame(b"\xff" * 40), "record 0: no tf.train.Example"),
        (frame(example(b"xxxx", 0))[:-1] + b"\0", "record 0: its checksum is wrong"),
        (frame(example(b"xxxx", 0, ("a", "b"))), "record 0: no feature image/encoded, image, .* its features: a, b"),
        (frame(example(b"xxxxx", 0)), "record 0: 5 pixels in an image, which is no square"),
        (frame(example(b"xxxx", 0, height=3, width=3)), "has 4 values, and the record says 3 x 3 pixels"),
        (frame(example(b"xxxx", 0, height=-2, width=-2)), "has 4 values, and the record says -2 x -2 pixels"),
        (frame(example(WIDE, 0)), "seems to hold float32 numbers"),
    ],
    ids=range(12),
)
def test_damaged_file_is_rejected(data, message, tmp_path):
    (write_records(tmp_path) / "train.tfrecord").write_bytes(data)
    with pytest.raises(BadInput, match=message):
        scan_folder(tmp_path)


def test_length_beyond_any_image_is_refused_before_it_is_read(tmp_path):
    length = struct.pack("<Q", 2**40)
    checksum = struct.pack("<I", mask_checksum(google_crc32c.value(length)))
    (write_records(tmp_path) / "train.tfrecord").write_bytes(length + checksum + bytes(20))
    with pytest.raises(BadInput, match="record 0: 1099511627776 bytes, expected at most"):
        scan_folder(tmp_path)


def test_size_that_the_records_contradict_is_refused(tmp_path):
    folder = write_records(tmp_path, raw)
    with pytest.raises(BadInput, match="record 0: the record says 5 x 4 pixels, expected 2 x 10, as --image-size or"):
        scan_folder(folder, image_size=(2, 10))
    (folder / "manifest.json").write_text('{"height": 4, "width": 5, "class_names": ["no", "yes", "maybe"]}')
    with pytest.raises(BadInput, match=r"expected 4 x 5, as --image-size or manifest\.json beside the file says"):
        scan_folder(folder)


def test_labels_that_differ_in_bytes_that_are_no_text_are_no_classes(tmp_path):
    names = (b"B\xe4r", b"B\xf6r", "maybe")
    scans = scan_folder(write_records(tmp_path, lambda image, label: example(png(image), names[label])))
    assert scans.class_names == ("maybe",)
    assert {*examples_of(scans, "train")[2].tolist()} == {0}
    reasons = {reason.partition(": ")[2] for reason in read_reasons(scans, "train").values()}
    assert reasons == {rf"the label 'B\udc{code}r' is no text in UTF-8" for code in ("e4", "f6")}


@pytest.mark.parametrize("names", [("image/encoded", "image/class/label"), ("image", "label"), ("note", "label")])
def test_first_record_without_an_image_is_rejected(names, tmp_path):
    folder = write_records(tmp_path, slim if "image/encoded" in names else own)
    first = frame(example(b"", 0, names))
    (folder / "train.tfrecord").write_bytes(first + (folder / "train.tfrecord").read_bytes())
    scans = scan_folder(folder, image_size=(5, 4))
    assert [*read_reasons(scans, "train")] == ["train.tfrecord[0]"]
    (folder / "train.tfrecord").write_bytes(first)
    with pytest.raises(BadInput, match=r"record 0: .* image"):
        scan_folder(folder, image_size=(5, 4))


def test_size_of_a_manifest_that_does_not_fit_is_bad_input(tmp_path):
    folder = write_records(tmp_path, own)
    (folder / "manifest.json").write_text('{"height": 3, "width": 8, "class_names": ["a", "b", "c"]}')
    with pytest.raises(BadInput, match=r"has 20 pixels in an image; manifest\.json beside the file says so"):
        scan_folder(folder)
    assert scan_folder(folder, image_size=(5, 4)).image_size == (5, 4)


def test_requested_features_must_exist(tmp_path):
    with pytest.raises(BadUsage, match=r"--label-column x: .* has no such feature; its features: image/class/label, "):
        scan_folder(write_records(tmp_path), label_column="x")


def test_change_after_the_scan_is_found(tmp_path):
    scans = scan_folder(write_records(tmp_path))
    images, labels = digits_of("train")
    records = [frame(slim(*pair)) for pair in zip(images, labels[::-1], strict=True)]
    (tmp_path / "train.tfrecord").write_bytes(b"".join(records))
    with pytest.raises(BadInput, match="changed while it was read"):
        read_blocks(scans, "train")
