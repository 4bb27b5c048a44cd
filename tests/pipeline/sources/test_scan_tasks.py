"""Scans that are cut into tasks give what one process gives, and the digests that docs/data.md defines."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput
from pipeline.sources import scan_tasks
from pipeline.sources.catalog import FILE_NAMES, PictureOptions
from pipeline.sources.scan_tasks import PIECE_EXAMPLES, WHOLE_EXAMPLES, Span, cut_span, whole_span
from pipeline.sources.source_lookup import find_source, scan_source
from tests.helpers import Digits, labels_bytes
from tests.pictures import read_blocks, write_rows, write_tree
from tests.small_tasks import WRITERS, Workers, write_arrays, write_pixels

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


@pytest.mark.parametrize("layout", ["idx", "arrays", "rows", "pixels"])
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
