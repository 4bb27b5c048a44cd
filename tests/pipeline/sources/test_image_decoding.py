"""Sound and damaged pictures; `tests/fuzz` tries arbitrary bytes."""

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.errors import BadInput
from pipeline.sources.image_decoding import COLOURS, MAX_PIXELS, decode_image, decode_picture
from pipeline.sources.picture_headers import is_picture
from tests.fuzz.samples import png_of
from tests.pictures import encode, png

GREY = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8


SOUND = [
    png(GREY),
    png(np.stack([GREY] * 4, axis=2)),
    png(GREY.astype(np.uint16) * 256),
    encode(Image.fromarray(GREY), "JPEG"),
    encode(Image.fromarray(GREY), "JPEG", progressive=True),
]


def decode_or_reject(data: bytes) -> np.ndarray | None:
    """Return grey and alpha, or None if the picture is rejected."""
    try:
        return np.stack(decode_picture(data, "file")).astype(int)
    except BadInput as problem:
        assert str(problem).startswith("file: ")  # noqa: PT017
        return None


@pytest.mark.parametrize("data", SOUND, ids=range(5))
def test_grey_ignores_transparency(data):
    np.testing.assert_allclose(decode_image(data, "file", "grey").values.astype(int), GREY.astype(int), atol=4)
    assert np.array_equal(decode_image(data, "file", "grey").values, decode_picture(data, "file").grey)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    stored = encode(Image.fromarray(GREY).transpose(Image.Transpose.ROTATE_90), kind, exif=exif)
    np.testing.assert_allclose(decode_image(stored, "file", "grey").values.astype(int), GREY.astype(int), atol=10)


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_orientation_that_means_nothing_is_no_conversion(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode_image(encode(Image.fromarray(GREY), "PNG", exif=exif), "file", "grey")
    assert found.conversions == ()
    assert np.array_equal(found.values, GREY)


@pytest.mark.parametrize(("blue", "conversions"), [(240, ()), (0, (COLOURS,))])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_of_greys_is_no_conversion_of_colours(blue, conversions, kind):
    image = Image.fromarray(GREY // 8 % 2, "P")
    image.putpalette([10, 10, 10, 240, 240, blue])
    assert decode_image(encode(image, kind), "file", "grey").conversions == conversions


@given(st.sampled_from(SOUND), st.data())
def test_truncated_picture_is_rejected_or_complete(data, draw):
    found = decode_or_reject(data[: draw.draw(st.integers(0, len(data) - 1))])
    # PNG has checksums except at its end; a JPEG without its end mark may lack a few coefficients
    tolerance = 0 if data.startswith(b"\x89PNG") else 4
    if found is not None:
        np.testing.assert_allclose(found, decode_or_reject(data), atol=tolerance)


@given(st.sampled_from(SOUND[:3]), st.data())
def test_changed_png_is_rejected_or_unchanged(data, draw):
    changed = bytearray(data)
    changed[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    found = decode_or_reject(bytes(changed))
    assert found is None or np.array_equal(found, decode_or_reject(data))


@pytest.mark.parametrize("side", [7072, 12_000, 60_000])  # above our limit, Pillow's warning and Pillow's error
def test_too_many_pixels_are_rejected_before_decoding(side):
    data = png_of(side, side, zlib.compress(b""))
    tracemalloc.start()
    with pytest.raises(BadInput, match=rf"^file: .*expected at most {MAX_PIXELS}"):
        decode_picture(data, "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_pictures_are_recognized_by_content():
    assert all(map(is_picture, SOUND))
    assert not any(map(is_picture, [b"", b"\x1f\x8b\x08", b"\0\0\x08\x03", b"GIF8", b"\x89PNG", b"BM,label", b"P5,1"]))
