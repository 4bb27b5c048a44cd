"""Join a source to another by the names of its classes: its labels become the positions of the names in the other."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from model.errors import BadInput
from pipeline.sources.blocks import Block, BlockRange, ExampleFormat, SourceInfo, SourceScan, SplitScan
from pipeline.storage.places import Place

_MAX_NAMED = 20  # classes in a message


@dataclass(frozen=True)
class OrderedRange(BlockRange):
    """A range of a source, with other labels: order has the new label of each class of the source."""

    source: BlockRange
    order: tuple[int, ...]

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the blocks of the source's range with their new labels; see `BlockRange.read`."""
        order = np.array(self.order, np.int64)
        for block in self.source.read(target._replace(num_classes=len(order))):
            examples = block.examples._replace(labels=order[block.examples.labels])
            rejected = tuple(
                each if each.label is None else replace(each, label=self.order[each.label]) for each in block.rejected
            )
            yield replace(block, examples=examples, rejected=rejected)


@dataclass(frozen=True)
class OrderedScan(SplitScan):
    """A split of a source, with other labels."""

    source: SplitScan
    order: tuple[int, ...]

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Return the ranges with their new labels; see `SplitScan.open`."""
        return _order_ranges(self.source.open(stack, scratch), self.order)


def order_classes(scans: SourceScan, class_names: tuple[str, ...], name: str) -> SourceScan:
    """Return the scan of a source with the classes of another, by their names; it may have fewer of them.

    Raises BadInput if the source has a class that the other has not.
    """
    unknown = [each for each in scans.class_names if each not in class_names]
    if unknown:
        raise BadInput(
            f"{name} has classes that the first source has not: {_list_names(unknown)}; the first one has "
            f"{_list_names(class_names)}; name the source that has all of them first"
        )
    if scans.class_names == class_names:
        return scans
    order = tuple(class_names.index(each) for each in scans.class_names)
    splits: dict[str, SplitScan] = {
        split: OrderedScan(
            _order_ranges(scan.ranges, order),
            scan.image_size,
            tuple(_identify(info, scans.class_names) for info in scan.infos),
            scan,
            order,
        )
        for split, scan in scans.splits.items()
    }
    return scans._replace(splits=splits, class_names=class_names)


def _order_ranges(ranges: tuple[BlockRange, ...], order: tuple[int, ...]) -> tuple[BlockRange, ...]:
    return tuple(OrderedRange(each.split, each.start, each.num_examples, each, order) for each in ranges)


def _identify(info: SourceInfo, own_names: tuple[str, ...]) -> SourceInfo:
    # The names are part of the identity: a file may name its classes in another order beside the same rows.
    digest = hashlib.sha256(f"{json.dumps(own_names)} {info.sha256}".encode()).hexdigest()
    return info.model_copy(update={"name": f"{info.name}-by-class-name", "sha256": digest})


def _list_names(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (f", ... ({len(names)})" if len(names) > _MAX_NAMED else "")
