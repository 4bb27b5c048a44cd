"""Formats of pictures, their damage, and sizes and tags that are refused before they are decoded."""

import struct

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from model.errors import BadInput
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.csv_columns import detect_csv_columns
from pipeline.sources.image_decoding import MAX_PIXELS, TURNED, decode_image
from pipeline.sources.picture_headers import is_picture
from tests.helpers import Digits
from tests.pictures import encode, read_reasons, rows_table, scan_folder, split_of, write_rows

DIGIT = np.kron(Digits().split(0, 1)[0][0], np.ones((3, 3), np.uint8))
GREY = Image.fromarray(DIGIT)
SIXTEEN_BITS = Image.fromarray(DIGIT.astype(np.uint16) * 256)
LOSSLESS = {
    "BMP": encode(GREY, "BMP"),
    "BMP in colours": encode(GREY.convert("RGB"), "BMP"),
    "GIF": encode(GREY, "GIF"),
    "GIF of two images": encode(GREY, "GIF", save_all=True, append_images=[Image.new("L", GREY.size)]),
    "WebP": encode(GREY, "WEBP", lossless=True),
    "WebP of two images": encode(GREY, "WEBP", lossless=True, save_all=True, append_images=[Image.new("L", GREY.size)]),
    "TIFF": encode(GREY, "TIFF"),
    "TIFF, deflated": encode(GREY, "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, LZW": encode(GREY, "TIFF", compression="tiff_lzw"),
    "TIFF of two pages": encode(GREY, "TIFF", save_all=True, append_images=[Image.new("L", GREY.size)]),
    "TIFF of 16 bits": encode(SIXTEEN_BITS, "TIFF"),
    "PGM": encode(GREY, "PPM"),
    "PGM of 16 bits": encode(SIXTEEN_BITS, "PPM"),
    "PPM": encode(GREY.convert("RGB"), "PPM"),
    "PGM of text": b"P2\n# a digit\n12 15 255\n" + " ".join(map(str, DIGIT.reshape(-1))).encode(),
}


def refuse(data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        decode_image(data, "file", "grey")
    assert str(caught.value).startswith("file: ")
    return str(caught.value)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_digit_has_the_same_pixels_in_each_lossless_format(kind):
    assert is_picture(LOSSLESS[kind][:32])
    assert np.array_equal(decode_image(LOSSLESS[kind], "file", "grey").values, DIGIT)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_damaged_file_is_refused(kind):
    data = LOSSLESS[kind]
    assert "not a sound" in refuse(data[: len(data) // 3])
    assert "not a sound" in refuse(data[:20])


def test_damaged_files_are_rejected_examples(tmp_path):
    digits = Digits(num_test=20)
    folder = write_rows(tmp_path, digits)
    pictures, labels = split_of(digits, "test")
    small = [encode(Image.fromarray(digits.split(1, 5)[0][0]), kind) for kind in ("BMP", "GIF", "WEBP", "TIFF", "PPM")]
    pictures[:10] = [*small, *(data[:-12] for data in small)]
    rows = rows_table(pictures, labels)
    pq.write_table(rows, folder / "test.parquet")
    found = read_reasons(scan_folder(folder), "test")
    assert [name.split("[")[1] for name in found] == [f"{index}]" for index in range(5, 10)]
    assert all("not a sound" in reason for reason in found.values())


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_of_no_known_range_are_refused(mode):
    assert "convert it to 8 bits" in refuse(encode(GREY.convert(mode), "TIFF"))


def test_inverted_sixteen_bits_are_refused():
    assert "largest value is black" in refuse(encode(SIXTEEN_BITS, "TIFF", tiffinfo={262: 0}))


def test_the_orientation_of_a_tiff_picture_is_applied_and_counted():
    stored = encode(GREY.transpose(Image.Transpose.ROTATE_90), "TIFF", tiffinfo={274: 6})
    found = decode_image(stored, "file", "grey")
    assert np.array_equal(found.values, DIGIT)
    assert found.conversions == (TURNED,)


def webp_of(kind: bytes, size: bytes) -> bytes:
    return b"RIFF\x40\0\0\0WEBP" + kind + b"\x0a\0\0\0" + size + bytes(60)


def tiff_of(tags: dict[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(100)


HUGE = {
    "WebP": webp_of(b"VP8X", bytes(4) + b"\xff\xff\0" * 2),
    "WebP, lossless": webp_of(b"VP8L", b"\x2f" + b"\xff\xff\xff\x0f"),
    "WebP, lossy": webp_of(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + b"\xff\x3f" * 2),
    "GIF": b"GIF89a" + b"\xff" * 4 + encode(GREY, "GIF")[10:],
    "BMP": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 60_000, 60_000, 1, 8, 0) + bytes(60),
    "PGM": b"P5 60000 60000 255\n",
    "PGM of text": b"P2 60000 60000 255\n0",
    "tile of a TIFF": tiff_of({256: 9, 257: 9, 258: 8, 259: 8, 262: 1, 322: 2**15, 323: 2**15, 324: 8, 325: 99}),
}


@pytest.mark.parametrize("kind", HUGE)
def test_too_many_pixels_are_refused(kind):
    assert f"expected at most {MAX_PIXELS}" in refuse(HUGE[kind])


def tags_bomb(order: str) -> bytes:
    """A TIFF directory whose tags all point to the same bytes."""
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 1000)
    entries = b"".join(struct.pack(f"{order}HHII", 40_000 + tag, 7, 10_000, 13_000) for tag in range(1000))
    return start + entries + bytes(20_000)


@pytest.mark.parametrize("order", "<>")
def test_tags_that_share_their_bytes_are_refused(order):
    assert "tags" in refuse(tags_bomb(order))
    assert "tags" in refuse(encode(GREY, "PNG", exif=tags_bomb(order)))
    assert "tags" in refuse(encode(GREY, "WEBP", exif=tags_bomb(order)))


@pytest.mark.parametrize("num_bytes", [0x18, 0x24, 0x2C])
def test_heic_is_named_whatever_the_length_of_its_first_box(num_bytes):
    assert "a HEIC or AVIF picture: not read" in refuse(struct.pack(">I4s4s", num_bytes, b"ftyp", b"heic") + bytes(99))


@pytest.mark.parametrize("ending", ["bmp", "GIF", "webp", "tif", "TIFF", "pgm"])
def test_paths_of_csv_files_are_recognised_by_their_endings(ending):
    found = detect_csv_columns(["where,label", f"a/1.{ending},1"], PictureOptions(), "file")
    assert found.images == (0,)
