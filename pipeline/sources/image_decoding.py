"""Encoded pictures of a data set -> blocks of examples. A picture or label that is not usable is a rejected example."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.errors import BadInput
from model.examples import Examples
from pipeline.sources.blocks import BLOCK_BYTES, Block, ExampleFormat, RejectedExamples
from pipeline.sources.idx_format import MAX_EXAMPLE_BYTES
from pipeline.sources.images import Grey, decode_grey

MAX_PICTURE_BYTES = 2**26  # encoded; decoded it has at most MAX_EXAMPLE_BYTES


@dataclass(frozen=True)
class Encoded:
    """A picture as its source has it.

    Attributes:
        index: position in the split.
        file: where it is from.
        name: what to call it in a reason.
        data: a PNG or JPEG file; None if there is none.
        label: None if there is none.
    """

    index: int
    file: str
    name: str
    data: bytes | None
    label: int | None


class SizeFinder:
    """Finds out a data set's image size by its first picture that can be decoded, unless it is given."""

    def __init__(self, size: tuple[int, int] | None) -> None:
        self._size = size
        self._first_problem = "there are no pictures"
        self._num_tried = 0

    def offer(self, data: bytes | None, name: str) -> None:
        """Look at a picture if the size is not known yet."""
        if self._size is not None:
            return
        self._num_tried += 1
        try:
            self._size = decode(data, name).shape
        except BadInput as problem:
            if self._num_tried == 1:
                self._first_problem = str(problem)

    def size(self, source: str) -> tuple[int, int]:
        """Return height and width, once the train split was offered.

        Raises:
            BadInput: no picture of it could be decoded; the message names the source.
        """
        if self._size is None:
            raise BadInput(
                f"{source}: no picture of the train split can be decoded; of the first one: {self._first_problem}"
            )
        return self._size


def decode(data: bytes | None, name: str) -> Grey:
    """Decode one picture; raises BadInput if there is none, or none that may be an example."""
    if data is None:
        raise BadInput(f"{name}: there are no bytes of a picture")
    if len(data) > MAX_PICTURE_BYTES:
        raise BadInput(f"{name}: {len(data)} bytes, expected at most {MAX_PICTURE_BYTES}")
    return decode_grey(data, name, MAX_EXAMPLE_BYTES)


def decode_blocks(split: str, pictures: Sequence[Encoded], target: ExampleFormat) -> Iterator[Block]:
    """Decode pictures into blocks of about BLOCK_BYTES.

    Args:
        split: of all of them.
        pictures: in the order of their indices.
        target: what each must be.
    """
    length = max(1, BLOCK_BYTES // target.num_pixels)
    for start in range(0, len(pictures), length):
        yield _decode_block(split, pictures[start : start + length], target)


def _decode_block(split: str, pictures: Sequence[Encoded], target: ExampleFormat) -> Block:
    images = np.empty((len(pictures), target.num_pixels), np.uint8)
    kept, rejected = list[Encoded](), list[RejectedExamples]()
    for picture in pictures:
        try:
            images[len(kept)] = _decode_usable(picture, target).reshape(-1)
            kept.append(picture)
        except BadInput as problem:
            rejected.append(RejectedExamples(split, picture.file, picture.index, str(problem)))
    indices = np.array([picture.index for picture in kept], np.int64)
    labels = np.array([picture.label for picture in kept], np.int64)
    return Block(split, Examples(indices, images[: len(kept)], labels), tuple(rejected))


def _decode_usable(picture: Encoded, target: ExampleFormat) -> Grey:
    if picture.label is None:
        raise BadInput(f"{picture.name}: there is no label")
    if not 0 <= picture.label < target.num_classes:
        raise BadInput(f"{picture.name}: {target.fault_of(picture.label)}")
    grey = decode(picture.data, picture.name)
    if grey.shape != (target.height, target.width):
        found = " x ".join(map(str, grey.shape))
        raise BadInput(f"{picture.name}: {found} pixels, expected {target.height} x {target.width}")
    return grey
