"""The style of a data set's pictures: what is common to them besides their size, and how their files became grey.

Workers count it while they read the blocks. `backbeam predict`, the report's inspector and the description of an
exported model follow it, so that another picture is given to the model as the pictures of its training were.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.sources.catalog import ResizeMode
from pipeline.storage.records import Count, Record

Background: TypeAlias = Literal["dark", "light"]
Channel: TypeAlias = Literal["grey", "alpha"]
PixelValue = Annotated[int, Field(ge=0, le=255)]

MIDDLE = 128  # alpha values from here on are opaque, and pictures of one grey light


class PictureStyle(Record):
    """The style of a data set's pictures."""

    background: Background = "dark"  # of most pictures; see `is_light`
    darkest: PixelValue = 0  # the smallest and the largest value of any pixel
    brightest: PixelValue = 255
    channel: Channel = "grey"  # what of the pictures was read
    resize: ResizeMode | None = Field(
        None, exclude_if=lambda mode: mode is None
    )  # how pictures of other sizes are scaled
    conversions: dict[str, Count] = Field({})  # numbers of pictures by conversion; see `image_decoding`

    @property
    def value_range(self) -> int:
        """The difference of the brightest and the darkest pixel, at least 1."""
        return max(1, self.brightest - self.darkest)


MNIST_STYLE = PictureStyle()


@dataclass(frozen=True)
class StyleCounts:
    """What decides the style of some pictures; the sum of two counts is that of the pictures together."""

    num_images: int = 0
    num_light: int = 0
    darkest: int = 255
    brightest: int = 0
    conversions: tuple[tuple[str, int], ...] = ()

    def to_style(self, channel: Channel, resize: ResizeMode | None = None) -> PictureStyle:
        """Return the style of the counted pictures, of which there is at least one."""
        return PictureStyle(
            background="light" if 2 * self.num_light > self.num_images else "dark",
            darkest=self.darkest,
            brightest=self.brightest,
            channel=channel,
            resize=resize,
            conversions=dict(self.conversions),
        )


NO_PICTURES = StyleCounts()


def count_style(images: npt.NDArray[np.uint8], conversions: Iterable[str] = ()) -> StyleCounts:
    """Count the style of uint8[n, height, width]; conversions has the name of each conversion of each picture."""
    if not len(images):
        return NO_PICTURES
    num_light = int(np.count_nonzero(is_light(images)))
    counted = tuple(sorted(Counter(conversions).items()))
    return StyleCounts(len(images), num_light, int(images.min()), int(images.max()), counted)


def add_styles(counts: Iterable[StyleCounts]) -> StyleCounts:
    """Add up counts."""
    total = NO_PICTURES
    conversions = Counter[str]()
    for each in counts:
        total = StyleCounts(
            total.num_images + each.num_images,
            total.num_light + each.num_light,
            min(total.darkest, each.darkest),
            max(total.brightest, each.brightest),
        )
        conversions.update(dict(each.conversions))
    return StyleCounts(
        total.num_images, total.num_light, total.darkest, total.brightest, tuple(sorted(conversions.items()))
    )


def join_styles(styles: Iterable[tuple[PictureStyle, int]]) -> PictureStyle:
    """Return the style of several data sets together, given each one's style and number of pictures."""
    pairs = list(styles)
    counts = [
        StyleCounts(
            num_images,
            num_images if style.background == "light" else 0,
            style.darkest,
            style.brightest,
            tuple(style.conversions.items()),
        )
        for style, num_images in pairs
    ]
    resize = next((style.resize for style, _ in pairs if style.resize), None)  # parts of arrays have none
    return add_styles(counts).to_style(pairs[0][0].channel, resize)


def is_light(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return bool[n], whether the background of each of uint8[n, height, width] is lighter than what stands on it.

    It is if most of the border is lighter than the mean of all pixels; for a picture of one grey, from MIDDLE on.
    """
    border = border_of(images)
    pixels = images.reshape(len(images), -1)
    sums = pixels.sum(axis=1, dtype=np.uint64)
    means = (sums // pixels.shape[1]).astype(np.uint8)  # rounded down, which no pixel value is between
    is_above: npt.NDArray[np.bool_] = 2 * np.count_nonzero(border > means[:, None], axis=1) > border.shape[1]
    may_be_blank = np.flatnonzero(sums == pixels.shape[1] * pixels[:, 0].astype(np.uint64))
    blank = may_be_blank[(pixels[may_be_blank] == pixels[may_be_blank, :1]).all(axis=1)]
    is_above[blank] = means[blank] >= MIDDLE
    return is_above


def border_of(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the outermost pixels of uint8[n, height, width] as uint8[n, pixels]; corners occur twice."""
    return np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
