"""Convert pictures of any size to images like those of the data set.

A picture of exactly the data set's size is taken as preprocessing takes it, and so is any other if preprocessing has
resized pictures. Else it is converted, and what that
changes is in the `remarks` of the result. The conversion follows MNIST's own: a digit is scaled to fit 20 x 20 pixels
with its aspect ratio kept, which leaves grey levels at its edges, and is placed in 28 x 28 pixels with its centre of
mass in the middle. Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits",
http://yann.lecun.com/exdb/mnist/. For data sets of another size the ratio 20 / 28 is kept, and for those of a light
background or of few grey levels the result is given these.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.errors import BadInput
from pipeline.sources.image_decoding import Grey, Picture, decode_image, decode_picture
from pipeline.sources.picture_resizing import resize_image
from pipeline.sources.picture_style import MIDDLE, MNIST_STYLE, Background, PictureStyle, border_of, is_light

INK_PART = 20 / 28  # longer side of the ink, as a part of the canvas
MIN_CONTRAST = 32  # of 255 grey levels, or that part of the data set's levels; a picture with less is blank
FAINTEST_INK = 0.25  # of the strongest ink; JPEG leaves fainter noise around lines


class PreparedPicture(NamedTuple):
    """A picture as the model is given it, uint8[height, width], and what was changed, or looks wrong."""

    image: Grey
    remarks: tuple[str, ...]


def read_picture(data: bytes, height: int, width: int, name: str, style: PictureStyle) -> PreparedPicture:
    """Decode a file as an image of a data set; raises BadInput as the functions that it calls."""
    picture = decode_picture(data, name)
    if picture.grey.shape != (height, width) and style.resize is None:
        return prepare_picture(picture, height, width, name, style)
    decoded = decode_image(data, name, style.channel).values
    image = resize_image(decoded, height, width, style.resize) if style.resize else decoded
    resized = [f"resized from {' x '.join(map(str, decoded.shape))} pixels"] if image is not decoded else []
    return PreparedPicture(image, (*resized, *_list_doubts(image, style)))


def _list_doubts(image: Grey, style: PictureStyle) -> list[str]:
    """Return why an image of the data set's size may not be one of its style."""
    if image.min() == image.max():
        return ["blank: all pixels are equal"]
    background = _background_of(image)
    if background != style.background:
        return [f"taken as it is, though its background is {background} and that of the data set {style.background}"]
    return []


def prepare_picture(
    picture: Picture, height: int, width: int, name: str, style: PictureStyle = MNIST_STYLE
) -> PreparedPicture:
    """Convert a picture of any size: ink and background as in the data set, scaled and centred.

    Raises BadInput if it is blank.
    """
    grey = fill_transparent_pixels(picture)
    ink = find_ink(grey)
    if ink.max() < MIN_CONTRAST * style.value_range / 255:
        raise BadInput(f"{name}: blank: nothing stands out from the background; expected one sign, dark or light")
    cut = crop_to_ink(ink)
    scaled = scale_ink(cut, height, width)
    remarks = [
        f"the sign, {_format_size(cut)} of {_format_size(grey)} pixels, scaled to {_format_size(scaled)} and centred"
    ]
    background = _background_of(grey)
    if background != style.background:
        remarks.append(f"inverted, as its background is {background} and that of the data set {style.background}")
    return PreparedPicture(apply_style(centre_ink(scaled, height, width), style), tuple(remarks))


def _format_size(values: Grey) -> str:
    return " x ".join(map(str, values.shape))


def apply_style(ink: Grey, style: PictureStyle) -> Grey:
    """Return ink, 0 to 255, in the range of values of the data set, and dark if its background is light."""
    strength = np.rint(ink * (style.value_range / 255)).astype(np.int64)
    values = style.brightest - strength if style.background == "light" else style.darkest + strength
    image: Grey = np.clip(values, 0, 255).astype(np.uint8)
    return image


def fill_transparent_pixels(picture: Picture) -> Grey:
    """Composite the picture over its background colour.

    The background is the median of the opaque border pixels. If most of the border is transparent, it is white if most
    of the opaque pixels are dark, else black.
    """
    opaque = picture.alpha >= MIDDLE
    if not opaque.any():
        return np.zeros_like(picture.grey)
    border_alpha = border_of(picture.alpha[None])[0]
    if np.median(border_alpha) < MIDDLE:
        background = 255 if np.median(picture.grey[opaque]) < MIDDLE else 0
    else:
        background = int(np.median(border_of(picture.grey[None])[0][border_alpha >= MIDDLE]))
    grey = Image.fromarray(picture.grey)
    alpha = Image.fromarray(picture.alpha)
    return np.asarray(Image.composite(grey, Image.new("L", grey.size, background), alpha))


def find_ink(grey: Grey) -> Grey:
    """Return uint8[height, width], how much darker each pixel is than a light background, or lighter than a dark one.

    The background is the median of the border, so a drawing may cross the border if it covers less than half of it.
    """
    background = np.uint8(np.median(border_of(grey[None])))
    if is_light(grey[None])[0]:
        darker: Grey = background - np.minimum(grey, background)
        return darker
    lighter: Grey = np.maximum(grey, background) - background
    return lighter


def _background_of(grey: Grey) -> Background:
    return "light" if is_light(grey[None])[0] else "dark"


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
