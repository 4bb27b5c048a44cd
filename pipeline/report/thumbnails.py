"""Encode small images as data URIs, so that a page contains them. The same values give the same bytes."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.examples import Bytes

MAX_SIZE = 112  # pixels; larger images are reduced to this length of the longer side
# RGB colours that are visible on white and on black.
NEGATIVE = (47, 111, 235)
POSITIVE = (226, 74, 51)
_NUM_LEVELS = 31  # of opacity for each sign


def grey_tile(image: Bytes) -> str:
    """Return uint8[height, width] as the data URI of a grey PNG file; 0 is black."""
    return _encode_uri(encode_png(_reduce(Image.fromarray(image))))


def diverging_tile(values: npt.NDArray[Any], largest: float) -> str:
    """Return float[height, width] as the data URI of a PNG file: negative blue, positive red, zero transparent.

    Absolute values of `largest`, which is greater than 0, and more are opaque.
    """
    reduced = np.asarray(_reduce(Image.fromarray(np.asarray(values, np.float32))))
    levels = np.rint(np.clip(reduced / largest, -1, 1) * _NUM_LEVELS).astype(np.int64) + _NUM_LEVELS
    image = Image.fromarray(levels.astype(np.uint8))
    colours = [*([NEGATIVE] * (_NUM_LEVELS + 1)), *([POSITIVE] * _NUM_LEVELS)]
    image.putpalette([channel for colour in colours for channel in colour])
    opacities = bytes(round(255 * abs(level) / _NUM_LEVELS) for level in range(-_NUM_LEVELS, _NUM_LEVELS + 1))
    return _encode_uri(encode_png(image, transparency=opacities))


def encode_png(image: Image.Image, **options: Any) -> bytes:
    """Return an image as the bytes of a PNG file."""
    sink = io.BytesIO()
    image.save(sink, "PNG", optimize=True, **options)
    return sink.getvalue()


def _reduce(image: Image.Image) -> Image.Image:
    factor = min(1.0, MAX_SIZE / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if size == image.size else image.resize(size, Image.Resampling.BOX)


def _encode_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()
