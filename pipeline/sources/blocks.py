"""The interface between source formats and preprocessing: scans, ranges and blocks of examples.

A format scans its files once, in the driver. The scan gives the identity of every split and cuts it into ranges, which
workers read as blocks. `SplitScan` says how to add a format.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Set
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from model.errors import BadInput, BadUsage
from model.examples import Examples
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileName, Record

BLOCK_BYTES = 2**22  # of pixels: a few thousand small images, so that the cost of a Beam element does not show


class SourceInfo(Record):
    """The identity of a source file, or of a split: the size and the SHA-256 of its decompressed content."""

    name: FileName
    num_bytes: Count
    sha256: Digest


@dataclass(frozen=True)
class RejectedExample:
    """An example that is left out: the source file that holds it, its position in the split, and why."""

    split: str
    file: str
    index: int
    reason: str


@dataclass(frozen=True)
class Block:
    """The usable examples of a part of a split, and the rejected examples of the same part."""

    split: str
    examples: Examples
    rejected: tuple[RejectedExample, ...] = ()


class ExampleFormat(NamedTuple):
    """The shape of every image of a data set in pixels; its labels are 0 .. num_classes - 1."""

    height: int
    width: int
    num_classes: int

    @property
    def num_pixels(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    def describe_label_fault(self, label: int) -> str:
        """Describe why a label is outside of 0 .. num_classes - 1."""
        return f"label {label} is " + (f"not below {self.num_classes}" if label >= 0 else "negative")


@dataclass(frozen=True)
class BlockRange(ABC):
    """A range of a split's examples, unusable ones included; each format adds where the range is stored."""

    split: str
    start: int  # the position of the first example in the split
    num_examples: int

    @abstractmethod
    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the blocks of the range, each of about BLOCK_BYTES.

        Every example of the range is in exactly one block, either usable or rejected.

        Raises:
            BadInput: the content of the range has changed since the scan.
        """


@dataclass(frozen=True)
class SplitScan:
    """A split whose files have been read from end to end without an error.

    To add a file format:

    1. A new module in `sources/` defines a NamedTuple that names the files of a data set (such as `ParquetSource`), and
       `scan(source, num_classes) -> SourceScan`, which reads every file once and raises BadInput for files that are
       damaged or do not fit together, and a subclass of `BlockRange`. A single unusable example is no error: its range
       reports it as rejected. For encoded images, the range is one of `EncodedRange` in `image_blocks.py`
       (`image_folder.py` is an example).
    2. The same module ends with its `LAYOUT`, which says how such files are recognised in a folder and found, and which
       of the user's options apply to them. `LAYOUTS` in `sources/source_lookup.py` lists it.
    3. `FILE_ENDINGS` in `sources/catalog.py` lists the ending of files that --dataset may name one by one, if any.

    Everything after that needs no change.
    """

    ranges: tuple[BlockRange, ...]  # they cover the split in order
    image_size: tuple[int, int]  # height and width
    infos: tuple[
        SourceInfo, ...
    ]  # identity by content; file names, times and compression of the container do not count

    @property
    def num_examples(self) -> int:
        """Examples in the split, unusable ones included."""
        return sum(block.num_examples for block in self.ranges)

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Return the ranges for workers to read, until the stack, which takes the cleanup, is closed.

        A format may put temporary files, such as decompressed ones, into scratch, a folder that every worker can read.
        """
        return self.ranges


class SourceScan(NamedTuple):
    """The scans of all splits of a source by name, and the class names in the order of the labels."""

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
        """The identity of every split."""
        return tuple(info for split in self.splits.values() for info in split.infos)


def changed_since_scan(place: Place) -> BadInput:
    """Return the error for a file whose content is not that of the scan."""
    return BadInput(f"{place} changed while it was read: run again once nothing writes to it")


def choose_class_names(
    source_names: tuple[str, ...] | None, labels: Set[int], num_classes: int | None, name: str
) -> tuple[str, ...]:
    """Return the names that a source gives its classes, else the numbers 0 .. num_classes - 1 as text.

    num_classes is what the user states, by default the largest of the labels of the train split plus one.

    Raises:
        BadUsage: num_classes is not the number of source_names.
        BadInput: num_classes is needed but not given: there are no labels, or some number below the largest is unused.
    """
    if source_names is not None:
        if num_classes not in (None, len(source_names)):
            raise BadUsage(f"--num-classes {num_classes}: {name} has its own classes, {len(source_names)} of them")
        return source_names
    return tuple(map(str, range(num_classes or _count_classes(labels, name))))


def _count_classes(labels: Set[int], name: str) -> int:
    if not labels:
        raise BadInput(f"{name}: no example of the train split has a usable label")
    unused = [str(label) for label in range(max(labels)) if label not in labels]
    if unused:
        raise BadInput(
            f"{name}: labels go up to {max(labels)} but none is {', '.join(unused[:10])}"
            f"{' ...' if len(unused) > 10 else ''}; say how many classes there are with --num-classes"
        )
    return max(labels) + 1
