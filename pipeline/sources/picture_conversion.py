"""Convert pictures of any size to images like those of the data set.

The conversion follows MNIST's own: a digit is scaled to fit 20 x 20 pixels with its aspect ratio kept, which leaves
grey levels at its edges, and is placed in 28 x 28 pixels with its centre of mass in the middle. Source: Y. LeCun,
C. Cortes and C. Burges, "The MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist/. For data sets of
another size the ratio 20 / 28 is kept.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.errors import BadInput
from pipeline.sources.image_decoding import Grey, Picture

INK_PART = 20 / 28  # longer side of the ink, as a part of the canvas
MIDDLE = 128  # greys from here on are light, and alpha values opaque
MIN_CONTRAST = 32  # grey levels; a picture with less is blank
FAINTEST_INK = 0.25  # of the strongest ink; JPEG leaves fainter noise around lines


def prepare_picture(picture: Picture, height: int, width: int, name: str) -> Grey:
    """Convert a picture to uint8[height, width]: bright ink on black, scaled and centred.

    A picture that has exactly the size and a dark background is returned unchanged. Raises BadInput if it is blank.
    """
    grey = fill_transparent_pixels(picture)
    ink = find_ink(grey)
    if ink.max() < MIN_CONTRAST:
        raise BadInput(f"{name}: blank: nothing stands out from the background; expected one sign, dark or light")
    if grey.shape == (height, width) and not _is_light(grey):
        return grey
    return centre_ink(scale_ink(crop_to_ink(ink), height, width), height, width)


def fill_transparent_pixels(picture: Picture) -> Grey:
    """Composite the picture over its background colour.

    The background is the median of the opaque border pixels. If most of the border is transparent, it is white if most
    of the opaque pixels are dark, else black.
    """
    opaque = picture.alpha >= MIDDLE
    if not opaque.any():
        return np.zeros_like(picture.grey)
    if np.median(_border(picture.alpha)) < MIDDLE:
        background = 255 if np.median(picture.grey[opaque]) < MIDDLE else 0
    else:
        background = int(np.median(_border(picture.grey)[_border(opaque)]))
    grey = Image.fromarray(picture.grey)
    alpha = Image.fromarray(picture.alpha)
    return np.asarray(Image.composite(grey, Image.new("L", grey.size, background), alpha))


def find_ink(grey: Grey) -> Grey:
    """Return uint8[height, width], how much darker each pixel is than a light background, or lighter than a dark one.

    The background is the median of the border, so a drawing may cross the border if it covers less than half of it.
    """
    background = np.uint8(np.median(_border(grey)))
    if _is_light(grey):
        darker: Grey = background - np.minimum(grey, background)
        return darker
    lighter: Grey = np.maximum(grey, background) - background
    return lighter


def _is_light(grey: Grey) -> bool:
    return bool(np.median(_border(grey)) >= MIDDLE)


def _border(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the outermost pixels of [height, width] in one dimension; corners occur twice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def crop_to_ink(ink: Grey) -> Grey:
    """Return the smallest rectangle that holds all ink of at least FAINTEST_INK."""
    visible = ink >= FAINTEST_INK * ink.max()
    rows = np.flatnonzero(visible.any(axis=1))
    columns = np.flatnonzero(visible.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def scale_ink(ink: Grey, height: int, width: int) -> Grey:
    """Scale ink to fit INK_PART of height x width with its aspect ratio kept, and its strongest value to 255."""
    factor = INK_PART * min(height / ink.shape[0], width / ink.shape[1])
    size = tuple(max(1, round(factor * length)) for length in (ink.shape[1], ink.shape[0]))
    exact = Image.fromarray(ink.astype(np.float32))  # integers would round a thin line in a large picture to 0
    scaled = np.asarray(exact.resize(size, Image.Resampling.HAMMING))
    rounded: Grey = np.rint(scaled * (255 / scaled.max())).astype(np.uint8)
    return rounded


def centre_ink(ink: Grey, height: int, width: int) -> Grey:
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
