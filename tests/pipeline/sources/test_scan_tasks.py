"""Scans that are cut into tasks give what one process gives, and the digests that docs/data.md defines."""

import gzip
import hashlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput
from pipeline.sources import csv_lines, scan_tasks
from pipeline.sources.catalog import FILE_NAMES, PictureOptions
from pipeline.sources.scan_tasks import (
    PIECE_EXAMPLES,
    WHOLE_EXAMPLES,
    OpenDigest,
    PieceSize,
    Span,
    cut_span,
    digest_without_pieces,
    whole_span,
)
from pipeline.sources.source_lookup import find_source, scan_source
from tests.helpers import Digits, labels_bytes
from tests.pictures import read_blocks, write_rows, write_tree
from tests.small_tasks import WRITERS, Workers, write_arrays, write_lines, write_pixels, write_records

LAYOUTS = pytest.mark.parametrize("layout", WRITERS)


def scan(place, map_tasks=scan_tasks.map_here, **options):
    return scan_source(find_source(str(place), None, Path("no-cache"), PictureOptions(**options)), map_tasks=map_tasks)


def test_up_to_a_million_examples_are_one_span():
    assert cut_span(WHOLE_EXAMPLES) == [whole_span(WHOLE_EXAMPLES)] == [Span(0, WHOLE_EXAMPLES, WHOLE_EXAMPLES)]
    assert cut_span(1) == [Span(0, 1, 1)]
    assert cut_span(0) == []


@pytest.mark.parametrize("num_examples", [WHOLE_EXAMPLES + 1, 7_000_000, 10**9])
@pytest.mark.parametrize("least", [1, 100_000])
def test_more_are_cut_into_whole_pieces(num_examples, least):
    spans = cut_span(num_examples, least)
    assert 1 < len(spans) <= 1000
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == num_examples
    assert all(span.start % PIECE_EXAMPLES == 0 and span.piece == PIECE_EXAMPLES for span in spans)
    assert all(span.stop - span.start >= least for span in spans[:-1])


def test_blocks_do_not_cross_the_ends_of_pieces():
    blocks = list(Span(8, 21, 8).blocks(5))
    assert blocks == [range(8, 13), range(13, 16), range(16, 21)]
    assert [Span(8, 21, 8).piece_of(block.start) for block in blocks] == [0, 0, 1]


@LAYOUTS
def test_workers_find_what_one_process_finds(layout, small_tasks, tmp_path):
    place = WRITERS[layout](tmp_path / "source")
    workers = Workers()
    found = scan(place, workers)
    assert workers.num_tasks >= 4
    assert found == scan(place)
    assert found.splits["train"].num_examples == 60
    assert found.splits["test"].num_examples == 20


@LAYOUTS
def test_small_sources_need_no_workers_and_keep_their_identity(layout, tmp_path, monkeypatch):
    place = WRITERS[layout](tmp_path / "source")
    workers = Workers()
    before = scan(place, workers)
    assert workers.num_tasks == 0
    monkeypatch.setattr(scan_tasks, "PIECE_EXAMPLES", 8)
    assert scan(place) == before


@LAYOUTS
def test_examples_are_read_the_same_however_their_scan_was_cut(layout, small_tasks, tmp_path, monkeypatch):
    place = WRITERS[layout](tmp_path / "source")
    cut = scan(place, Workers())
    monkeypatch.undo()
    whole = scan(place)
    if layout == "arrays":  # which are copied first
        assert sum(each.num_examples for each in cut.splits["train"].ranges) == 60
        return
    for split in ("train", "test"):
        for part in ("images", "labels", "indices"):
            values = [
                np.concatenate([getattr(block.examples, part) for block in read_blocks(found, split)])
                for found in (cut, whole)
            ]
            assert np.array_equal(*values)


def test_content_of_unknown_length_has_the_digest_of_its_length():
    size = PieceSize(whole=32, piece=8)
    for length in range(70):
        data = bytes(range(length))
        pieces = b"".join(hashlib.sha256(data[start : start + 8]).digest() for start in range(0, length, 8))
        expected = {False: data, True: data if length <= 32 else pieces}
        for has_pieces, content in expected.items():
            with nullcontext() if has_pieces else digest_without_pieces():
                digest = OpenDigest(size, b"header")
            for position in range(length):
                digest.of_piece(position // 8).update(data[position : position + 1])
            assert digest.close().hexdigest() == hashlib.sha256(b"header" + content).hexdigest()


def digest_in_pieces(data, header=b""):
    digest = hashlib.sha256(header)
    for start in range(0, len(data), 8):
        digest.update(hashlib.sha256(data[start : start + 8].tobytes()).digest())
    return digest.hexdigest()


def test_identity_of_large_idx_files_is_the_digest_of_digests(small_tasks, tmp_path):
    infos = scan(Digits().write(tmp_path / "digits")).infos
    images, labels = Digits().split(0, 60)
    files = Digits().files()
    assert infos[0].sha256 == digest_in_pieces(images, files[FILE_NAMES[0]][:16])
    assert infos[1].sha256 == digest_in_pieces(labels, files[FILE_NAMES[1]][:8])
    assert [info.sha256 for info in infos[2:]] == [hashlib.sha256(files[name]).hexdigest() for name in FILE_NAMES[2:]]


def test_identity_depends_neither_on_compression_nor_on_the_layout_of_arrays(small_tasks, tmp_path):
    infos = scan(Digits().write(tmp_path / "digits")).infos
    workers = Workers()
    assert scan(Digits().write(tmp_path / "gzipped", compress=True), workers).infos == infos
    assert workers.num_tasks == 2  # a gzip file is one task
    arrays = write_arrays(tmp_path / "arrays")
    assert scan(arrays).infos == infos
    named = {}
    for file, name in zip(arrays.split(","), ("x_train", "y_train", "x_test", "y_test"), strict=True):
        named[name] = np.load(file)
    np.savez_compressed(tmp_path / "digits.npz", **named)
    assert scan(tmp_path / "digits.npz", Workers()).infos == infos


@pytest.mark.parametrize("write", [write_rows, write_pixels])
def test_identity_does_not_depend_on_row_groups_and_files(write, small_tasks, tmp_path):
    place = write(tmp_path / "rows")
    infos = scan(place, Workers()).infos
    table = pq.read_table(place / "train.parquet")
    for row_group_size in (3, 8, 60):
        pq.write_table(table, place / "train.parquet", row_group_size=row_group_size)
        assert scan(place, Workers()).infos == infos
    (place / "train.parquet").unlink()
    for number, part in enumerate((table.slice(0, 31), table.slice(31))):
        pq.write_table(part, place / f"train-{number}.parquet")
    assert scan(place, Workers()).infos == infos


def test_identity_of_large_csv_files_is_the_digest_of_digests_of_bytes(small_tasks, tmp_path):
    infos = scan(write_lines(tmp_path / "lines"), Workers()).infos
    parts = [(tmp_path / "lines" / f"{name}.csv").read_bytes() for name in ("train-0", "train-1", "test")]
    train, test = (b"".join(part.partition(b"\n")[2] for part in each) for each in (parts[:2], parts[2:]))
    header = b'[",", 0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], [4, 4]]'
    digest = hashlib.sha256(header)
    for start in range(0, len(train), 400):
        digest.update(hashlib.sha256(train[start : start + 400]).digest())
    assert len(test) < 1600 < len(train)
    assert [info.sha256 for info in infos] == [digest.hexdigest(), hashlib.sha256(header + test).hexdigest()]
    assert [info.num_bytes for info in infos] == [len(train), len(test)]


def test_identity_of_large_tfrecord_files_is_the_digest_of_digests(small_tasks, tmp_path):
    infos = scan(write_records(tmp_path / "records"), Workers()).infos
    for info, (number, num_examples) in zip(infos, enumerate((60, 20)), strict=True):
        images, labels = Digits().split(number, num_examples)
        contents = [f"{label} 20\n".encode() + image.tobytes() for image, label in zip(images, labels, strict=True)]
        digest = hashlib.sha256()
        for start in range(0, num_examples, 8) if num_examples > 32 else ():
            digest.update(hashlib.sha256(b"".join(contents[start : start + 8])).digest())
        digest.update(b"" if num_examples > 32 else b"".join(contents))
        digest.update(b"pixels (5, 4)")
        assert info.sha256 == digest.hexdigest()


@pytest.mark.parametrize("write", [write_lines, write_records])
def test_identity_of_text_and_records_depends_neither_on_compression_nor_on_files(write, small_tasks, tmp_path):
    infos = scan(write(tmp_path / "source"), Workers()).infos
    gzipped = write(tmp_path / "gzipped", compress=True)
    workers = Workers()
    assert scan(gzipped, workers).infos == infos  # measured and read by workers
    assert workers.num_tasks > 3
    assert scan(gzipped).infos == infos  # read to the end by one process
    first, second = sorted((tmp_path / "source").glob("train-*"))
    data = second.read_bytes()
    first.write_bytes(first.read_bytes() + (data.partition(b"\n")[2] if write is write_lines else data))
    second.unlink()
    assert scan(tmp_path / "source", Workers()).infos == infos


def edit_file(place, name, change):
    path = next(place.glob(name))
    path.write_bytes(change(path.read_bytes()))


DAMAGE = {
    "a long row": (write_lines, "train-1*", lambda data: data[:-1] + b",1\n", "no sound CSV: Expected 17"),
    "a long line": (write_lines, "train-1*", lambda data: data[:-1] + b"1" * 1000, "a line of more than"),
    "no number": (write_lines, "test*", lambda data: data + b"1\n", "no sound CSV: Expected 17 columns, got 1"),
    "cut off": (write_records, "train-1*", lambda data: data[:-3], "record 19: truncated: its header promises"),
    "two faults": (write_records, "train-0*", lambda data: data[:200] + b"x" + data[201:-90], "record 1: its checksum"),
    "a payload": (write_records, "test*", lambda data: data[:-5] + b"xxxxx", "record 19: its checksum is wrong"),
}


@pytest.mark.parametrize("fault", DAMAGE)
@pytest.mark.parametrize("compress", [False, True])
def test_damage_is_the_same_error_as_in_one_process(compress, fault, small_tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_lines, "MAX_LINE_BYTES", 500)
    write, name, change, message = DAMAGE[fault]
    place = write(tmp_path / "source", compress=compress)
    edit_file(place, name, (lambda data: gzip.compress(change(gzip.decompress(data)))) if compress else change)
    messages = []
    for map_tasks in (scan_tasks.map_here, Workers()):
        with pytest.raises(BadInput, match=message) as caught:
            scan(place, map_tasks)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("write", [write_lines, write_records])
def test_a_damaged_gzip_file_is_the_same_error_as_in_one_process(write, small_tasks, tmp_path):
    place = write(tmp_path / "source", compress=True)
    edit_file(place, "train-1*", lambda data: data[:-20])
    for map_tasks in (scan_tasks.map_here, Workers()):
        with pytest.raises(BadInput, match=r"train-1.*: corrupt gzip: .*; expected a whole gzip file"):
            scan(place, map_tasks)


def drop_rows(data):
    return b"".join(data.splitlines(keepends=True)[:-3])


def drop_records(data):
    return data[: len(data) // 40 * 37]  # they have equally many bytes


@pytest.mark.parametrize(("write", "change"), [(write_lines, drop_rows), (write_records, drop_records)])
@pytest.mark.parametrize("compress", [False, True])
def test_a_file_that_changes_after_it_was_measured_is_refused(compress, write, change, small_tasks, tmp_path):
    place = write(tmp_path / "source", compress=compress)
    workers = Workers()
    files = iter(place.glob("train-0*"))

    def change_and_run(function, tasks, kind):
        if "measure" not in repr(function):
            for path in files:
                data = path.read_bytes()
                path.write_bytes(gzip.compress(change(gzip.decompress(data))) if compress else change(data))
        return workers(function, tasks, kind)

    with pytest.raises(BadInput, match=r"train-0.* changed while it was read"):
        scan(place, change_and_run)


@pytest.mark.parametrize("layout", ["idx", "arrays", "rows", "pixels", "lines", "records"])
def test_a_changed_example_changes_the_identity(layout, small_tasks, tmp_path):
    before = scan(WRITERS[layout](tmp_path / "source")).infos
    after = scan(WRITERS[layout](tmp_path / "other", Digits(seed=1))).infos
    assert before[0].sha256 != after[0].sha256


def test_errors_are_those_of_one_process(small_tasks, tmp_path):
    folder = Digits().write(tmp_path / "digits")
    path = folder / FILE_NAMES[0]
    path.write_bytes(path.read_bytes() + b"x")
    messages = []
    for map_tasks in (scan_tasks.map_here, Workers()):
        with pytest.raises(BadInput, match="trailing bytes") as caught:
            scan(folder, map_tasks)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_the_last_class_and_the_first_picture_are_found_wherever_they_are(small_tasks, tmp_path):
    folder = Digits().write(tmp_path / "digits")
    (folder / FILE_NAMES[1]).write_bytes(labels_bytes(np.array([*[0] * 30, *[2] * 29, 1])))
    assert scan(folder, Workers()).class_names == ("0", "1", "2")
    tree = write_tree(tmp_path / "tree")
    for path in sorted((tree / "train" / "0").iterdir()):
        path.write_bytes(b"no picture")
    found = scan(tree, Workers())
    assert found.image_size == (5, 4)
    assert found == scan(tree)


def test_gzip_files_of_labels_only_are_read_beside_images_that_are_cut(small_tasks, tmp_path):
    folder = Digits().write(tmp_path / "digits")
    before = scan(folder, Workers())
    for name in FILE_NAMES[1::2]:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert scan(folder, Workers()).infos == before.infos


@pytest.mark.parametrize("layout", ["idx", "arrays"])
def test_arrays_of_few_bytes_are_read_by_this_process_alone(layout, small_tasks, tmp_path, monkeypatch):
    place = WRITERS[layout](tmp_path / "source")
    before = scan(place, Workers())
    monkeypatch.setattr(scan_tasks, "MANY_BYTES", 2**20)
    workers = Workers()
    assert scan(place, workers) == before
    assert workers.num_tasks == 0
