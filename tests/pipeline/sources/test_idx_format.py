"""Files as they are read; `tests/fuzz/test_memory.py` tries those that ask for much memory."""

import contextlib
import gzip
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from pipeline.sources.idx_format import IMAGES_MAGIC, LABELS_MAGIC, may_be_idx, open_idx, read_body
from tests.helpers import images_bytes, labels_bytes


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Return a function that reads a stored file and returns its header and the blocks of its body."""
    place = tmp_path_factory.mktemp("idx") / "file"

    def read(data, magic=IMAGES_MAGIC, block_bytes=7):
        place.write_bytes(data)
        with open_idx(place, magic) as (header, stream):
            return header, list(read_body(stream, header, block_bytes, str(place)))

    return read


shapes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


@given(shape=shapes, compress=st.booleans(), block_bytes=st.integers(1, 200))
def test_sound_file_is_read_completely(read, shape, compress, block_bytes):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = images_bytes(images)
    header, blocks = read(gzip.compress(data) if compress else data, block_bytes=block_bytes)
    assert header.sizes == shape
    assert b"".join(blocks) == images.tobytes()
    assert {len(block) for block in blocks[:-1]} <= {block_bytes}
    assert len(blocks[-1]) <= block_bytes
    assert header.total_bytes == len(data)


@given(shape=shapes, compress=st.booleans(), data=st.data())
def test_file_of_another_length_is_rejected(read, shape, compress, data):
    whole = images_bytes(np.zeros(shape))
    wrong = data.draw(st.sampled_from([whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"x"]))
    with pytest.raises(BadInput, match=r"file: (truncated|trailing)"):
        read(gzip.compress(wrong) if compress else wrong)


@given(shape=shapes, data=st.data())
def test_flipped_bit_in_gzip_is_harmless_or_rejected(read, shape, data):
    whole = bytearray(gzip.compress(images_bytes(np.zeros(shape)), mtime=0))
    place = data.draw(st.integers(2, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(BadInput):
        assert b"".join(read(bytes(whole))[1]) == bytes(np.prod(shape))  # some bytes of the gzip header mean nothing


def header_of(*integers):
    return np.array(integers, ">u4").tobytes()


@pytest.mark.parametrize("level", [1, 9])
def test_best_compressible_gzip_file_is_accepted(read, level):
    data = labels_bytes(np.zeros(3_000_000))
    stored = gzip.compress(data, level)
    assert b"".join(read(stored, LABELS_MAGIC, 2**20)[1]) == data[8:]
    assert level == 1 or len(data) > 1000 * len(stored)  # close to the limit


IMAGES = images_bytes(np.zeros((2, 5, 4)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: expected an IDX header, found only 0 more bytes"),
        (IMAGES[:3], "truncated: expected an IDX header, found only 3 more bytes"),
        (IMAGES[:15], "truncated: expected an IDX header, found only 11 more bytes"),
        (
            b"\0\0\x0d\x03" + IMAGES[4:],
            "the magic number is 0x00000d03 (float32 of 3 dimensions), "
            "expected 0x00000803 (images: uint8 of 3 dimensions)",
        ),
        (
            labels_bytes(np.zeros(3)),
            "the magic number is 0x00000801 (labels), expected 0x00000803 (images: uint8 of 3 dimensions)",
        ),
        (images_bytes(np.zeros((2, 5, 0))), "the split is empty: the header says 2 x 5 x 0, expected at least 1"),
        (header_of(0x803, 1, 4097, 4096), "images of 4097 x 4096 bytes, expected at most 16777216 bytes each"),
        (header_of(0x803, 1, 4096, 4096), "truncated: the header promises 16777232 bytes, found 16 bytes"),
        (IMAGES + b"x", "trailing bytes: the header promises 56 bytes, found more"),
        (IMAGES[:-1], "truncated: the header promises 56 bytes, found 55 bytes"),
        (gzip.compress(IMAGES[:-10]), "truncated: the header promises 56 bytes, found 46"),
        # 39 bytes are stored, which hold at most 39 * 1032 bytes
        (gzip.compress(header_of(0x803, 40_232, 1, 1), 0), "truncated: the header promises 40248 bytes, found 16"),
        (
            gzip.compress(header_of(0x803, 40_233, 1, 1), 0),
            "truncated: the header promises 40249 bytes, found 39 compressed bytes, which hold at most 40248",
        ),
        (
            gzip.compress(IMAGES)[:-1],
            "corrupt gzip: Compressed file ended before the end-of-stream marker was reached; "
            "expected a whole gzip file",
        ),
        (
            gzip.compress(IMAGES)[:-8] + bytes(8),
            f"corrupt gzip: CRC check failed 0x0 != {zlib.crc32(IMAGES):#x}; expected a whole gzip file",
        ),
    ],
    ids=range(15),
)
def test_error_message_names_the_fault(read, data, message):
    with pytest.raises(BadInput) as raised:
        read(data)
    assert str(raised.value).endswith(f"/file: {message}")


@pytest.mark.parametrize(
    ("start", "expected"), [(b"\0\0\x08", True), (b"\x1f\x8b", True), (b"\x1f", False), (b"\0", False), (b"", False)]
)
def test_idx_or_gzip_is_recognized_by_the_first_two_bytes(start, expected):
    assert may_be_idx(start) == expected
