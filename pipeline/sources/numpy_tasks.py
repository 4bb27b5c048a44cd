"""A part of the scan of an array of a NumPy source: reads its items, and digests them as IDX files have them."""

from os import SEEK_CUR
from typing import NamedTuple

import google_crc32c
import numpy as np

from model.examples import Integers
from pipeline.sources.array_images import ImageArray
from pipeline.sources.blocks import changed_since_scan
from pipeline.sources.catalog import MAX_CLASSES, MAX_INTEGER
from pipeline.sources.npy_format import ArrayFile, ArrayHeader, open_array, read_items
from pipeline.sources.scan_tasks import DigestsOf, Span


class ArrayTask(NamedTuple):
    """A part of the scan of an array: how many items it reads at once, and how many are a block.

    image_array is None if the items are labels.
    """

    array: ArrayFile
    header: ArrayHeader
    span: Span
    image_array: ImageArray | None
    part_items: int
    block_items: int


class FoundInArray(NamedTuple):
    """What a task found in an array: the CRC-32C of each block's bytes, and the labels that may be classes."""

    checksums: tuple[int, ...]
    values: tuple[int, ...]


def read_array_task(task: ArrayTask, digests_of: DigestsOf) -> FoundInArray:
    """Read the items of a task, and add those of each piece, as IDX files have them, to its only digest.

    Raises BadInput if the array is damaged or has changed since its header was read.
    """
    checksums = list[int]()
    values = set[int]()
    with open_array(task.array) as (header, stream):
        if header != task.header:
            raise changed_since_scan(task.array.place)
        if task.span.start:
            stream.seek(task.span.start * header.item_bytes, SEEK_CUR)
        for block in task.span.blocks(task.block_items):
            [digest] = digests_of(task.span.piece_of(block.start))
            checksums.append(0)
            for data in read_items(stream, header, block, task.part_items, task.array):
                checksums[-1] = google_crc32c.extend(checksums[-1], data)
                if task.image_array:
                    digest.update(task.image_array.decode(data).tobytes())
                else:
                    labels = decode_labels(data, header.dtype.str)
                    are_bytes = (labels >= 0) & (labels < MAX_CLASSES)
                    digest.update(labels.astype(np.uint8).tobytes() if are_bytes.all() else b"int64" + labels.tobytes())
                    values.update(np.flatnonzero(np.bincount(labels[are_bytes])).tolist())
    return FoundInArray(tuple(checksums), tuple(values))


def decode_labels(data: bytes, dtype: str) -> Integers:
    """Return int64[n]; numbers above those become the largest one, which is no class either."""
    labels = np.frombuffer(data, dtype)
    if labels.dtype.kind == "u":
        labels = np.minimum(labels.astype(np.uint64), np.uint64(MAX_INTEGER))
    return labels.astype(np.int64)
