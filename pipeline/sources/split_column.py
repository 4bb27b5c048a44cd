"""Divide a source by a column that says of which split each row is.

The source is scanned as one split, and a second pass reads the column. An example's index is its position among the
rows of its split, as if these were in files of their own.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from pipeline.sources.blocks import Block, BlockRange, ClassCount, ExampleFormat, SourceInfo, SourceScan, SplitScan
from pipeline.sources.catalog import REQUIRED_SPLITS, SPLIT_WORDS, SPLITS
from pipeline.sources.image_blocks import EncodedImage, EncodedRange
from pipeline.sources.layouts import ScanSource
from pipeline.sources.scan_tasks import MapTasks
from pipeline.sources.split_files import read_validation_as_test
from pipeline.storage.places import Place

_SHOWN = 5  # values in a message
_MAX_SHOWN = 60  # characters of one


@dataclass(frozen=True)
class RowChoice:
    """The rows of a split in a range of the source: a bit for each row, and the index of the first one in the split."""

    bits: bytes
    source_start: int
    start: int

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_], source_start: int, start: int) -> "RowChoice":
        """Return the rows where mask, bool[n], is true."""
        return cls(np.packbits(mask).tobytes(), source_start, start)

    def indices(self, num_rows: int) -> npt.NDArray[np.int64]:
        """Return int64[num_rows], the index in the split of each row of the range; -1 for those of other splits."""
        mask = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=num_rows).astype(np.bool_)
        return np.where(mask, np.cumsum(mask) - 1 + self.start, -1)


@dataclass(frozen=True)
class ChosenRange(BlockRange):
    """Of a range of the source, the rows of one split."""

    source: BlockRange
    rows: RowChoice

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the blocks of the source's range without the rows of other splits."""
        indices = self.rows.indices(self.source.num_examples)
        for block in self.source.read(target):
            own = indices[block.examples.indices - self.rows.source_start]
            examples = block.examples.take(np.flatnonzero(own >= 0))._replace(indices=own[own >= 0])
            places = ((each, int(indices[each.index - self.rows.source_start])) for each in block.rejected)
            rejected = tuple(replace(each, split=self.split, index=place) for each, place in places if place >= 0)
            # Every image of pixels has the same conversions.
            num_conversions = len(block.conversions) * len(examples.labels) // max(1, len(own))
            yield Block(self.split, examples, rejected, block.conversions[:num_conversions])


@dataclass(frozen=True)
class ChosenImagesRange(EncodedRange):
    """Of a range of encoded images, those of one split; no other is decoded."""

    source: EncodedRange
    rows: RowChoice

    def read_images(self) -> Iterator[list[EncodedImage]]:
        """Yield the images; raises as the source's range."""
        indices = self.rows.indices(self.source.num_examples)
        for images in self.source.read_images():
            places = ((image, int(indices[image.index - self.rows.source_start])) for image in images)
            yield [replace(image, index=place) for image, place in places if place >= 0]


@dataclass(frozen=True)
class ChosenScan(SplitScan):
    """A split of a source that was scanned as one split."""

    ranges: tuple[ChosenRange | ChosenImagesRange, ...]
    source: SplitScan

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Return the ranges of this split; see `SplitScan.open`."""
        opened = {each.start: each for each in self.source.open(stack, scratch) if each.num_examples}
        return tuple(
            _choose(each.split, opened[each.rows.source_start], each.rows, each.num_examples) for each in self.ranges
        )


def with_split_column(scan: ScanSource, read_column: Callable[[Any], Iterable[object]]) -> ScanSource:
    """Return a layout's function that scans a source, which divides it if its options name a column of splits.

    read_column yields that column's value in every row of a source, in order.
    """

    def scan_and_divide(source: Any, num_classes: ClassCount, first_label: int, map_tasks: MapTasks) -> SourceScan:
        scans = scan(source, num_classes, first_label, map_tasks)
        column = source.options.split_by
        return scans if column is None else divide(scans, read_column(source), f"{source.name}, --split-by {column}")

    return scan_and_divide


def divide(scans: SourceScan, values: Iterable[object], name: str) -> SourceScan:
    """Divide the scan of a source that has only a train split by the words of splits in values, one for each row.

    Raises BadInput if a value is no such word, or no row is of train or of test.
    """
    whole = scans.splits["train"]
    stream = _read_numbers(values, name)
    numbers = [np.fromiter(islice(stream, each.num_examples), np.uint8) for each in whole.ranges]
    if next(stream, None) is not None or sum(map(len, numbers)) != whole.num_examples:
        raise BadInput(f"{name}: the source changed while it was read: run again once nothing writes to it")
    present = {split for number, split in enumerate(SPLITS) if any((each == number).any() for each in numbers)}
    found = read_validation_as_test({split: split for split in SPLITS if split in present}, name)
    missing = [split for split in REQUIRED_SPLITS if split not in found]
    if missing:
        raise BadInput(f"{name}: no row is of the {missing[0]} split; expected rows of train and of test")
    digest = hashlib.sha256()
    for each in numbers:
        digest.update(each.tobytes())
    splits = {
        split: _choose_rows(split, whole, numbers, SPLITS.index(stored), digest.hexdigest())
        for split, stored in found.items()
    }
    return scans._replace(splits=dict(splits))


def _read_numbers(values: Iterable[object], name: str) -> Iterator[int]:
    """Yield for each value the position in SPLITS of its split; raises BadInput after the last if some have none."""
    unknown = dict[str, None]()  # in the order in which they were found
    for value in values:
        word = "" if value is None else str(value).strip()
        split = SPLIT_WORDS.get(word.lower())
        if split is None and len(unknown) <= _SHOWN:
            unknown[word[:_MAX_SHOWN]] = None
        yield SPLITS.index(split or "train")
    if unknown:
        listed = ", ".join(map(repr, [*unknown][:_SHOWN])) + (" ..." if len(unknown) > _SHOWN else "")
        raise BadInput(f"{name}: values that are no split: {listed}; expected {', '.join(SPLIT_WORDS)}")


def _choose_rows(
    split: str, whole: SplitScan, numbers: list[npt.NDArray[np.uint8]], chosen: int, division: str
) -> SplitScan:
    """Return the scan of the rows that have a number, those of each range in numbers; division is the digest of all."""
    ranges = list[ChosenRange | ChosenImagesRange]()
    start = 0
    for each, found in zip(whole.ranges, numbers, strict=True):
        num_rows = int((found == chosen).sum())
        if num_rows:
            ranges.append(_choose(split, each, RowChoice.of(found == chosen, each.start, start), num_rows))
        start += num_rows
    infos = tuple(_identify(split, info, division) for info in whole.infos)
    return ChosenScan(tuple(ranges), whole.image_size, infos, whole)


def _choose(split: str, source: BlockRange, rows: RowChoice, num_rows: int) -> ChosenRange | ChosenImagesRange:
    if isinstance(source, EncodedRange):
        return ChosenImagesRange(split, rows.start, num_rows, source, rows)
    return ChosenRange(split, rows.start, num_rows, source, rows)


def _identify(split: str, info: SourceInfo, division: str) -> SourceInfo:
    digest = hashlib.sha256(f"{split} {division} {info.sha256}".encode()).hexdigest()
    return SourceInfo(name=f"{split}-of-{info.name}", num_bytes=info.num_bytes, sha256=digest)
