"""The interface between source formats and preprocessing: scans, ranges and blocks of examples.

A format scans its files once, in the driver or in tasks of workers. The scan gives the identity of every split and
cuts it into ranges, which workers read as blocks. `SplitScan` says how to add a format.
"""

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, TypeAlias

from model.errors import BadInput
from model.examples import Examples
from pipeline.sources.catalog import InapplicableOption, ResizeMode
from pipeline.sources.picture_style import Channel
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileName, Record

# What is known of a source's classes before it is scanned: their number, which the user states, or the names of the
# classes of the source that it is joined with.
ClassCount: TypeAlias = int | tuple[str, ...] | None
_SHOWN = 100  # characters of a name that is too long, in a message
BLOCK_BYTES = 2**22  # of pixels: a few thousand small images, so that the cost of a Beam element does not show


class SourceInfo(Record):
    """The identity of a source file, or of a split: the size and the SHA-256 of its decompressed content."""

    name: FileName
    num_bytes: Count
    sha256: Digest


@dataclass(frozen=True)
class RejectedExample:
    """An example that is left out: the source file that holds it, its position in the split, and why.

    label is that of a class, or None if it is at fault itself.
    """

    split: str
    file: str
    index: int
    reason: str
    label: int | None = None


@dataclass(frozen=True)
class Block:
    """The usable examples of a part of a split, and the rejected examples of the same part."""

    split: str
    examples: Examples
    rejected: tuple[RejectedExample, ...] = ()
    conversions: tuple[str, ...] = ()  # of each usable picture, the names of its conversions: see `image_decoding`


class ExampleFormat(NamedTuple):
    """The shape of every image of a data set in pixels; its labels are 0 .. num_classes - 1.

    In the source, the label 0 is first_label.
    """

    height: int
    width: int
    num_classes: int
    channel: Channel = "grey"  # what of an encoded image is read
    first_label: int = 0
    resize: ResizeMode | None = None  # how encoded images of another size are scaled; None: they are rejected

    @property
    def num_pixels(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    def class_of(self, stored: int | None) -> int | None:
        """Return the class of a label of the source; None if it is of none, or missing."""
        label = -1 if stored is None else stored - self.first_label
        return label if 0 <= label < self.num_classes else None

    def describe_label_fault(self, label: int) -> str:
        """Describe why a label, of which first_label is taken off, is outside of 0 .. num_classes - 1."""
        stored = label + self.first_label
        if label >= 0:
            return f"label {stored} is not below {self.num_classes + self.first_label}"
        return f"label {stored} is " + ("negative" if stored < 0 else f"below {self.first_label}, the first label")


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
       `scan(source, num_classes, first_label, map_tasks) -> SourceScan`, which reads every file once and raises
       BadInput for files that are damaged or do not fit together, and a subclass of `BlockRange`. A single unusable
       example is no error: its range reports it as rejected. For encoded images, the range is one of `EncodedRange` in
       `image_blocks.py` (`image_folder.py` is an example). map_tasks runs the tasks of large sources, as
       `scan_tasks.py` describes.
    2. The same module ends with its `LAYOUT`, which says how such files are recognised in a folder and found, and which
       of the user's options apply to them. `LAYOUTS` in `sources/source_lookup.py` lists it.
    3. `_read_images` in `evaluate/image_files.py` reads such a file for `backbeam predict`, by the functions of 1.
    4. `_FILE_NAMES` in `sources/catalog.py` lists how names of files end that --dataset may name one by one, if any.

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
    channel: Channel = "grey"  # what of encoded images is read: of all, what the first one of the train split needs
    first_label: int = 0  # the number in the source of the first class
    resize: ResizeMode | None = None  # how encoded images of another size are scaled

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


@contextmanager
def refuse_unreadable() -> Iterator[None]:
    """Raise BadInput for the files and folders of a source that this user may not read, and for names too long."""
    try:
        yield
    except PermissionError as error:
        raise BadInput(
            f"{error.filename} cannot be read: {error.strerror}; allow this user to read it, or take it out"
        ) from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise BadInput(f"{str(error.filename)[:_SHOWN]} ...: the name is too long to be that of a file") from None


def changed_since_scan(place: Place) -> BadInput:
    """Return the error for a file whose content is not that of the scan."""
    return BadInput(f"{place} changed while it was read: run again once nothing writes to it")


class HasClassNames(InapplicableOption):
    """The number of the first class is given for a source that names its classes."""

    fields = ("first_label",)
    reason = "it names its classes"


def choose_class_names(
    source_names: tuple[str, ...] | None, labels: Set[int], num_classes: ClassCount, name: str, first_label: int = 0
) -> tuple[str, ...]:
    """Return the names that a source gives its classes, else the labels from first_label on as text.

    There are as many labels as num_classes, by default those up to the largest one of the train split.

    Raises:
        HasClassNames: first_label is not 0 although there are names.
        BadInput: num_classes is needed but not given: there are no labels, or some number below the largest is unused.
    """
    if source_names is not None:
        if first_label:
            raise HasClassNames(
                f"--first-label {first_label}: {name} has its own classes, of which the first has the label 0"
            )
        return source_names
    if isinstance(num_classes, tuple):
        numbers = range(first_label, first_label + len(num_classes))
        if num_classes == tuple(map(str, numbers)) and labels and labels <= {*numbers}:
            return num_classes
        num_classes = None
    _check_first_label(labels, num_classes, name, first_label)
    count = num_classes or _count_classes(labels, name, first_label)
    return tuple(map(str, range(first_label, first_label + count)))


def _check_first_label(labels: Set[int], num_classes: int | None, name: str, first_label: int) -> None:
    """Raise BadInput if the labels are all numbers from 1 on, which read from 0 on would lose the last class."""
    if first_label or not labels or 0 in labels or len(labels) < max(labels) or num_classes not in (None, max(labels)):
        return
    largest = max(labels)
    raise BadInput(
        f"{name}: labels begin at 1: they are 1 to {largest}, and none is 0; to read them as {largest} classes, give "
        f"--first-label 1; if there is a class 0 without examples, give --num-classes {largest + 1}"
    )


def _count_classes(labels: Set[int], name: str, first_label: int) -> int:
    if not labels:
        raise BadInput(f"{name}: no example of the train split has a usable label")
    unused = [str(label) for label in range(first_label, max(labels)) if label not in labels]
    if unused or max(labels) < first_label:
        raise BadInput(
            f"{name}: labels go up to {max(labels)} but none is {', '.join(unused[:10]) or first_label}"
            f"{' ...' if len(unused) > 10 else ''}; say how many classes there are with --num-classes, and what number "
            "the first one has with --first-label if it is not 0"
        )
    return max(labels) + 1 - first_label
