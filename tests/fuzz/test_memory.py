"""Bombs: a few bytes that ask for gigabytes, read in processes that may take 512 MiB more than a sound input does."""

import gzip
import struct
import subprocess
import sys
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.examples import example, frame
from tests.fuzz.bounded import SEEDS
from tests.fuzz.samples import png_of
from tests.helpers import Digits, images_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS bounds a process on Linux")


def zipped_zeros(start: bytes, num_mebibytes: int) -> bytes:
    """Many gzip members, each of zeros: about a thousandth of their length."""
    return gzip.compress(start) + gzip.compress(bytes(2**26)) * (num_mebibytes // 64)


def parquet_file(table: pa.Table, **options) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue().to_pybytes()


def dictionary_bomb() -> bytes:
    """One picture of 60 MB, which stands in each of 40 rows; the file has a few thousand bytes."""
    indices = pa.array([0] * 40, pa.int32())
    images = pa.DictionaryArray.from_arrays(indices, pa.array([bytes(60 * 2**20)], pa.binary()))
    table = pa.table({"image": images, "label": pa.array([0] * len(images))})
    return parquet_file(table, dictionary_pagesize_limit=2**30, store_schema=False)


def page_bomb() -> bytes:
    """One value of 768 MiB in a page of its own."""
    table = pa.table({"image": pa.array([bytes(3 * 2**28)], pa.binary()), "label": [0]})
    return parquet_file(table, use_dictionary=False)


def rows_bomb() -> bytes:
    part = pa.table({name: pa.array([0] * 10**6) for name in "abcd"})
    return parquet_file(pa.concat_tables([part] * 20), row_group_size=2 * 10**7)


def text_bomb() -> bytes:
    """A picture whose comment decompresses to 256 MiB."""
    text = b"Comment\0\0" + zlib.compress(bytes(2**28))  # of zeros
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    whole = png_of(5, 4, zlib.compress(bytes(24)))
    return whole[:33] + chunk + whole[33:]


def list_bomb() -> bytes:
    """One list of 2**28 zeros, and none in the 99 other rows."""
    offsets = pa.array([0, *[2**28] * 100], pa.int64())
    images = pa.LargeListArray.from_arrays(offsets, pa.array(np.zeros(2**28, np.uint8)))
    return parquet_file(pa.table({"image": images, "label": pa.array([0] * 100)}))


def packed_bomb() -> bytes:
    """A record of 16 MiB that holds as many numbers, each of which takes 8 bytes in memory and more in a list."""
    return frame(example([1] * (2**24 - 2**10), 0))


def tiff_of(tags: list[tuple[int, int, int, int]], rest: bytes) -> bytes:
    """A TIFF file whose only directory has tags of (tag, type, count, value); rest follows it."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + rest


def tags_bomb() -> bytes:
    """A TIFF file with 60,000 tags, each of the same megabyte."""
    return tiff_of([(5000 + number, 7, 2**20, 14) for number in range(60_000)], bytes(2**20))


def strip_bomb() -> bytes:
    """A TIFF file of 5 x 4 pixels whose only strip decompresses to 1 GiB."""
    pixels = zlib.compress(bytes(2**30))
    tags = {256: 4, 257: 5, 258: 8, 259: 8, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 5, 279: len(pixels)}
    return tiff_of([(tag, 4, 1, value) for tag, value in tags.items()], pixels)


HUGE = struct.pack(">IIII", 0x803, 2**31, 5, 4)
GIF_IMAGE = b"," + bytes(4) + b"\xff" * 4 + b"\0\x08\xff" + bytes(255) + b"\0;"
BOMBS = {
    "gzip of 4 GiB": ("predicted-file", "sound", lambda: zipped_zeros(struct.pack(">IIII", 0x803, 2**27, 5, 4), 4096)),
    "gzip of more than it says": (
        "idx-images",
        "sound",
        lambda: zipped_zeros(images_bytes(Digits().split(0, 6)[0]), 4096),
    ),
    "2^31 images": ("idx-images", "sound", lambda: HUGE + bytes(100)),
    "PNG of 50,000 x 50,000": ("picture", "sound.png", lambda: png_of(50_000, 50_000, zlib.compress(bytes(2**26)))),
    "PNG with a comment": ("picture", "sound.png", text_bomb),
    "TIFF of 60,000 tags": ("picture", "sound.tiff", tags_bomb),
    "TIFF with a strip of 1 GiB": ("picture", "deflate.tiff", strip_bomb),
    "WebP of 16,384 x 16,384": (
        "picture",
        "sound.webp",
        lambda: b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(5),
    ),
    "PNM of 60,000 x 60,000": ("picture", "text.pgm", lambda: b"P2 60000 60000 255 " + b"0 " * 2**20),
    "GIF of 65,535 x 65,535": ("picture", "sound.gif", lambda: b"GIF89a" + b"\xff" * 4 + bytes(3) + GIF_IMAGE),
    "Parquet, a picture repeated": ("parquet-source", "plain-true", dictionary_bomb),
    "Parquet, a page of 768 MiB": ("parquet-source", "plain-true", page_bomb),
    "Parquet, a list of 2^28 numbers": ("parquet-source", "lists", list_bomb),
    "CSV, gzip of 4 GiB in one line": ("csv-source", "numbers", lambda: zipped_zeros(b"1,", 4096)),
    "TFRecord of 2^24 numbers": ("tfrecord-source", "pixels", packed_bomb),
    "TFRecord source of 2^40 bytes": ("tfrecord-source", "pixels", lambda: struct.pack("<Q", 2**40) + bytes(50)),
    "a table of 20 million rows": ("table", "sound", rows_bomb),
    "TFRecord of 2^40 bytes": ("tfrecord", "sound", lambda: struct.pack("<Q", 2**40) + bytes(50)),
    "TFRecord of nothing but headers": ("tfrecord", "sound", lambda: bytes(2**24)),
    "safetensors header of 2^60 bytes": ("parameters", "sound", lambda: struct.pack("<Q", 2**60) + b"{}"),
    "safetensors header of 64 MiB": ("parameters", "sound", lambda: struct.pack("<Q", 2**26) + b"[" * 2**26),
    "JSON of 100 MB of brackets": ("manifest", "sound.json", lambda: b"[" * 10**8),
    "TOML of 100 MB": ("toml", "sound", lambda: b"x = " + b"[" * 10**8),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "page" in name or "list" in name else ()) for name in BOMBS]
)
@pytest.mark.thorough
def test_a_reader(name, tmp_path, record_property):
    target, sound, make = BOMBS[name]
    (tmp_path / "bomb").write_bytes(make())
    command = [sys.executable, "-m", "tests.fuzz.bounded", target, str(SEEDS / target / sound), str(tmp_path / "bomb")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    record_property("hostile inputs tried", 1)
