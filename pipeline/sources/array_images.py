"""Images in an array: which shapes and types are read, and how they become uint8[n, height, width]."""

from math import isqrt, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.idx_format import MAX_EXAMPLE_BYTES
from pipeline.sources.image_decoding import COLOURS, TRANSPOSED
from pipeline.sources.npy_format import ArrayHeader

BOOLEAN = "true and false read as 255 and 0"
_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601-2, in 65,536ths, as Pillow computes it


class ImageArray(NamedTuple):
    """How the images of an array are stored."""

    height: int
    width: int
    num_channels: int  # 1, or 3 of red, green and blue, the last dimension
    is_boolean: bool
    transposed: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that are read."""
        return (self.width, self.height) if self.transposed else (self.height, self.width)

    @property
    def num_bytes(self) -> int:
        """Stored bytes of an image."""
        return self.height * self.width * self.num_channels

    @property
    def conversions(self) -> tuple[str, ...]:
        """The names of the conversions of every image."""
        applied = {COLOURS: self.num_channels > 1, BOOLEAN: self.is_boolean, TRANSPOSED: self.transposed}
        return tuple(name for name, is_applied in applied.items() if is_applied)

    def decode(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Return uint8[n, height, width] of the stored bytes of n images."""
        pixels = np.frombuffer(data, np.uint8).reshape(-1, self.height, self.width, self.num_channels)
        grey = pixels[..., 0]
        if self.num_channels > 1:
            grey = ((pixels @ _LUMA + 2**15) >> 16).astype(np.uint8)
        if self.is_boolean:
            grey = np.where(grey != 0, np.uint8(255), np.uint8(0))
        return grey.transpose(0, 2, 1) if self.transposed else grey


def find_image_array(header: ArrayHeader, options: PictureOptions, name: str) -> ImageArray:
    """Return how the images of an array of that header are stored.

    --image-size is the size of the upright images. Raises BadInput for other types and shapes, BadUsage if it is not
    the size.
    """
    if header.dtype not in (np.uint8, np.bool_):
        raise BadInput(
            f"{name}: {header}, expected uint8, values from 0 to 255; if they are 0 to 1, save "
            "(255 * ARRAY).round().astype(numpy.uint8), else scale them as the values mean"
        )
    upright = options.image_size
    requested = upright[::-1] if upright and options.transpose else upright
    size, num_channels = _split_shape(header, requested, name)
    if prod(size) * num_channels > MAX_EXAMPLE_BYTES:
        raise BadInput(f"{name}: {header}: expected at most {MAX_EXAMPLE_BYTES} bytes an image")
    found = ImageArray(*size, num_channels, header.dtype == np.bool_, bool(options.transpose))
    if upright and requested != size:
        raise BadUsage(f"--image-size {'x'.join(map(str, upright))}: {name} is {header}")
    return found


def _split_shape(header: ArrayHeader, size: tuple[int, int] | None, name: str) -> tuple[tuple[int, int], int]:
    """Return (height, width) and the number of channels."""
    match header.shape[1:]:
        case (num_pixels,):
            return _size_of_flat(num_pixels, size, header, name), 1
        case (height, width) | (height, width, 1) | (1, height, width):
            return (height, width), 1
        case (height, width, 3):
            return (height, width), 3
        case _:
            raise BadInput(
                f"{name}: {header}, expected grey images [n, height, width], or coloured ones [n, height, width, 3]"
            )


def _size_of_flat(num_pixels: int, size: tuple[int, int] | None, header: ArrayHeader, name: str) -> tuple[int, int]:
    side = isqrt(num_pixels)
    found = size or (side, side)
    if prod(found) != num_pixels:
        raise BadInput(f"{name}: {header}: {num_pixels} pixels are no square: give --image-size HEIGHTxWIDTH")
    return found
