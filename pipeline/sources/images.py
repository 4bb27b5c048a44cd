"""Decode untrusted PNG and JPEG files, and convert pictures of any size to images like those of the data set.

The conversion follows MNIST's own: a digit is scaled to fit 20 x 20 pixels with its aspect ratio kept, which leaves
grey levels at its edges, and is placed in 28 x 28 pixels with its centre of mass in the middle. Source: Y. LeCun,
C. Cortes and C. Burges, "The MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist/. For data sets of
another size the ratio 20 / 28 is kept.
"""

import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from model.errors import BadInput

Grey = npt.NDArray[np.uint8]
T = TypeVar("T")

FORMATS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}  # the first bytes of each
MAX_PIXELS = 50_000_000  # a large photograph; decoding it with colours and alpha takes 0.8 GB of memory
INK_PART = 20 / 28  # longer side of the ink, as a part of the canvas
MIDDLE = 128  # greys from here on are light, and alpha values opaque
MIN_CONTRAST = 32  # grey levels; a picture with less is blank
FAINTEST_INK = 0.25  # of the strongest ink; JPEG leaves fainter noise around lines


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        grey: uint8[height, width], 0 (black) to 255 (white).
        alpha: uint8[height, width], 0 (transparent) to 255 (opaque).
    """

    grey: Grey
    alpha: Grey


def is_picture(start: bytes) -> bool:
    """Return whether a file with these first bytes may be a PNG or JPEG file."""
    return start.startswith(tuple(FORMATS.values()))


def decode_picture(data: bytes, name: str) -> Picture:
    """Decode a PNG or JPEG file, rotated by its EXIF orientation; of an animation, the first image.

    Args:
        data: content of the file.
        name: name of the file in an error.

    Raises:
        BadInput: it is no PNG or JPEG file, it is damaged, or it has more than MAX_PIXELS.
    """
    return _decode(data, name, _split, MAX_PIXELS)


def decode_grey(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Grey:
    """Decode a PNG or JPEG file to grey levels, rotated by its EXIF orientation and otherwise unchanged.

    Args:
        data: content of the file.
        name: name of the file in an error.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        uint8[height, width]: colours as ITU-R 601-2 luma, transparency ignored.

    Raises:
        BadInput: it is no PNG or JPEG file, it is damaged, or it has more than max_pixels.
    """
    return _decode(data, name, _to_grey, max_pixels)


def prepare_picture(picture: Picture, height: int, width: int, name: str) -> Grey:
    """Convert a picture to an image like those of the data set: bright ink on black, scaled and centred.

    A picture that has exactly the size and a dark background is returned unchanged.

    Args:
        picture: the decoded picture.
        height: height of the data set's images.
        width: width of the data set's images.
        name: name of the picture in an error.

    Returns:
        uint8[height, width].

    Raises:
        BadInput: the picture is blank.
    """
    grey = flatten(picture)
    ink = find_ink(grey)
    if ink.max() < MIN_CONTRAST:
        raise BadInput(f"{name}: blank: nothing stands out from the background; expected one sign, dark or light")
    if grey.shape == (height, width) and not is_light(grey):
        return grey
    return place(scale(crop(ink), height, width), height, width)


def flatten(picture: Picture) -> Grey:
    """Composite the picture over its background colour, so that transparent pixels become background.

    The background is the median of the opaque border pixels. If most of the border is transparent, it is white if most
    of the opaque pixels are dark, else black.
    """
    opaque = picture.alpha >= MIDDLE
    if not opaque.any():
        return np.zeros_like(picture.grey)
    if np.median(border(picture.alpha)) < MIDDLE:
        background = 255 if np.median(picture.grey[opaque]) < MIDDLE else 0
    else:
        background = int(np.median(border(picture.grey)[border(opaque)]))
    grey = Image.fromarray(picture.grey)
    alpha = Image.fromarray(picture.alpha)
    return np.asarray(Image.composite(grey, Image.new("L", grey.size, background), alpha))


def find_ink(grey: Grey) -> Grey:
    """Return uint8[height, width], how much darker each pixel is than a light background, or lighter than a dark one.

    The background is the median of the border, so a drawing may cross the border if it covers less than half of it.
    """
    background = np.uint8(np.median(border(grey)))
    if is_light(grey):
        darker: Grey = background - np.minimum(grey, background)
        return darker
    lighter: Grey = np.maximum(grey, background) - background
    return lighter


def is_light(grey: Grey) -> bool:
    """Return whether a picture's background, the median of its border, is light."""
    return bool(np.median(border(grey)) >= MIDDLE)


def border(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the outermost pixels of [height, width] in one dimension; corners occur twice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def crop(ink: Grey) -> Grey:
    """Return the smallest rectangle that holds all ink of at least FAINTEST_INK."""
    visible = ink >= FAINTEST_INK * ink.max()
    rows = np.flatnonzero(visible.any(axis=1))
    columns = np.flatnonzero(visible.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def scale(ink: Grey, height: int, width: int) -> Grey:
    """Scale ink to fit INK_PART of height x width with its aspect ratio kept, and its strongest value to 255."""
    factor = INK_PART * min(height / ink.shape[0], width / ink.shape[1])
    size = tuple(max(1, round(factor * length)) for length in (ink.shape[1], ink.shape[0]))
    exact = Image.fromarray(ink.astype(np.float32))  # integers would round a thin line in a large picture to 0
    scaled = np.asarray(exact.resize(size, Image.Resampling.HAMMING))
    rounded: Grey = np.rint(scaled * (255 / scaled.max())).astype(np.uint8)
    return rounded


def place(ink: Grey, height: int, width: int) -> Grey:
    """Place ink on a black canvas of height x width, its centre of mass in the middle as far as the edges allow.

    The middle of 28 pixels is pixel 14: that is the mean centre of mass of MNIST's images.
    """
    canvas = np.zeros((height, width), np.uint8)
    top = _first_pixel(ink.sum(axis=1, dtype=np.int64), height)
    left = _first_pixel(ink.sum(axis=0, dtype=np.int64), width)
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return canvas


def _first_pixel(masses: npt.NDArray[np.int64], length: int) -> int:
    """Return the offset on an axis of length pixels that puts the centre of int64[n] masses in its middle."""
    centre_of_mass = float(masses @ np.arange(len(masses)) / masses.sum())
    return min(max(round(length / 2 - centre_of_mass), 0), length - len(masses))


def _decode(data: bytes, name: str, convert: Callable[[Image.Image], T], max_pixels: int) -> T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which does not change the pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _verify(data, name, max_pixels)
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
                return convert(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadInput(f"{name}: too large: expected at most {max_pixels} pixels: {error}") from None
    except UnidentifiedImageError:  # its own message names the BytesIO object
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: damaged at its beginning") from None
    except BadInput:
        raise
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: {error}") from None


def _to_grey(image: Image.Image) -> Grey:
    return _high_bytes(image) if image.mode.startswith("I") else np.asarray(image.convert("L"))


def _high_bytes(image: Image.Image) -> Grey:
    """Convert 16-bit grey to 8 bits by its high byte; Pillow's conversion to L clips it to 255 instead."""
    return (np.asarray(image) >> 8).astype(np.uint8)


def _verify(data: bytes, name: str, max_pixels: int) -> None:
    """Check the size before anything is decoded, and the checksums of PNG chunks."""
    with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
        if image.width * image.height > max_pixels:
            raise BadInput(f"{name}: {image.width} x {image.height} pixels, expected at most {max_pixels} in all")
        image.verify()


def _split(image: Image.Image) -> Picture:
    """Split an image of any mode into grey (ITU-R 601-2 luma of colours) and alpha."""
    if image.mode.startswith("I"):
        opaque = np.asarray(image) != image.info.get("transparency", -1)
        return Picture(_high_bytes(image), np.where(opaque, np.uint8(255), np.uint8(0)))
    grey, alpha = image.convert("RGBA").convert("LA").split()
    return Picture(np.asarray(grey), np.asarray(alpha))
