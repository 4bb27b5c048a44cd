"""Decode the images (files of pictures) of a source into blocks of examples; an unusable one is a rejected example."""

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from model.errors import BadInput
from model.examples import Examples
from pipeline.sources.blocks import BLOCK_BYTES, Block, BlockRange, ExampleFormat, RejectedExample
from pipeline.sources.catalog import PictureOptions, ResizeMode
from pipeline.sources.idx_format import MAX_EXAMPLE_BYTES
from pipeline.sources.image_decoding import MAX_PIXELS, RESIZED, DecodedImage, Grey, decode_image, decode_picture
from pipeline.sources.picture_resizing import resize_image
from pipeline.sources.picture_style import Channel

MAX_ENCODED_BYTES = 2**26  # of an encoded image; the decoded one has at most MAX_EXAMPLE_BYTES, or is resized
WRONG_SIZE = "pixels, expected"  # in the reason of a rejection: found HxW, WRONG_SIZE, expected HxW


@dataclass(frozen=True)
class EncodedImage:
    """An image as it is stored in the source, at an index of its split; data and label are None if missing."""

    index: int
    file: str
    name: str  # in the reason of a rejection
    data: bytes | None
    label: int | None
    problem: str = ""  # why there are no bytes
    label_fault: str = ""  # why there is no label


StoredImage: TypeAlias = EncodedImage | Grey  # an image of a file to predict: the file of a picture, or pixels


class EncodedRange(BlockRange):
    """A range of encoded images."""

    @abstractmethod
    def read_images(self) -> Iterator[list[EncodedImage]]:
        """Yield the images, some at a time; raises BadInput if they have changed since the scan."""

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Decode the images; see `BlockRange.read`."""
        block_examples = max(1, BLOCK_BYTES // target.num_pixels)
        for images in self.read_images():
            for start in range(0, len(images), block_examples):
                yield _decode_block(self.split, images[start : start + block_examples], target)


class FoundFormat(NamedTuple):
    """What a part of a source's images says of their format: height and width of the first one that can be decoded.

    size is None if none can be decoded; problem is that of the first image, if it is before that one.
    """

    size: tuple[int, int] | None
    channel: Channel
    problem: str


NO_FORMAT = FoundFormat(None, "grey", "")  # of no images


class FormatFinder:
    """Determines what a data set's images have in common from the first one that can be decoded.

    Attributes:
        channel: what of every image is read.
        resize: how images of another size are scaled; None if they are rejected.
    """

    def __init__(self, options: PictureOptions) -> None:
        self.channel: Channel = "grey"
        self.resize = options.resizing
        self._size = options.size
        self._found_size: tuple[int, int] | None = None
        self._first_problem = ""

    def refuse(self, problem: str) -> None:
        """Note an image that cannot be read."""
        self._first_problem = self._first_problem or problem

    def offer(self, data: bytes | None, name: str) -> None:
        """Decode an image, unless one has been decoded already."""
        if self.is_found:
            return
        try:
            picture = decode_picture(_check_length(data, name), name, _max_pixels(self.resize))
        except BadInput as error:
            self.refuse(str(error))
            return
        height, width = picture.grey.shape
        self.add(FoundFormat((height, width), picture.channel, ""))

    def add(self, found: FoundFormat) -> None:
        """Take up what the next part of the images says."""
        self.refuse(found.problem)
        if found.size and not self.is_found:
            self._found_size = found.size
            self._size = self._size or found.size
            self.channel = found.channel

    @property
    def is_found(self) -> bool:
        """Whether an image has been decoded."""
        return self._found_size is not None

    @property
    def found(self) -> FoundFormat:
        """What the images that were offered say."""
        return FoundFormat(self._found_size, self.channel, self._first_problem)

    @property
    def identity(self) -> str:
        """The size, with the channel if it is not grey, as text: both decide which images are read, and how.

        With the mode, too, if images are resized.
        """
        if self.resize:
            return json.dumps([self._size, self.channel, self.resize])
        return json.dumps(self._size if self.channel == "grey" else [self._size, self.channel])

    def size(self, source: str) -> tuple[int, int]:
        """Return height and width; raises BadInput if no image of the train split, all of them offered, is sound."""
        if self._size is None:
            raise BadInput(
                f"{source}: no picture of the train split can be decoded; of the first one: {self._first_problem}"
            )
        return self._size


def _decode_block(split: str, images: Sequence[EncodedImage], target: ExampleFormat) -> Block:
    pixels = np.empty((len(images), target.num_pixels), np.uint8)
    conversions = list[str]()
    usable = list[EncodedImage]()
    rejected = list[RejectedExample]()
    for image in images:
        try:
            decoded = _decode_example(image, target)
            pixels[len(usable)] = decoded.values.reshape(-1)
            usable.append(image)
            conversions += decoded.conversions
        except BadInput as error:
            rejected.append(RejectedExample(split, image.file, image.index, str(error), target.class_of(image.label)))
    indices = np.array([image.index for image in usable], np.int64)
    labels = np.array([target.class_of(image.label) for image in usable], np.int64)
    return Block(split, Examples(indices, pixels[: len(usable)], labels), tuple(rejected), tuple(conversions))


def _decode_example(image: EncodedImage, target: ExampleFormat) -> DecodedImage:
    if image.label is None:
        raise BadInput(f"{image.name}: {image.label_fault or 'there is no label'}")
    label = image.label - target.first_label
    if not 0 <= label < target.num_classes:
        raise BadInput(f"{image.name}: {target.describe_label_fault(label)}")
    decoded = decode_image(read_encoded(image), image.name, target.channel, _max_pixels(target.resize))
    if target.resize and decoded.values.shape != (target.height, target.width):
        resized = resize_image(decoded.values, target.height, target.width, target.resize)
        return DecodedImage(resized, (*decoded.conversions, RESIZED))
    if decoded.values.shape != (target.height, target.width):
        size = " x ".join(map(str, decoded.values.shape))
        raise BadInput(f"{image.name}: {size} {WRONG_SIZE} {target.height} x {target.width}")
    return decoded


def _max_pixels(resize: ResizeMode | None) -> int:
    return MAX_PIXELS if resize else MAX_EXAMPLE_BYTES


def read_encoded(image: EncodedImage) -> bytes:
    """Return the bytes of an encoded image; raises BadInput if they are missing or too many."""
    if image.problem:
        raise BadInput(f"{image.name}: {image.problem}")
    return _check_length(image.data, image.name)


def _check_length(data: bytes | None, name: str) -> bytes:
    """Return the bytes of an encoded image; raises BadInput if they are missing or too many."""
    if data is None:
        raise BadInput(f"{name}: there are no bytes of a picture")
    if len(data) > MAX_ENCODED_BYTES:
        raise BadInput(f"{name}: {len(data)} bytes, expected at most {MAX_ENCODED_BYTES}")
    return data
