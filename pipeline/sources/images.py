"""Pictures of any size -> images such as the network was trained on. Trusts nothing.

The data set's own preparation is followed: a digit is scaled to fit 20 x 20 pixels with its aspect ratio kept, which
leaves greys at its edges, and is put into 28 x 28 with its centre of mass in the middle. Source: Y. LeCun, C. Cortes
and C. Burges, "The MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist/. Here 20 / 28 of the height
and width of any data set.
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

FORMATS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
MAX_PIXELS = 50_000_000  # of a large photograph; with colours and alpha that takes 0.8 GB of memory
INK_PART = 20 / 28  # of the canvas, for the longer side of the ink
MIDDLE = 128  # from here on a grey is light, and a pixel opaque
MIN_CONTRAST = 32  # what stands out less from its background than this is no ink
FAINTEST_INK = 0.25  # of the strongest; less may be the noise that JPEG leaves around what was drawn


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        grey: uint8[height, width], 0 is black.
        alpha: uint8[height, width], 0 is transparent.
    """

    grey: Grey
    alpha: Grey


def is_picture(start: bytes) -> bool:
    """Tell by a file's first bytes, not by its name."""
    return start.startswith(tuple(FORMATS.values()))


def decode_picture(data: bytes, name: str) -> Picture:
    """Decode a PNG or JPEG file, turned as its camera says; of an animation, the first image.

    Args:
        data: the file.
        name: what to call it in an error.

    Raises:
        BadInput: it is no such file, it is damaged, or it has more than MAX_PIXELS.
    """
    return _decode(data, name, _split, MAX_PIXELS)


def decode_grey(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Grey:
    """Decode a PNG or JPEG file of a data set and take it as it is, turned as its camera says.

    Args:
        data: the file.
        name: what to call it in an error.
        max_pixels: larger ones are refused before they are decoded.

    Returns:
        uint8[height, width]: colours as ITU-R 601-2 luma, transparency ignored.

    Raises:
        BadInput: it is no such file, it is damaged, or it is larger.
    """
    return _decode(data, name, _to_grey, max_pixels)


def prepare_picture(picture: Picture, height: int, width: int, name: str) -> Grey:
    """Make an image of the data set's kind: bright ink on black, of its size and in its place.

    A picture of exactly that size on a dark background is taken as it is.

    Args:
        picture: as decoded.
        height: of the data set's images.
        width: of the data set's images.
        name: what to call the picture in an error.

    Returns:
        uint8[height, width].

    Raises:
        BadInput: nothing stands out from the background.
    """
    grey = flatten(picture)
    ink = find_ink(grey)
    if ink.max() < MIN_CONTRAST:
        raise BadInput(f"{name}: blank: nothing stands out from the background; expected one sign, dark or light")
    if grey.shape == (height, width) and not is_light(grey):
        return grey
    return place(scale(crop(ink), height, width), height, width)


def flatten(picture: Picture) -> Grey:
    """Put the picture on its background: transparent pixels are background.

    Where most of the border is transparent the background has no colour of its own; it is taken to be white if most
    of the opaque pixels are dark, else black. Otherwise it is the median of the border.
    """
    opaque = picture.alpha >= MIDDLE
    if not opaque.any():
        return np.zeros_like(picture.grey)
    if np.median(border(picture.alpha)) < MIDDLE:
        background = 255 if np.median(picture.grey[opaque]) < MIDDLE else 0
    else:
        background = int(np.median(border(picture.grey)[border(opaque)]))
    grey, alpha = Image.fromarray(picture.grey), Image.fromarray(picture.alpha)
    return np.asarray(Image.composite(grey, Image.new("L", grey.size, background), alpha))


def find_ink(grey: Grey) -> Grey:
    """Measure how far each pixel stands out from the background: towards dark if that is light, else towards light.

    The background is the median of the border: what was drawn may cross the border, but not cover half of it.
    """
    background = np.uint8(np.median(border(grey)))
    above, below = np.maximum(grey, background) - background, background - np.minimum(grey, background)
    ink: Grey = below if is_light(grey) else above
    return ink


def is_light(grey: Grey) -> bool:
    """Tell whether a picture's background, the median of its border, is light."""
    return bool(np.median(border(grey)) >= MIDDLE)


def border(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the outermost pixels of [height, width], in one row; those at the corners may come twice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def crop(ink: Grey) -> Grey:
    """Cut out the smallest rectangle that holds all of the ink."""
    seen = ink >= FAINTEST_INK * ink.max()
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def scale(ink: Grey, height: int, width: int) -> Grey:
    """Scale ink to INK_PART of a canvas of height x width, its aspect ratio kept and its strongest value 255."""
    factor = INK_PART * min(height / ink.shape[0], width / ink.shape[1])
    size = tuple(max(1, round(factor * length)) for length in (ink.shape[1], ink.shape[0]))
    exact = Image.fromarray(ink.astype(np.float32))  # whole numbers would lose a thin line in a large picture
    scaled = np.asarray(exact.resize(size, Image.Resampling.HAMMING))
    whole: Grey = np.rint(scaled * (255 / scaled.max())).astype(np.uint8)
    return whole


def place(ink: Grey, height: int, width: int) -> Grey:
    """Put ink on a black canvas of height x width, its centre of mass in the middle as far as the edges allow.

    The middle of MNIST's images is pixel 14 of 0 to 27: there is the mean of their centres of mass.
    """
    centre = [_centre_of_mass(ink.sum(axis=axis, dtype=np.int64)) for axis in (1, 0)]
    canvas = np.zeros((height, width), np.uint8)
    top, left = (
        min(max(round(length / 2 - mass), 0), length - taken)
        for length, mass, taken in zip(canvas.shape, centre, ink.shape, strict=True)
    )
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return canvas


def _centre_of_mass(masses: npt.NDArray[np.int64]) -> float:
    return float(masses @ np.arange(len(masses)) / masses.sum())


def _decode(data: bytes, name: str, convert: Callable[[Image.Image], T], max_pixels: int) -> T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about oddities that do not touch the pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _verify(data, name, max_pixels)
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
                return convert(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as problem:
        raise BadInput(f"{name}: too large: expected at most {max_pixels} pixels: {problem}") from None
    except UnidentifiedImageError:  # whose own message names an object in memory
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: damaged at its beginning") from None
    except BadInput:
        raise
    except Exception as problem:  # on hostile bytes the decoders raise almost anything
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: {problem}") from None


def _to_grey(image: Image.Image) -> Grey:
    return _high_bytes(image) if image.mode.startswith("I") else np.asarray(image.convert("L"))


def _high_bytes(image: Image.Image) -> Grey:
    """Return the upper half of 16 bits of grey, of which Pillow's own conversion may take the wrong half."""
    return (np.asarray(image) >> 8).astype(np.uint8)


def _verify(data: bytes, name: str, max_pixels: int) -> None:
    """Check the size before anything is decoded, and the checksums where the format has any (PNG)."""
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
