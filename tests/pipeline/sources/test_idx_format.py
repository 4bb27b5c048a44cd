import contextlib
import gzip
import io
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from pipeline.evaluate.predict import predict_images
from pipeline.sources import idx_format as idx
from pipeline.sources.catalog import FILE_NAMES
from pipeline.sources.scan import scan_source
from pipeline.sources.source_lookup import find_source
from tests.helpers import images_bytes, labels_bytes


def read(data: bytes, magic=idx.IMAGES_MAGIC, block_bytes=7) -> tuple[idx.Header, bytes]:
    """Read a stored file as the scan does."""
    stored = io.BytesIO(data)
    with idx.decompressed(stored, "file") as stream:
        header = idx.read_header(stream, magic, "file")
        idx.check_room(header, len(data), data[:2] == b"\x1f\x8b", "file")
        return header, b"".join(idx.read_body(stream, header, block_bytes, "file"))


shapes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


@given(shapes, st.booleans(), st.integers(1, 200))
def test_sound_file_is_read_completely(shape, compress, block_bytes):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = images_bytes(images)
    header, body = read(gzip.compress(data) if compress else data, block_bytes=block_bytes)
    assert header.sizes == shape
    assert body == images.tobytes()
    assert header.total_bytes == len(data)


@given(shapes, st.booleans(), st.data())
def test_file_of_another_length_is_rejected(shape, compress, data):
    whole = images_bytes(np.zeros(shape))
    wrong = data.draw(st.sampled_from([whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"x"]))
    with pytest.raises(BadInput, match=r"^file: (truncated|trailing)"):
        read(gzip.compress(wrong) if compress else wrong)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_read_or_rejected(data):
    try:
        header, body = read(data)
    except BadInput:
        return
    assert len(body) + header.num_bytes == len(data)


@given(shapes, st.data())
def test_flipped_bit_in_gzip_is_harmless_or_rejected(shape, data):
    whole = bytearray(gzip.compress(images_bytes(np.zeros(shape)), mtime=0))
    place = data.draw(st.integers(2, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(BadInput):
        assert read(bytes(whole))[1] == bytes(np.prod(shape))  # some bytes of the gzip header mean nothing


def test_wrong_magic_number_is_rejected():
    with pytest.raises(BadInput, match=r"0x00000801 \(labels\), expected 0x00000803 \(images\)"):
        read(labels_bytes(np.zeros(3)))


def test_header_of_a_huge_file_is_rejected_before_memory_is_allocated():
    header = np.array([0x803, 2**31, 1000, 1000], ">u4").tobytes()
    for data in (header, gzip.compress(header)):
        tracemalloc.start()
        with pytest.raises(BadInput, match="the header promises 2147483648000016 bytes, found"):
            read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_gzip_bomb_is_rejected_within_bounded_memory():
    # 300 MB of zeros in 300 kB, behind a header that promises 4 bytes
    data = gzip.compress(np.array([0x801, 4], ">u4").tobytes() + bytes(300_000_000))
    tracemalloc.start()
    with pytest.raises(BadInput, match="trailing bytes"):
        read(data, idx.LABELS_MAGIC)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_too_large_image_is_rejected():
    with pytest.raises(BadInput, match="at most 16777216 bytes each"):
        read(np.array([0x803, 1, 5000, 5000], ">u4").tobytes())


def test_empty_split_is_rejected():
    with pytest.raises(BadInput, match="the split is empty: the header says 0 x 5 x 4"):
        read(images_bytes(np.zeros((0, 5, 4))))


def labels_header(num_bytes: int) -> idx.Header:
    """The header of a file of labels of num_bytes in total."""
    return idx.Header(idx.LABELS_MAGIC, (num_bytes - 8,))


def test_plain_file_holds_at_most_its_own_length():
    idx.check_room(labels_header(100), 100, compressed=False, name="file")
    with pytest.raises(BadInput, match=r"^file: truncated: the header promises 101 bytes, found 100 bytes$"):
        idx.check_room(labels_header(101), 100, compressed=False, name="file")


def test_gzip_file_holds_at_most_1032_times_its_length():
    idx.check_room(labels_header(100 * 1032), 100, compressed=True, name="file")
    with pytest.raises(
        BadInput,
        match=r"^file: truncated: the header promises 103201 bytes, found 100 compressed bytes, which hold at most "
        r"103200$",
    ):
        idx.check_room(labels_header(100 * 1032 + 1), 100, compressed=True, name="file")


@pytest.mark.parametrize("level", [1, 9])
def test_best_compressible_gzip_file_is_within_the_limit(level):
    data = labels_bytes(np.zeros(3_000_000))
    stored = gzip.compress(data, level)
    idx.check_room(labels_header(len(data)), len(stored), compressed=True, name="file")
    assert level == 1 or len(data) > 1000 * len(stored)  # close to the limit


def gzipped_header(magic: int, *sizes: int) -> bytes:
    """A gzip file of a header without a body."""
    return gzip.compress(np.array([magic, *sizes], ">u4").tobytes())


def test_scan_checks_the_header_before_it_reads_the_body(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.idx_source.read_body", lambda *_: pytest.fail("read"))
    files = [gzipped_header(idx.IMAGES_MAGIC, 10**6, 5, 4), gzipped_header(idx.LABELS_MAGIC, 10**6)] * 2
    for name, data in zip(FILE_NAMES, files, strict=True):
        (tmp_path / f"{name}.gz").write_bytes(data)
    with pytest.raises(BadInput, match=r"promises 20000016 bytes, found .* compressed bytes, which hold at most"):
        scan_source(find_source(str(tmp_path), None, tmp_path))


def test_predict_checks_the_header_before_it_reads_the_body(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.predict.read_body", lambda *_: pytest.fail("read"))
    (tmp_path / "images").write_bytes(gzipped_header(idx.IMAGES_MAGIC, 10**5, 5, 4))
    with pytest.raises(BadInput, match=r"promises 2000016 bytes, found .* compressed bytes, which hold at most"):
        predict_images([str(tmp_path / "images")], 5, 4, ("a",), lambda _: pytest.fail("classified"))


IMAGES = images_bytes(np.zeros((2, 5, 4)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file: truncated: expected an IDX header, found only 0 more bytes"),
        (IMAGES[:3], "file: truncated: expected an IDX header, found only 3 more bytes"),
        (IMAGES[:15], "file: truncated: expected an IDX header, found only 11 more bytes"),
        (
            b"\0\0\x0d\x03" + IMAGES[4:],
            "file: the magic number is 0x00000d03 (no IDX file of bytes), expected 0x00000803 (images)",
        ),
        (
            labels_bytes(np.zeros(3)),
            "file: the magic number is 0x00000801 (labels), expected 0x00000803 (images)",
        ),
        (
            images_bytes(np.zeros((2, 5, 0))),
            "file: the split is empty: the header says 2 x 5 x 0, expected at least 1",
        ),
        (
            np.array([0x803, 1, 4097, 4096], ">u4").tobytes(),
            "file: images of 4097 x 4096 bytes, expected at most 16777216 bytes each",
        ),
        (IMAGES + b"x", "file: trailing bytes: the header promises 56 bytes, found more"),
        (IMAGES[:-1], "file: truncated: the header promises 56 bytes, found 55 bytes"),
        (gzip.compress(IMAGES[:-1]), "file: truncated: the header promises 56 bytes, found 55"),
        (gzip.compress(IMAGES[:-10]), "file: truncated: the header promises 56 bytes, found 46"),
        (
            gzip.compress(IMAGES)[:-1],
            "file: corrupt gzip: Compressed file ended before the end-of-stream marker was reached; "
            "expected a whole gzip file",
        ),
        (
            gzip.compress(IMAGES)[:-8] + bytes(8),
            f"file: corrupt gzip: CRC check failed 0x0 != {zlib.crc32(IMAGES):#x}; expected a whole gzip file",
        ),
    ],
    ids=range(13),
)
def test_error_message_names_the_fault(data, message):
    with pytest.raises(BadInput) as raised:
        read(data)
    assert str(raised.value) == message


def test_image_of_the_largest_size_is_accepted():
    header = io.BytesIO(np.array([0x803, 1, 4096, 4096], ">u4").tobytes())
    assert idx.read_header(header, idx.IMAGES_MAGIC, "file").example_bytes == idx.MAX_EXAMPLE_BYTES


@pytest.mark.parametrize(
    ("start", "expected"), [(b"\0\0\x08", True), (b"\x1f\x8b", True), (b"\x1f", False), (b"\0", False), (b"", False)]
)
def test_idx_or_gzip_is_recognized_by_the_first_two_bytes(start, expected):
    assert idx.may_be_idx(start) == expected
