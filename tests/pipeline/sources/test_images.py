"""Decoding and conversion of pictures of every mode and size, sound and damaged."""

import io
import tracemalloc
import zlib
from struct import pack

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from model.errors import BadInput
from pipeline.sources.image_decoding import FORMATS, MAX_PIXELS, decode_picture, is_picture
from pipeline.sources.picture_conversion import MIN_CONTRAST, centre_ink, crop_to_ink, find_ink, prepare_picture

# a 7 of 40 x 40 pixels, bright on black
SEVEN = np.zeros((40, 40), np.uint8)
SEVEN[5:10, 8:30] = 255
SEVEN[5:35, 25:30] = 255


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def prepared(data: bytes, height: int = 28, width: int = 28) -> np.ndarray:
    return prepare_picture(decode_picture(data, "file"), height, width, "file")


def prepare_or_reject(data: bytes) -> np.ndarray | None:
    """Return the converted picture, or None if it is rejected; any other error than BadInput fails the test."""
    try:
        return prepared(data)
    except BadInput as problem:
        if not str(problem).startswith("file: "):
            raise
        return None


def grey(values: np.ndarray) -> bytes:
    return encode(Image.fromarray(values))


def with_alpha(ink: int, mask: np.ndarray, hidden: int) -> bytes:
    """A PNG of ink where the mask is set and of an invisible colour elsewhere."""
    values = np.where(mask > 0, ink, hidden).astype(np.uint8)
    return encode(Image.fromarray(np.stack([values, values, values, mask], axis=2), "RGBA"))


def palette(transparent: bool) -> bytes:
    image = Image.fromarray((SEVEN > 0).astype(np.uint8), "P")
    image.putpalette([200, 255, 200, 0, 0, 90])
    return encode(image, transparency=0) if transparent else encode(image)


def sixteen_bits(values: np.ndarray) -> bytes:
    return encode(Image.fromarray(values.astype(np.uint16) * 257))


SEVEN_BY_FORMAT = {
    "light on dark": grey(SEVEN),
    "dark on light": grey(255 - SEVEN),
    "between two greys": grey((60 + SEVEN // 3).astype(np.uint8)),
    "dark grey on light grey": grey((200 - SEVEN // 3).astype(np.uint8)),
    "one bit": encode(Image.fromarray(SEVEN > 0)),
    "colours": encode(Image.fromarray(np.stack([255 - SEVEN, 255 - SEVEN // 2, 255 - SEVEN], axis=2))),
    "palette": palette(transparent=False),
    "palette with a transparent colour": palette(transparent=True),
    "grey and alpha": encode(Image.merge("LA", (Image.new("L", (40, 40), 0), Image.fromarray(SEVEN)))),
    "black on transparent white": with_alpha(0, SEVEN, 255),
    "black on transparent black": with_alpha(0, SEVEN, 0),
    "white on transparent white": with_alpha(255, SEVEN, 255),
    "white on transparent black": with_alpha(255, SEVEN, 0),
    "grey ink on transparent grey": with_alpha(120, SEVEN, 120),
    "16 bits, light on dark": sixteen_bits(SEVEN),
    "16 bits, dark on light": sixteen_bits(255 - SEVEN),
    "16 bits, faint": encode(Image.fromarray(SEVEN.astype(np.uint16) * 100)),
    "elsewhere": grey(np.pad(255 - SEVEN, ((100, 7), (3, 55)), constant_values=255)),
}


@pytest.mark.parametrize("case", SEVEN_BY_FORMAT)
def test_every_storage_format_gives_the_same_image(case):
    found = prepared(SEVEN_BY_FORMAT[case])
    expected = prepared(SEVEN_BY_FORMAT["light on dark"])
    assert found.shape == (28, 28)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=2)


def test_scaling_changes_only_the_edges():
    found = prepared(grey(255 - SEVEN.repeat(10, axis=0).repeat(10, axis=1))).astype(int)
    assert np.abs(found - prepared(grey(SEVEN))).mean() < 4


def test_ink_is_scaled_to_20_pixels():
    rows, columns = (np.flatnonzero(prepared(grey(SEVEN)).any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (20, 15)  # of 30 x 22
    assert prepared(grey(SEVEN)).max() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    stored = Image.fromarray(255 - SEVEN).transpose(Image.Transpose.ROTATE_90)
    found = prepared(encode(stored, kind, exif=exif))
    expected = prepared(encode(Image.fromarray(255 - SEVEN), kind))
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=10)


def test_jpeg_noise_is_not_ink():
    found = prepared(encode(Image.fromarray(255 - SEVEN), "JPEG", quality=40))
    assert np.abs(found.astype(int) - prepared(grey(SEVEN))).mean() < 4


def test_thin_line_in_a_large_picture_keeps_its_strength():
    assert prepared(encode(Image.fromarray(np.eye(3000, dtype=np.uint8) * 255))).max() == 255


def test_image_of_the_right_size_on_a_dark_background_is_unchanged():
    image = np.zeros((28, 28), np.uint8)
    image[3:9, 2:5] = 90
    assert np.array_equal(prepared(grey(image)), image)
    assert not np.array_equal(prepared(grey(255 - image)), image)
    assert not np.array_equal(prepared(grey(image), 28, 30), np.pad(image, ((0, 0), (1, 1))))


def test_placement_agrees_with_canonical_mnist(mnist_folder):
    """Cropping and placing a digit of MNIST again gives the same image."""
    import gzip

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
            prepared(grey(values), to_height, to_width)
        return
    found = prepared(grey(values), to_height, to_width)
    assert (found.shape, found.dtype) == ((to_height, to_width), np.uint8)
    assert found.max() > 0


def test_crop_ignores_the_faintest_ink():
    ink = np.array([[0, 0, 0, 0], [0, 60, 255, 0], [0, 0, 64, 0]], np.uint8)
    assert np.array_equal(crop_to_ink(ink), [[255], [64]])


@pytest.mark.parametrize(
    "data",
    [
        grey(np.zeros((28, 28), np.uint8)),
        grey(np.full((50, 40), 255, np.uint8)),
        encode(Image.new("RGB", (30, 30), (250, 240, 230)), "JPEG"),
        encode(Image.new("RGBA", (30, 30), (9, 9, 9, 0))),
        sixteen_bits(np.full((9, 9), 77)),
        with_alpha(200, 255 - SEVEN, 0),  # transparent pixels are background
    ],
)
def test_blank_picture_is_rejected(data):
    with pytest.raises(BadInput, match=r"^file: blank"):
        prepared(data)


def png_of(width: int, height: int) -> bytes:
    """A PNG with valid checksums whose header promises a size, and no pixels."""
    chunks = ((b"IHDR", pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    framed = (pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body)) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("side", [7072, 12_000, 60_000])  # above our limit, Pillow's warning and Pillow's error
def test_too_many_pixels_are_rejected_before_decoding(side):
    tracemalloc.start()
    with pytest.raises(BadInput, match=rf"^file: .*expected at most {MAX_PIXELS}"):
        prepared(png_of(side, side))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


SOUND = [
    grey(SEVEN),
    SEVEN_BY_FORMAT["palette with a transparent colour"],
    SEVEN_BY_FORMAT["16 bits, faint"],
    SEVEN_BY_FORMAT["black on transparent white"],
    encode(Image.fromarray(SEVEN), "JPEG"),
    encode(Image.fromarray(np.stack([SEVEN] * 3, axis=2)), "JPEG", progressive=True),
]


@given(st.sampled_from(SOUND), st.data())
def test_truncated_picture_is_rejected_or_complete(data, draw):
    cut = data[: draw.draw(st.integers(0, len(data) - 1))]
    found = prepare_or_reject(cut)
    if found is None:
        return
    # PNG has checksums except at its end; a JPEG without its end mark may lack a few coefficients
    tolerance = 0 if data.startswith(FORMATS["PNG"]) else 2
    np.testing.assert_allclose(found.astype(int), prepared(data).astype(int), atol=tolerance)


@given(st.sampled_from([data for data in SOUND if data.startswith(FORMATS["PNG"])]), st.data())
def test_changed_png_is_rejected_or_unchanged(data, draw):
    changed = bytearray(data)
    changed[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    found = prepare_or_reject(bytes(changed))
    assert found is None or np.array_equal(found, prepared(data))


@given(st.sampled_from(SOUND), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=20))
def test_changed_picture_is_read_or_rejected(data, changes):
    changed = bytearray(data)
    for place_, value in changes:
        changed[place_ % len(data)] = value
    prepare_or_reject(bytes(changed))


@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", png_of(3, 3)[:33]]), st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_rejected(start, rest):
    prepare_or_reject(start + rest)


def test_damaged_beginning_gives_a_plain_message():
    with pytest.raises(BadInput, match=r"^file: not a sound PNG or JPEG picture: damaged at its beginning$"):
        prepared(FORMATS["JPEG"] + b"nothing")


def test_pictures_are_recognized_by_content():
    assert all(map(is_picture, SOUND))
    assert not any(map(is_picture, [b"", b"\x1f\x8b\x08", b"\0\0\x08\x03", b"GIF89a", b"\x89PNG"]))
