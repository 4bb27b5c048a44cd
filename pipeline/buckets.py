"""What is kept of a data set's examples to find equal images: on the disk, in buckets by content key.

Equal images have equal keys and so come to one bucket, whatever split and shard they are in. Buckets are looked at one
by one, so memory holds one of them, however many examples there are; only equal images all come to one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.examples import Integers
from pipeline import disk, storage
from pipeline.duplicates import ContentKeys

BUCKET_EXAMPLES = 2**18  # 8 MiB
MOST_BITS = 10  # of a key that choose its bucket

Kept = npt.NDArray[Any]  # KEPT[n]

# content key of the image, position in the source, class, and number of the split
KEPT = np.dtype([("key", "<u8", 2), ("index", "<i8"), ("label", "<i4"), ("split", "<i4")])


def keep(keys: ContentKeys, indices: Integers, labels: Integers, split: int) -> Kept:
    """Put together what is kept of n examples of a split: KEPT[n]."""
    kept = np.empty(len(indices), KEPT)
    kept["key"], kept["index"], kept["label"], kept["split"] = keys, indices, labels, split
    return kept


class Buckets:
    """Files of kept examples in a folder, one for each range of keys."""

    def __init__(self, folder: Path, num_examples: int) -> None:
        """Choose how many there are.

        Args:
            folder: an empty one.
            num_examples: about how many will be added.
        """
        self._folder = folder
        self._bits = min(MOST_BITS, max(1, num_examples // BUCKET_EXAMPLES).bit_length())

    def add(self, kept: Kept) -> None:
        """Add examples to the buckets that they belong to; raises StorageFailed if the disk is full."""
        buckets = (kept["key"][:, 0] >> np.uint64(64 - self._bits)).astype(np.int64)
        order = np.argsort(buckets, kind="stable")
        edges = np.searchsorted(buckets[order], np.arange(2**self._bits + 1)).tolist()
        for bucket, (start, stop) in enumerate(pairwise(edges)):
            if start < stop:
                disk.append(self._path(bucket), kept[order[start:stop]].tobytes())

    def __iter__(self) -> Iterator[Kept]:
        """Yield what is in each bucket."""
        for bucket in range(2**self._bits):
            if self._path(bucket).exists():
                yield np.fromfile(self._path(bucket), KEPT)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}"


@contextmanager
def temporary_buckets(num_examples: int) -> Iterator[Buckets]:
    """Give empty buckets for about so many examples, where temporary files are; they are deleted at the end."""
    with storage.scratch_folder("buckets") as folder:
        yield Buckets(folder, num_examples)
