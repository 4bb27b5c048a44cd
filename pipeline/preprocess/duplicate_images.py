"""Find equal images by content keys, with temporary files for more keys than fit into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.examples import Bytes, Integers
from pipeline.storage.files import scratch_folder
from pipeline.storage.local_disk import append

KEY_BYTES = 16
BUCKET_EXAMPLES = 2**18  # rows of a bucket at most, on average: 8 MiB
MAX_BITS = 10  # high bits of a key that choose its bucket
KEY_ROW = np.dtype(
    [
        ("key", "<u8", 2),  # content key of the image
        ("index", "<i8"),  # position in the source
        ("label", "<i4"),
        ("split", "<i4"),  # number of the split
    ]
)

ContentKeys = npt.NDArray[np.uint64]
KeyRows = npt.NDArray[Any]  # KEY_ROW[n]


class DuplicateGroups(NamedTuple):
    """The rows whose key occurs more than once.

    Attributes:
        rows: int64[m], row numbers, group by group and ascending within each.
        groups: int64[m], ascending; rows of the same group have the same key.
    """

    rows: Integers
    groups: Integers


class DuplicatePairs(NamedTuple):
    """Pairs of equal images.

    Attributes:
        members: int64[m], positions of the duplicates.
        twins: int64[m], for each the position of the image that it equals.
    """

    members: Integers
    twins: Integers

    def of(self, positions: Integers) -> "DuplicatePairs":
        """Translate positions in a selection to positions in the array that the selection was made from."""
        return DuplicatePairs(positions[self.members], positions[self.twins])


def content_keys(images: Bytes) -> ContentKeys:
    """Return uint64[n, 2], the 128-bit BLAKE2b digest (RFC 7693) of each image of uint8[n, pixels].

    The probability that two of 7 million different images have the same key is about 7e-26.
    """
    pixels = images.shape[1]
    data = memoryview(np.ascontiguousarray(images).tobytes())
    rows = (data[start : start + pixels] for start in range(0, len(data), pixels))
    keys = b"".join([blake2b(row, digest_size=KEY_BYTES).digest() for row in rows])
    return np.frombuffer(keys, np.uint64).reshape(-1, 2)


def find_repeated(keys: ContentKeys) -> DuplicateGroups:
    """Find every row of uint64[n, 2] that equals another one, by sorting."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    equals_previous = np.zeros(len(keys) + 1, bool)  # False at both ends, where there is no neighbour
    equals_previous[1:-1] = True
    for column in keys.T:
        values = column[order]
        equals_previous[1:-1] &= values[1:] == values[:-1]
    repeated = equals_previous[:-1] | equals_previous[1:]
    groups = np.cumsum(~equals_previous[:-1][repeated])
    return DuplicateGroups(order[repeated].astype(np.int64), groups.astype(np.int64))


def find_later_duplicates(groups: Integers, indices: Integers) -> DuplicatePairs:
    """Find all members of each group except the one with the smallest index, which is their twin.

    Args:
        groups: int64[m], group of each image, in any order.
        indices: int64[m], index of each image.
    """
    order = np.lexsort((indices, groups)).astype(np.int64)
    starts = _starts(groups[order])
    first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return DuplicatePairs(order[~starts], first[~starts])


def find_shared(groups: Integers, selected: npt.NDArray[np.bool_], indices: Integers) -> DuplicatePairs:
    """Find the selected images whose group also has unselected ones; the twin is the first of those by index.

    Args:
        groups: int64[m], group of each image, in any order.
        selected: bool[m].
        indices: int64[m], index of each image.
    """
    own = np.flatnonzero(selected)
    others = np.flatnonzero(~selected)
    others = others[np.lexsort((indices[others], groups[others]))]
    firsts = others[_starts(groups[others])]
    if not len(firsts):
        return DuplicatePairs(own[:0], own[:0])
    place = np.minimum(np.searchsorted(groups[firsts], groups[own]), len(firsts) - 1)
    shared = groups[firsts[place]] == groups[own]
    return DuplicatePairs(own[shared], firsts[place[shared]])


def _starts(groups: Integers) -> npt.NDArray[np.bool_]:
    """Return bool[m]: True where a group begins in int64[m] ascending group numbers."""
    starts: npt.NDArray[np.bool_] = np.diff(groups, prepend=groups[:1] - 1) != 0
    return starts


def pack_keys(keys: ContentKeys, indices: Integers, labels: Integers, split: int) -> KeyRows:
    """Return KEY_ROW[n] of the keys, indices and labels of n examples of a split."""
    rows = np.empty(len(indices), KEY_ROW)
    rows["key"] = keys
    rows["index"] = indices
    rows["label"] = labels
    rows["split"] = split
    return rows


class DigestBuckets:
    """Temporary files of key rows, one for each range of keys, so that equal keys are in the same file."""

    def __init__(self, folder: Path, num_examples: int) -> None:
        """Choose the number of buckets.

        Args:
            folder: an empty folder.
            num_examples: number of rows that will be added, roughly.
        """
        self._folder = folder
        self._bits = min(MAX_BITS, max(1, num_examples // BUCKET_EXAMPLES).bit_length())

    def add(self, rows: KeyRows) -> None:
        """Append rows to their buckets; raises StorageFailed if the disk is full."""
        buckets = (rows["key"][:, 0] >> np.uint64(64 - self._bits)).astype(np.int64)
        order = np.argsort(buckets, kind="stable")
        edges = np.searchsorted(buckets[order], np.arange(2**self._bits + 1)).tolist()
        for bucket, (start, stop) in enumerate(pairwise(edges)):
            if start < stop:
                append(self._path(bucket), rows[order[start:stop]].tobytes())

    def __iter__(self) -> Iterator[KeyRows]:
        """Yield the rows of each bucket that has any."""
        for bucket in range(2**self._bits):
            if self._path(bucket).exists():
                yield np.fromfile(self._path(bucket), KEY_ROW)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}"


@contextmanager
def temporary_buckets(num_examples: int) -> Iterator[DigestBuckets]:
    """Return empty buckets for about num_examples rows in a temporary folder, which is deleted at the end."""
    with scratch_folder("buckets") as folder:
        yield DigestBuckets(folder, num_examples)
