"""Conversion of pictures of every mode and size."""

import gzip

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from model.errors import BadInput
from pipeline.sources.image_decoding import decode_picture
from pipeline.sources.picture_conversion import (
    MIN_CONTRAST,
    centre_ink,
    crop_to_ink,
    find_ink,
    prepare_picture,
    read_picture,
)
from pipeline.sources.picture_style import PictureStyle
from tests.pictures import encode, png

# a 7 of 40 x 40 pixels, bright on black
SEVEN = np.zeros((40, 40), np.uint8)
SEVEN[5:10, 8:30] = 255
SEVEN[5:35, 25:30] = 255


def prepared(data: bytes, height: int = 28, width: int = 28) -> np.ndarray:
    return prepare_picture(decode_picture(data, "file"), height, width, "file").image


def with_alpha(ink: int, mask: np.ndarray, hidden: int) -> bytes:
    """A PNG of ink where the mask is set and of an invisible colour elsewhere."""
    values = np.where(mask > 0, ink, hidden).astype(np.uint8)
    return png(np.stack([values, values, values, mask], axis=2))


def palette_with_a_transparent_colour() -> bytes:
    image = Image.fromarray((SEVEN > 0).astype(np.uint8), "P")
    image.putpalette([200, 255, 200, 0, 0, 90])
    return encode(image, "PNG", transparency=0)


def sixteen_bits(values: np.ndarray) -> bytes:
    return png(values.astype(np.uint16) * 257)


SEVEN_BY_FORMAT = {
    "light on dark": png(SEVEN),
    "dark on light": png(255 - SEVEN),
    "dark grey on light grey": png((200 - SEVEN // 3).astype(np.uint8)),
    "one bit": png(SEVEN > 0),
    "colours": png(np.stack([255 - SEVEN, 255 - SEVEN // 2, 255 - SEVEN], axis=2)),
    "palette with a transparent colour": palette_with_a_transparent_colour(),
    "grey and alpha": encode(Image.merge("LA", (Image.new("L", (40, 40), 0), Image.fromarray(SEVEN))), "PNG"),
    "black on transparent black": with_alpha(0, SEVEN, 0),
    "white on transparent white": with_alpha(255, SEVEN, 255),
    "grey ink on transparent grey": with_alpha(120, SEVEN, 120),
    "16 bits, dark on light": sixteen_bits(255 - SEVEN),
    "16 bits, faint": png(SEVEN.astype(np.uint16) * 100),
    "elsewhere": png(np.pad(255 - SEVEN, ((100, 7), (3, 55)), constant_values=255)),
}


@pytest.mark.parametrize("case", SEVEN_BY_FORMAT)
def test_every_storage_format_gives_the_same_image(case):
    found = prepared(SEVEN_BY_FORMAT[case])
    expected = prepared(SEVEN_BY_FORMAT["light on dark"])
    assert found.shape == (28, 28)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=2)


@pytest.mark.parametrize(
    "data",
    [
        png(255 - SEVEN.repeat(10, axis=0).repeat(10, axis=1)),
        encode(Image.fromarray(255 - SEVEN), "JPEG", quality=40),  # whose noise is no ink
    ],
)
def test_scaling_and_compression_change_only_the_edges(data):
    assert np.abs(prepared(data).astype(int) - prepared(png(SEVEN))).mean() < 4


def test_ink_is_scaled_to_20_pixels():
    rows, columns = (np.flatnonzero(prepared(png(SEVEN)).any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (20, 15)  # of 30 x 22
    assert prepared(png(SEVEN)).max() == 255


def test_thin_line_in_a_large_picture_keeps_its_strength():
    assert prepared(png(np.eye(3000, dtype=np.uint8) * 255)).max() == 255


@pytest.mark.parametrize(("background", "doubted"), [("dark", "light"), ("light", "dark")])
def test_picture_of_the_right_size_is_taken_as_it_is(background, doubted):
    image = np.zeros((28, 28), np.uint8)
    image[3:9, 2:5] = 90
    image = 255 - image if background == "light" else image
    style = PictureStyle(background=background)
    assert read_picture(png(image), 28, 28, "file", style).remarks == ()
    found = read_picture(png(255 - image), 28, 28, "file", style)
    assert np.array_equal(found.image, 255 - image)
    assert found.remarks == (
        f"taken as it is, though its background is {doubted} and that of the data set {background}",
    )
    assert read_picture(png(0 * image), 28, 28, "file", style).remarks == ("blank: all pixels are equal",)
    assert read_picture(png(image), 28, 30, "file", style).image.shape == (28, 30)


def test_picture_of_another_size_gets_the_style_of_the_data_set():
    faint = (SEVEN // 17).astype(np.uint16) << 8  # 0 to 15 of 255, as 12-bit cameras store it
    style = PictureStyle(background="light", darkest=1, brightest=16)
    dark_on_light = read_picture(png((15 << 8) - faint), 28, 28, "file", style)
    light_on_dark = read_picture(png(faint), 28, 28, "file", style)
    expected = 16 - np.rint(prepared(png(SEVEN)) / 17)
    for found in (dark_on_light, light_on_dark):
        assert np.abs(found.image - expected).max() <= 1
        assert found.remarks[0] == "the sign, 30 x 22 of 40 x 40 pixels, scaled to 20 x 15 and centred"
    assert light_on_dark.remarks[1] == "inverted, as its background is dark and that of the data set light"


def test_placement_agrees_with_canonical_mnist(mnist_folder):
    """Cropping and placing a digit of MNIST again gives the same image."""
    data = gzip.decompress((mnist_folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(data[16:], np.uint8).reshape(-1, 28, 28)
    num_equal = 0
    for image in images:
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        num_equal += np.array_equal(centre_ink(ink, 28, 28), image)
    assert num_equal >= 9990


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@example(1, 1, 1, 1, 0)
@example(40, 1, 3, 5, 1)
def test_any_size_is_converted_to_any_size(height, width, to_height, to_width, seed):
    values = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    if find_ink(values).max() < MIN_CONTRAST:
        with pytest.raises(BadInput, match="blank"):
            prepared(png(values), to_height, to_width)
        return
    found = prepared(png(values), to_height, to_width)
    assert (found.shape, found.dtype) == ((to_height, to_width), np.uint8)
    assert found.max() > 0


def test_crop_ignores_the_faintest_ink():
    ink = np.array([[0, 0, 0, 0], [0, 60, 255, 0], [0, 0, 64, 0]], np.uint8)
    assert np.array_equal(crop_to_ink(ink), [[255], [64]])


@pytest.mark.parametrize(
    "data",
    [
        png(np.full((50, 40), 255, np.uint8)),
        encode(Image.new("RGB", (30, 30), (250, 240, 230)), "JPEG"),
        encode(Image.new("RGBA", (30, 30), (9, 9, 9, 0)), "PNG"),
        sixteen_bits(np.full((9, 9), 77)),
        with_alpha(200, 255 - SEVEN, 0),  # transparent pixels are background
    ],
)
def test_blank_picture_is_rejected(data):
    with pytest.raises(BadInput, match=r"^file: blank"):
        prepared(data)
