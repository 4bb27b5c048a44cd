"""Decode untrusted files of pictures, as the images of a data set or as pictures that are yet to be prepared.

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
from PIL.TiffImagePlugin import TiffImageFile

from model.errors import BadInput
from pipeline.sources.picture_headers import TITLES, check_size, check_tags, check_webp_size, describe_format, format_of
from pipeline.sources.picture_style import Channel
from pipeline.sources.png_files import read_plain_png

Grey = npt.NDArray[np.uint8]
T = TypeVar("T")

TURNED = "turned by the orientation in the metadata"
COLOURS = "colours to grey"
SIXTEEN_BITS = "16 bits to 8 by the high byte"
ALPHA_IGNORED = "transparency ignored"
ALPHA_READ = "transparency read, as nothing else differs"
TRANSPOSED = "transposed"  # of arrays, not of pictures
RESIZED = "resized"  # see `picture_resizing`
CONVERSIONS = (TURNED, COLOURS, SIXTEEN_BITS, ALPHA_IGNORED, ALPHA_READ, RESIZED)
_TILE_WIDTH = 322  # tags of TIFF
_TILE_HEIGHT = 323
_WHITE_IS_ZERO = 262  # 0: the smallest value is white
_ORIENTATION = 0x0112  # of EXIF; 1 is upright
_TURNS = range(2, 9)  # the other orientations; any other number means nothing
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


def decode_picture(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a file, rotated by its EXIF orientation; of an animation or several pages, the first image.

    Raises BadInput if it is no picture of FORMATS, it is damaged, or it has more than max_pixels.
    """
    return _decode(data, name, _split, max_pixels)


def decode_image(data: bytes, name: str, channel: Channel, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode one channel of a file: grey is the ITU-R 601-2 luma of colours, without their transparency.

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
    conversions = _list_conversions(image)  # before it is turned
    return DecodedImage(_to_grey(image), (*conversions, *_ignored_alpha(image)))


def _to_alpha(image: Image.Image) -> tuple[Picture, tuple[str, ...]]:
    conversions = _list_conversions(image)
    return _split(image), (*conversions, ALPHA_READ)


def _list_conversions(image: Image.Image) -> list[str]:
    applies = {
        TURNED: _is_turned(image),  # first: once it is decoded, Pillow has turned a TIFF picture and forgets it
        COLOURS: not _is_grey(image),
        SIXTEEN_BITS: image.mode.startswith("I"),
    }
    return [name for name, is_applied in applies.items() if is_applied]


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) in _TURNS


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = image.getpalette() or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I")


def _ignored_alpha(image: Image.Image) -> list[str]:
    return [ALPHA_IGNORED] if image.has_transparency_data else []


def _decode(data: bytes, name: str, convert: Callable[[Image.Image], T], max_pixels: int) -> T:
    if not data:
        raise BadInput(f"{name}: an empty file, expected a picture")
    kind = format_of(data)
    if kind is None:
        other = describe_format(data)
        found = f"{other}not read" if other else "not a sound picture: damaged at its beginning, or of another format"
        raise BadInput(f"{name}: {found}; expected {TITLES}: convert it")
    try:
        plain = read_plain_png(data) if kind == "PNG" else None
        if plain:
            check_size(plain.width, plain.height, name, max_pixels)
            return convert(plain.decode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which does not change the pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _open(data, kind, name, max_pixels) as image:
                _check_image(image, kind, name, max_pixels)
                return convert(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadInput(f"{name}: too large: expected at most {max_pixels} pixels: {error}") from None
    except UnidentifiedImageError:  # its own message names the BytesIO object
        raise BadInput(f"{name}: not a sound {kind} picture: damaged at its beginning") from None
    except BadInput:
        raise
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise BadInput(f"{name}: not a sound {kind} picture: {error}") from None


def _open(data: bytes, kind: str, name: str, max_pixels: int) -> Image.Image:
    """Read the header of a file; raises BadInput if it states too many pixels, or tags that are too large."""
    if kind == "WEBP":
        check_webp_size(data, name, max_pixels)
    if kind == "TIFF":
        check_tags(data, name)
    image = Image.open(io.BytesIO(data), formats=(kind,))
    check_size(image.width, image.height, name, max_pixels)
    return image


def _check_image(image: Image.Image, kind: str, name: str, max_pixels: int) -> None:
    """Raise BadInput for a picture that Pillow can decode but whose grey levels are of no known range."""
    if isinstance(image, TiffImageFile):
        check_size(_tag(image, _TILE_WIDTH), _tag(image, _TILE_HEIGHT), name, max_pixels)  # a tile may exceed the image
        if image.mode.startswith("I") and _tag(image, _WHITE_IS_ZERO) == 0:
            raise BadInput(f"{name}: a {kind} picture of 16 bits whose largest value is black: convert it to 8 bits")
    if image.mode == "F" or (kind == "TIFF" and image.mode == "I"):
        raise BadInput(f"{name}: a {kind} picture of signed, 32-bit or floating-point values: convert it to 8 bits")
    if kind != "TIFF":  # whose tags have been checked
        image.load()  # PNG may have them after its pixels
        check_tags(image.info.get("exif", b"").removeprefix(b"Exif\0\0"), name)


def _tag(image: TiffImageFile, tag: int) -> int:
    return int(image.tag_v2.get(tag, 1))


def _to_grey(stored: Image.Image) -> Grey:
    image = _turn(stored)
    if image.mode.startswith("I"):
        return _high_bytes(image)
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _turn(stored: Image.Image) -> Image.Image:
    """Apply the orientation of the metadata, which takes a copy of the image."""
    stored.load()  # PNG may have metadata after its pixels, and TIFF pictures are turned by this
    return ImageOps.exif_transpose(stored) if _is_turned(stored) else stored


def _high_bytes(image: Image.Image) -> Grey:
    """Convert 16-bit grey to 8 bits by its high byte; Pillow's conversion to L clips it to 255 instead."""
    return (np.asarray(image) >> 8).astype(np.uint8)


def _split(stored: Image.Image) -> Picture:
    image = _turn(stored)
    if image.mode.startswith("I"):
        opaque = np.asarray(image) != image.info.get("transparency", -1)
        return Picture(_high_bytes(image), np.where(opaque, np.uint8(255), np.uint8(0)))
    grey, alpha = image.convert("RGBA").convert("LA").split()
    return Picture(np.asarray(grey), np.asarray(alpha))
