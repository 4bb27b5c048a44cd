"""Hold out a test split from a source that has one split.

A hash of its pixels decides on which side an image is. So it stays there when others are added or its label changes,
and images with the same pixels are on the same side.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.sources.blocks import Block, BlockRange, ClassCount, ExampleFormat, SourceInfo, SourceScan, SplitScan
from pipeline.sources.catalog import REQUIRED_SPLITS
from pipeline.sources.layouts import ScanSource
from pipeline.sources.scan_tasks import MapTasks
from pipeline.storage.places import Place

_HASH_BYTES = 8


@dataclass(frozen=True)
class HeldOutRange(BlockRange):
    """Of a range of the source, the examples of one side; num_examples and the indices are those of the source."""

    source: BlockRange
    test_share: float

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the blocks of the source's range without the examples of the other side.

        Rejected examples, whose pixels are unknown, count as examples of train.
        """
        for block in self.source.read(target):
            on_side = are_test(block.examples.images, self.test_share) == (self.split == "test")
            examples = block.examples.take(np.flatnonzero(on_side))
            if self.split == "train":
                yield Block(self.split, examples, block.rejected, block.conversions)
            else:
                yield Block(self.split, examples)  # conversions are counted once for both


@dataclass(frozen=True)
class HeldOutScan(SplitScan):
    """One side of the only split of a source."""

    split: str
    source: SplitScan
    test_share: float

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Return the ranges of this side; see `SplitScan.open`."""
        return _ranges(self.split, self.source.open(stack, scratch), self.test_share)


def hold_out(scans: SourceScan, test_share: float) -> SourceScan:
    """Return the scan of a source without a test split, with about test_share of its train examples as test split."""
    source = scans.splits["train"]
    splits: dict[str, SplitScan] = {
        split: HeldOutScan(
            _ranges(split, source.ranges, test_share),
            source.image_size,
            tuple(_identify(split, info, test_share) for info in source.infos),
            split,
            source,
            test_share,
        )
        for split in REQUIRED_SPLITS
    }
    others = {split: scan for split, scan in scans.splits.items() if split != "train"}
    return scans._replace(splits=splits | others)


def with_held_out(scan: ScanSource) -> ScanSource:
    """Return a layout's function that scans a source, which holds out a test split if the source's options say so."""

    def scan_and_hold_out(source: Any, num_classes: ClassCount, first_label: int, map_tasks: MapTasks) -> SourceScan:
        scans = scan(source, num_classes, first_label, map_tasks)
        test_share = source.options.test_share
        return scans if test_share is None else hold_out(scans, test_share)

    return scan_and_hold_out


def _ranges(split: str, ranges: tuple[BlockRange, ...], test_share: float) -> tuple[BlockRange, ...]:
    return tuple(HeldOutRange(split, each.start, each.num_examples, each, test_share) for each in ranges)


def _identify(split: str, info: SourceInfo, test_share: float) -> SourceInfo:
    digest = hashlib.sha256(f"{split} {test_share!r} {info.sha256}".encode()).hexdigest()
    return SourceInfo(name=f"{split}-of-{info.name}", num_bytes=info.num_bytes, sha256=digest)


def are_test(images: npt.NDArray[np.uint8], test_share: float) -> npt.NDArray[np.bool_]:
    """Return bool[n], whether each of uint8[n, pixels] is in the test split."""
    hashes = b"".join(hashlib.blake2b(image.tobytes(), digest_size=_HASH_BYTES).digest() for image in images)
    return np.frombuffer(hashes, ">u8") < np.uint64(int(test_share * 2**64))
