"""Decode untrusted PNG and JPEG files, as the images of a data set or as pictures that are yet to be prepared.

An image of a data set is one channel of its file: grey, or alpha where nothing but the transparency differs between
pixels. What else was done to it is its conversions: the values of CONVERSIONS.
"""

import io
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from model.errors import BadInput
from pipeline.sources.picture_style import Channel

Grey = npt.NDArray[np.uint8]
T = TypeVar("T")

FORMATS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}  # the first bytes of each
_OTHER_FORMATS = {
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture or another RIFF file",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"\0\0\0\x18ftyp": "a HEIC or AVIF picture",
    b"\0\0\0\x1cftyp": "a HEIC or AVIF picture",
    b"\0\0\0\x20ftyp": "a HEIC or AVIF picture",
    b"P5": "a PGM picture",
    b"P6": "a PPM picture",
    b"%PDF": "a PDF document",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file, such as an SVG drawing",
}
TURNED = "turned by the orientation in the metadata"
COLOURS = "colours to grey"
SIXTEEN_BITS = "16 bits to 8 by the high byte"
ALPHA_IGNORED = "transparency ignored"
ALPHA_READ = "transparency read, as nothing else differs"
TRANSPOSED = "transposed"  # of arrays, not of pictures
CONVERSIONS = (TURNED, COLOURS, SIXTEEN_BITS, ALPHA_IGNORED, ALPHA_READ)
_ORIENTATION = 0x0112  # of EXIF; 1 is upright
MAX_PIXELS = 50_000_000  # a large photograph; decoding it with colours and alpha takes 0.8 GB of memory


class Picture(NamedTuple):
    """A decoded picture: two arrays uint8[height, width]."""

    grey: Grey  # 0 (black) to 255 (white)
    alpha: Grey  # 0 (transparent) to 255 (opaque)

    @property
    def channel(self) -> Channel:
        """What to read of pictures like this one: alpha if only alpha differs between pixels, else grey."""
        differs_in_grey = self.grey.min() < self.grey.max()
        return "alpha" if not differs_in_grey and self.alpha.min() < self.alpha.max() else "grey"


class DecodedImage(NamedTuple):
    """An image of a data set, uint8[height, width], and the names of its conversions."""

    values: Grey
    conversions: tuple[str, ...]


def is_picture(start: bytes) -> bool:
    """Return whether a file with these first bytes may be a PNG or JPEG file."""
    return start.startswith(tuple(FORMATS.values()))


def describe_format(start: bytes) -> str:
    """Return what a file of another format is by its first bytes, as the beginning of a sentence; empty if unknown."""
    found = next((kind for magic, kind in _OTHER_FORMATS.items() if start.startswith(magic)), "")
    return f"{found}: " if found else ""


def decode_picture(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a PNG or JPEG file, rotated by its EXIF orientation; of an animation, the first image.

    Raises BadInput if it is no PNG or JPEG file, it is damaged, or it has more than max_pixels.
    """
    return _decode(data, name, _split, max_pixels)


def decode_image(data: bytes, name: str, channel: Channel, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode one channel of a PNG or JPEG file: grey is the ITU-R 601-2 luma of colours, without their transparency.

    Raises BadInput as `decode_picture`, before decoding if there are more than max_pixels; and if there is no alpha to
    read.
    """
    if channel == "grey":
        return _decode(data, name, _to_image, max_pixels)
    picture, conversions = _decode(data, name, _to_alpha, max_pixels)
    if picture.channel == "grey":
        raise BadInput(
            f"{name}: drawn in grey, expected a picture drawn in its transparency alone, as the data set's first one is"
        )
    return DecodedImage(picture.alpha, conversions)


def _to_image(image: Image.Image) -> DecodedImage:
    return DecodedImage(_to_grey(image), (*_list_conversions(image), *_ignored_alpha(image)))


def _to_alpha(image: Image.Image) -> tuple[Picture, tuple[str, ...]]:
    return _split(image), (*_list_conversions(image), ALPHA_READ)


def _list_conversions(image: Image.Image) -> list[str]:
    applies = {
        TURNED: image.getexif().get(_ORIENTATION, 1) != 1,
        COLOURS: image.mode not in ("1", "L", "LA") and not image.mode.startswith("I"),
        SIXTEEN_BITS: image.mode.startswith("I"),
    }
    return [name for name, is_applied in applies.items() if is_applied]


def _ignored_alpha(image: Image.Image) -> list[str]:
    return [ALPHA_IGNORED] if image.has_transparency_data else []


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
                return convert(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadInput(f"{name}: too large: expected at most {max_pixels} pixels: {error}") from None
    except UnidentifiedImageError:  # its own message names the BytesIO object
        other = describe_format(data)
        if other:
            raise BadInput(f"{name}: {other}only PNG and JPEG pictures are read: convert it") from None
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: damaged at its beginning") from None
    except BadInput:
        raise
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise BadInput(f"{name}: not a sound PNG or JPEG picture: {error}") from None


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=tuple(FORMATS))


def _to_grey(stored: Image.Image) -> Grey:
    image = ImageOps.exif_transpose(stored)
    return _high_bytes(image) if image.mode.startswith("I") else np.asarray(image.convert("L"))


def _high_bytes(image: Image.Image) -> Grey:
    """Convert 16-bit grey to 8 bits by its high byte; Pillow's conversion to L clips it to 255 instead."""
    return (np.asarray(image) >> 8).astype(np.uint8)


def _split(stored: Image.Image) -> Picture:
    image = ImageOps.exif_transpose(stored)
    if image.mode.startswith("I"):
        opaque = np.asarray(image) != image.info.get("transparency", -1)
        return Picture(_high_bytes(image), np.where(opaque, np.uint8(255), np.uint8(0)))
    grey, alpha = image.convert("RGBA").convert("LA").split()
    return Picture(np.asarray(grey), np.asarray(alpha))
