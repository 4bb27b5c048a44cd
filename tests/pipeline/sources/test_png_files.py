"""PNG files that are decoded without Pillow's parser, and those that are left to it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from model.errors import BadInput
from pipeline.sources.image_decoding import decode_image, decode_picture
from pipeline.sources.png_files import read_plain_png
from tests.pictures import encode

COLOURS = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
PLAIN = {"L": COLOURS[..., 0], "LA": COLOURS[..., :2], "RGB": COLOURS[..., :3], "RGBA": COLOURS}
LARGE = np.random.default_rng(1).integers(0, 256, (500, 300), np.uint8)  # in several chunks


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(values: np.ndarray, **options) -> bytes:
    return encode(Image.fromarray(values), "PNG", **options)


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("values", [*PLAIN.values(), LARGE], ids=[*PLAIN, "large"])
def test_plain_pictures_are_those_that_pillow_decodes(values):
    data = png_of(values)
    plain = read_plain_png(data)
    assert np.array_equal(np.asarray(plain.decode()), by_pillow(data))
    expected = Image.open(io.BytesIO(data))
    assert plain.mode == expected.mode
    assert np.array_equal(decode_image(data, "x", "grey").values, np.asarray(expected.convert("L")))
    assert np.array_equal(decode_picture(data, "x").alpha, np.asarray(expected.convert("RGBA"))[..., 3])


def test_conversions_of_plain_pictures_are_counted():
    expected = {"L": (), "LA": ("transparency ignored",), "RGB": ("colours to grey",)}
    for mode, conversions in expected.items():
        assert decode_image(png_of(PLAIN[mode]), "x", "grey").conversions == conversions


def test_other_pictures_are_left_to_pillow():
    about = PngImagePlugin.PngInfo()
    about.add_text("title", "x")
    grey = Image.fromarray(PLAIN["L"])
    for data in (
        encode(grey, "PNG", pnginfo=about),
        encode(grey, "PNG", transparency=7),
        encode(grey.convert("P"), "PNG"),
        encode(grey.convert("1"), "PNG"),
        encode(Image.fromarray(PLAIN["L"].astype(np.uint16)), "PNG"),
    ):
        assert read_plain_png(data) is None
        assert decode_image(data, "x", "grey").values.shape == (9, 7)


def test_interlaced_picture_is_left_to_pillow():
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x09")) + chunk(b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + parts
    assert read_plain_png(data) is None
    assert decode_image(data, "x", "grey").values.tolist() == [[9]]


@pytest.mark.parametrize("mode", PLAIN)
def test_damage_is_rejected(mode):
    data = png_of(PLAIN[mode])
    for end in (20, len(data) // 2, len(data) - 1):
        with pytest.raises(BadInput, match="x: not a sound PNG picture: truncated"):
            decode_image(data[:end], "x", "grey")
    spoilt = bytearray(data)
    spoilt[len(data) // 2] ^= 1
    with pytest.raises(BadInput, match="x: not a sound PNG picture: the checksum of the chunk b'IDAT' is wrong"):
        decode_image(bytes(spoilt), "x", "grey")


FULL = zlib.compress(b"\0\x09" * 3)
ROWS = {
    "too few": zlib.compress(b"\0\x09"),  # Pillow takes the others as black
    "too many": zlib.compress(b"\0\x09" * 4),
    "more bytes": FULL + b"more",
    "no end": FULL[:-4],
    "half": FULL[:-6],
    "none": b"",
    "no zlib": b"no zlib",
    "bad checksum": FULL[:-4] + b"abcd",
    "bad filter": zlib.compress(b"\x07\x09" * 3),
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_decoded_or_rejected_as_by_pillow(kind):
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1, 3, 8, 0, 0, 0, 0)), (b"IDAT", ROWS[kind]), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    assert read_plain_png(data) is not None
    try:
        expected = by_pillow(data)
    except OSError:
        with pytest.raises(BadInput, match="x: not a sound PNG picture"):
            decode_image(data, "x", "grey")
    else:
        assert np.array_equal(decode_image(data, "x", "grey").values, expected)


def test_size_is_checked_before_rows_are_decoded():
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 2**20, 2**20, 8, 0, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    with pytest.raises(BadInput, match="x: 1048576 x 1048576 pixels, expected at most"):
        decode_image(data, "x", "grey")
