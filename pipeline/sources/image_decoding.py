"""Decode untrusted PNG and JPEG files."""

import io
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from model.errors import BadInput

Grey = npt.NDArray[np.uint8]
T = TypeVar("T")

FORMATS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}  # the first bytes of each
MAX_PIXELS = 50_000_000  # a large photograph; decoding it with colours and alpha takes 0.8 GB of memory


class Picture(NamedTuple):
    """A decoded picture: two arrays uint8[height, width]."""

    grey: Grey  # 0 (black) to 255 (white)
    alpha: Grey  # 0 (transparent) to 255 (opaque)


def is_picture(start: bytes) -> bool:
    """Return whether a file with these first bytes may be a PNG or JPEG file."""
    return start.startswith(tuple(FORMATS.values()))


def decode_picture(data: bytes, name: str) -> Picture:
    """Decode a PNG or JPEG file, rotated by its EXIF orientation; of an animation, the first image.

    Raises BadInput if it is no PNG or JPEG file, it is damaged, or it has more than MAX_PIXELS.
    """
    return _decode(data, name, _split, MAX_PIXELS)


def decode_grey(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Grey:
    """Decode a PNG or JPEG file to uint8[height, width]: colours as ITU-R 601-2 luma, transparency ignored.

    Raises BadInput as `decode_picture`; images of more than max_pixels are refused before they are decoded.
    """
    return _decode(data, name, _to_grey, max_pixels)


def _decode(data: bytes, name: str, convert: Callable[[Image.Image], T], max_pixels: int) -> T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which does not change the pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _open(data) as image:
                if image.width * image.height > max_pixels:
                    raise BadInput(
                        f"{name}: {image.width} x {image.height} pixels, expected at most {max_pixels} in all"
                    )
                image.verify()  # the checksums of PNG chunks; Pillow cannot use the image afterwards
            with _open(data) as image:
                return convert(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadInput(f"{name}: too large: expected at most {max_pixels} pixels: {error}") from None
    except UnidentifiedImageError:  # its own message names the BytesIO object
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: damaged at its beginning") from None
    except BadInput:
        raise
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: {error}") from None


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=tuple(FORMATS))


def _to_grey(image: Image.Image) -> Grey:
    return _high_bytes(image) if image.mode.startswith("I") else np.asarray(image.convert("L"))


def _high_bytes(image: Image.Image) -> Grey:
    """Convert 16-bit grey to 8 bits by its high byte; Pillow's conversion to L clips it to 255 instead."""
    return (np.asarray(image) >> 8).astype(np.uint8)


def _split(image: Image.Image) -> Picture:
    if image.mode.startswith("I"):
        opaque = np.asarray(image) != image.info.get("transparency", -1)
        return Picture(_high_bytes(image), np.where(opaque, np.uint8(255), np.uint8(0)))
    grey, alpha = image.convert("RGBA").convert("LA").split()
    return Picture(np.asarray(grey), np.asarray(alpha))
