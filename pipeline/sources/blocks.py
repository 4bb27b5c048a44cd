"""What the pipeline asks of every kind of source: what it is, by content, how it is cut into blocks, and the blocks.

A scan reads a source once, in the driver, for its identity. It cuts each split into ranges and makes a reader that
workers use: the reader turns a range into blocks of examples, and raises BadInput unless the range holds what was
scanned.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Protocol

from model.examples import Examples
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileName, Record


class SourceInfo(Record):
    """A source file, by content.

    Attributes:
        name: its customary name.
        num_bytes: decompressed.
        sha256: of the decompressed bytes.
    """

    name: FileName
    num_bytes: Count
    sha256: Digest


BLOCK_BYTES = 2**22


@dataclass(frozen=True)
class BlockRange:
    """A piece of a split's source: where it starts and how many examples it has; each kind adds how to find it."""

    split: str
    start: int
    num_examples: int


@dataclass(frozen=True)
class RejectedExamples:
    """An example that is left out: its split, the source file at fault, its position in the split, and why."""

    split: str
    file: str
    index: int
    reason: str


@dataclass(frozen=True)
class Block:
    """A block of a split's usable examples, and those of the same range that are not usable."""

    split: str
    examples: Examples
    rejected: tuple[RejectedExamples, ...] = ()


class ExampleFormat(NamedTuple):
    """What every example of a data set must be.

    Attributes:
        height: of an image.
        width: of an image.
        num_classes: labels are below it.
    """

    height: int
    width: int
    num_classes: int

    @property
    def num_pixels(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    def fault_of(self, label: int) -> str:
        """Say why a label outside of 0 .. num_classes - 1 is none."""
        return f"label {label} is " + (f"not below {self.num_classes}" if label >= 0 else "negative")


class BlockReader(Protocol):
    """What a worker reads a split with; it travels to workers."""

    def read(self, block: Any) -> Iterator[Block]:
        """Yield the blocks of a range that the same scan made, each of about BLOCK_BYTES.

        Raises:
            BadInput: it is not what was scanned.
        """


class SplitScan(Protocol):
    """A split that was read from end to end and found sound, but for single examples."""

    @property
    def num_examples(self) -> int:
        """Examples in the split, unusable ones included."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""

    @property
    def infos(self) -> tuple[SourceInfo, ...]:
        """The identity of the split, by content."""

    def ranges(self, split: str) -> Iterator[BlockRange]:
        """Cut the split, by its name, into pieces."""

    def open(self, stack: ExitStack, target: ExampleFormat, scratch: Place) -> BlockReader:
        """Make a reader that works as long as the stack lasts; scratch is a folder for what it needs on the way."""


class SourceScan(NamedTuple):
    """All files of a source, read and found sound.

    Attributes:
        splits: by name.
        class_names: in the order of the labels.
    """

    splits: dict[str, SplitScan]
    class_names: tuple[str, ...]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, the same in every split."""
        return next(iter(self.splits.values())).image_size

    @property
    def num_pixels(self) -> int:
        """Pixels of an image."""
        return prod(self.image_size)

    @property
    def infos(self) -> tuple[SourceInfo, ...]:
        """The identity of every part of the source."""
        return tuple(info for split in self.splits.values() for info in split.infos)
