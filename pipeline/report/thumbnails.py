"""Small pictures as data URIs, so that a page carries them itself. Pure: the same values give the same bytes."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.examples import Bytes

LARGEST = 112  # pixels of a side; larger images are reduced to this
NEGATIVE, POSITIVE = (47, 111, 235), (226, 74, 51)  # seen on white and on black
_LEVELS = 31  # of either sign


def grey_tile(image: Bytes) -> str:
    """Return uint8[height, width] as the URI of a PNG file, 0 black."""
    return _as_uri(_reduced(Image.fromarray(image)))


def diverging_tile(values: npt.NDArray[Any], largest: float) -> str:
    """Return float[height, width] as the URI of a PNG file: negative blue, positive red, nothing where it is zero.

    Args:
        values: from -largest to largest; beyond is shown as these.
        largest: what has the full colour, above 0.
    """
    values = np.asarray(_reduced(Image.fromarray(np.asarray(values, np.float32))))
    scaled = np.rint(np.clip(values / largest, -1, 1) * _LEVELS).astype(np.int64) + _LEVELS
    image = Image.fromarray(scaled.astype(np.uint8))
    colours = [*([NEGATIVE] * (_LEVELS + 1)), *([POSITIVE] * _LEVELS)]
    image.putpalette([part for colour in colours for part in colour])
    opacities = bytes(round(255 * abs(level) / _LEVELS) for level in range(-_LEVELS, _LEVELS + 1))
    return _as_uri(image, transparency=opacities)


def _reduced(image: Image.Image) -> Image.Image:
    factor = min(1.0, LARGEST / max(image.size))
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image if size == image.size else image.resize(size, Image.Resampling.BOX)


def _as_uri(image: Image.Image, **how: Any) -> str:
    sink = io.BytesIO()
    image.save(sink, "PNG", optimize=True, **how)
    return "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()
