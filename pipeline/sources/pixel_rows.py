"""Rows of pixels that a file stores as numbers: as examples, unusable ones rejected."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import BadInput, BadUsage
from model.examples import Examples
from pipeline.progress import warn
from pipeline.sources.blocks import Block, ExampleFormat, RejectedExample
from pipeline.sources.catalog import InapplicableOption, PictureOptions
from pipeline.sources.labels import CodedLabel

WHOLE_PIXEL = "expected a whole number from 0 to 255"


@dataclass(frozen=True)
class PixelRows:
    """Consecutive rows of a file: uint8[n, pixels], a label of each, and why rows have no pixels, by position."""

    file: str
    first_row: int  # position of the first row in the file
    start: int  # position of the first row in the split
    pixels: npt.NDArray[np.uint8]
    labels: list[CodedLabel]
    faults: dict[int, str]


def to_block(split: str, rows: PixelRows, target: ExampleFormat) -> Block:
    """Return the usable rows as examples; rejected are those without a label of a class or without sound pixels."""
    classes = [target.class_of(label.number) for label in rows.labels]
    labels = np.array([-1 if label is None else label for label in classes], np.int64)
    usable = labels >= 0
    usable[list(rows.faults)] = False
    rejected = []
    for position in np.flatnonzero(~usable).tolist():
        reason = _describe_label(rows.labels[position], target) or rows.faults[position]
        reason = f"row {rows.first_row + position}: {reason}"
        index = rows.start + position
        rejected.append(RejectedExample(split, rows.file, index, reason, classes[position]))
    examples = Examples(np.arange(rows.start, rows.start + len(labels)), rows.pixels, labels)
    return Block(split, examples.take(np.flatnonzero(usable)) if rejected else examples, tuple(rejected))


def _describe_label(label: CodedLabel, target: ExampleFormat) -> str:
    if label.number is None:
        return label.fault
    return (
        ""
        if target.class_of(label.number) is not None
        else target.describe_label_fault(label.number - target.first_label)
    )


def round_pixels(values: npt.NDArray[Any], names: list[str]) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
    """Return numbers, [rows, pixels], as uint8, and why rows are unusable, by position; NaN is a missing value.

    Numbers are not scaled: a picture of 0 to 1 is refused, because it might also be one of two greys.
    """
    with np.errstate(invalid="ignore"):
        pixels = values.astype(np.uint8)
        faulty = ~(pixels == values)
    faults = {}
    for row in np.flatnonzero(faulty.any(axis=1)).tolist():
        column = int(np.argmax(faulty[row]))
        value = values[row, column]
        found = "missing" if np.isnan(value) else str(value)
        faults[row] = f"the pixel {names[column]!r} is {found}, {WHOLE_PIXEL}"
    return pixels, faults


def warn_of_order(names: Sequence[str], file: str) -> None:
    """Warn of columns of pixels whose names are numbered, as pixel0, in another order: sorted as text, or reversed."""
    numbers = [re.fullmatch(r"[^0-9]*([0-9]{1,9})", name) for name in names]
    found = [int(number[1]) for number in numbers if number]
    if len(found) == len(names) and found != sorted(found):
        position = next(position for position, pair in enumerate(pairwise(found)) if pair[0] > pair[1])
        warn(
            f"warning: {file}: the columns of pixels are not in the order of their numbers ({names[position + 1]!r} "
            f"follows {names[position]!r}); the pixels are taken in the order of the columns"
        )


class HoldsPixels(InapplicableOption):
    """Images are to be resized that are stored as pixels."""

    fields = ("resize", "resize_mode")
    reason = "it holds pixels"


def check_rows(faults: dict[int, str], first_row: int, name: str) -> None:
    """Raise BadInput for the first of the unusable rows of a file that is to be predicted; faults are by position."""
    if faults:
        row = min(faults)
        raise BadInput(f"{name}, row {first_row + row}: {faults[row]}")


def check_not_resized(options: PictureOptions, name: str) -> None:
    """Raise HoldsPixels if --resize is given for a source whose images are pixels."""
    if options.resize:
        raise HoldsPixels(f"--resize goes with files of pictures, and {name} holds pixels: leave it out")


def choose_image_size(num_pixels: int, size: tuple[int, int] | None, name: str) -> tuple[int, int]:
    """Return height and width of images of num_pixels: the user's, else those of a square.

    Raises BadUsage if size has another number of pixels, BadInput if there is none and num_pixels is no square number.
    """
    if size is not None:
        if size[0] * size[1] != num_pixels:
            raise BadUsage(f"--image-size {size[0]}x{size[1]}: {name} has {num_pixels} pixels in an image")
        return size
    side = isqrt(num_pixels)
    if side * side != num_pixels or not num_pixels:
        raise BadInput(
            f"{name}: {num_pixels} pixels in an image, which is no square: give the size with --image-size, such as "
            "28x28"
        )
    return side, side
