import contextlib
import gzip
import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from pipeline.sources import idx
from tests.helpers import images_bytes, labels_bytes


def read(data: bytes, magic=idx.IMAGES_MAGIC, block_bytes=7) -> tuple[idx.Header, bytes]:
    """Read a stored file the way the scan does."""
    stored = io.BytesIO(data)
    with idx.decompressed(stored, "file") as stream:
        header = idx.read_header(stream, magic, "file")
        idx.check_room(header, len(data), data[:2] == b"\x1f\x8b", "file")
        return header, b"".join(idx.read_body(stream, header, block_bytes, "file"))


shapes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


@given(shapes, st.booleans(), st.integers(1, 200))
def test_what_is_sound_is_read_whole(shape, compress, block_bytes):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = images_bytes(images)
    header, body = read(gzip.compress(data) if compress else data, block_bytes=block_bytes)
    assert header.sizes == shape
    assert body == images.tobytes()
    assert header.total_bytes == len(data)


@given(shapes, st.booleans(), st.data())
def test_any_other_length_is_refused(shape, compress, data):
    whole = images_bytes(np.zeros(shape))
    wrong = data.draw(st.sampled_from([whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"x"]))
    with pytest.raises(BadInput, match=r"^file: (truncated|trailing)"):
        read(gzip.compress(wrong) if compress else wrong)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_read_or_refused(data):
    try:
        header, body = read(data)
    except BadInput:
        return
    assert len(body) + header.num_bytes == len(data)


@given(shapes, st.data())
def test_a_damaged_gzip_is_read_or_refused(shape, data):
    whole = bytearray(gzip.compress(images_bytes(np.zeros(shape)), mtime=0))
    place = data.draw(st.integers(2, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(BadInput):
        assert read(bytes(whole))[1] == bytes(np.prod(shape))  # some bytes of the gzip header mean nothing


def test_the_magic_number_is_told():
    with pytest.raises(BadInput, match=r"0x00000801 \(labels\), expected 0x00000803 \(images\)"):
        read(labels_bytes(np.zeros(3)))


def test_a_huge_promise_is_refused_before_anything_is_allocated():
    header = np.array([0x803, 2**31, 1000, 1000], ">u4").tobytes()
    for data in (header, gzip.compress(header)):
        tracemalloc.start()
        with pytest.raises(BadInput, match="the header promises 2147483648000016 bytes, found"):
            read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_a_gzip_bomb_is_refused_within_bounded_memory():
    # 300 MB of zeros in 300 kB, behind a header that promises 4 bytes
    data = gzip.compress(np.array([0x801, 4], ">u4").tobytes() + bytes(300_000_000))
    tracemalloc.start()
    with pytest.raises(BadInput, match="trailing bytes"):
        read(data, idx.LABELS_MAGIC)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_an_image_that_no_block_could_hold_is_refused():
    with pytest.raises(BadInput, match="at most 16777216 bytes each"):
        read(np.array([0x803, 1, 5000, 5000], ">u4").tobytes())


def test_an_empty_split_is_refused():
    with pytest.raises(BadInput, match="the split is empty: the header says 0 x 5 x 4"):
        read(images_bytes(np.zeros((0, 5, 4))))
