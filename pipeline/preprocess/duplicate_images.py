"""Which examples have the same image: content keys, and what stands in several places. Pure, array by array."""

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

ContentKeys = npt.NDArray[np.uint64]


class DuplicateGroups(NamedTuple):
    """Rows whose key stands in several of them.

    Attributes:
        rows: int64[m], group by group, ascending in each.
        groups: int64[m], ascending; rows of one group have the same key.
    """

    rows: Integers
    groups: Integers


class DuplicatePairs(NamedTuple):
    """Members of groups, each with another of its group.

    Attributes:
        members: int64[m], positions.
        twins: int64[m], positions.
    """

    members: Integers
    twins: Integers


def content_keys(images: Bytes) -> ContentKeys:
    """Return uint64[n, 2]: BLAKE2b of each image's bytes (RFC 7693), cut to 128 bits by its own parameter.

    For uint8[n, pixels]. Two of 7 million different images get the same key with a probability of about 7e-26.
    """
    pixels = images.shape[1]
    data = memoryview(np.ascontiguousarray(images).tobytes())
    rows = (data[start : start + pixels] for start in range(0, len(data), pixels))
    keys = b"".join([blake2b(row, digest_size=KEY_BYTES).digest() for row in rows])
    return np.frombuffer(keys, np.uint64).reshape(-1, 2)


def find_repeated(keys: ContentKeys) -> DuplicateGroups:
    """Find every row of uint64[n, 2] that is equal to another one, by sorting."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    as_before = np.zeros(len(keys) + 1, bool)  # the ends are like nothing
    as_before[1:-1] = True
    for column in keys.T:
        values = column[order]
        as_before[1:-1] &= values[1:] == values[:-1]
    repeated = as_before[:-1] | as_before[1:]
    groups = np.cumsum(~as_before[:-1][repeated])
    return DuplicateGroups(order[repeated].astype(np.int64), groups.astype(np.int64))


def find_later_duplicates(groups: Integers, indices: Integers) -> DuplicatePairs:
    """Find the members of groups that are not their group's first by index; that one is their twin.

    Args:
        groups: int64[m], in any order.
        indices: int64[m].
    """
    order = np.lexsort((indices, groups)).astype(np.int64)
    starts = _starts(groups[order])
    first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return DuplicatePairs(order[~starts], first[~starts])


def find_shared(groups: Integers, wanted: npt.NDArray[np.bool_], indices: Integers) -> DuplicatePairs:
    """Find the wanted members of groups that also hold unwanted ones; the first of those by index is the twin."""
    own, others = np.flatnonzero(wanted), np.flatnonzero(~wanted)
    others = others[np.lexsort((indices[others], groups[others]))]
    firsts = others[_starts(groups[others])]
    if not len(firsts):
        return DuplicatePairs(own[:0], own[:0])
    place = np.minimum(np.searchsorted(groups[firsts], groups[own]), len(firsts) - 1)
    found = groups[firsts[place]] == groups[own]
    return DuplicatePairs(own[found], firsts[place[found]])


def _starts(groups: Integers) -> npt.NDArray[np.bool_]:
    """bool[m]: True where an ascending group number is not the one before it."""
    starts: npt.NDArray[np.bool_] = np.diff(groups, prepend=groups[:1] - 1) != 0
    return starts


BUCKET_EXAMPLES = 2**18  # 8 MiB


MAX_BITS = 10  # of a key that choose its bucket


KeyRows = npt.NDArray[Any]  # KEY_ROW[n]


# content key of the image, position in the source, class, and number of the split
KEY_ROW = np.dtype([("key", "<u8", 2), ("index", "<i8"), ("label", "<i4"), ("split", "<i4")])


def pack_keys(keys: ContentKeys, indices: Integers, labels: Integers, split: int) -> KeyRows:
    """Put together what is kept of n examples of a split: KEY_ROW[n]."""
    kept = np.empty(len(indices), KEY_ROW)
    kept["key"], kept["index"], kept["label"], kept["split"] = keys, indices, labels, split
    return kept


class DigestBuckets:
    """Files of kept examples in a folder, one for each range of keys."""

    def __init__(self, folder: Path, num_examples: int) -> None:
        """Choose how many there are.

        Args:
            folder: an empty one.
            num_examples: about how many will be added.
        """
        self._folder = folder
        self._bits = min(MAX_BITS, max(1, num_examples // BUCKET_EXAMPLES).bit_length())

    def add(self, kept: KeyRows) -> None:
        """Add examples to the buckets that they belong to; raises StorageFailed if the disk is full."""
        buckets = (kept["key"][:, 0] >> np.uint64(64 - self._bits)).astype(np.int64)
        order = np.argsort(buckets, kind="stable")
        edges = np.searchsorted(buckets[order], np.arange(2**self._bits + 1)).tolist()
        for bucket, (start, stop) in enumerate(pairwise(edges)):
            if start < stop:
                append(self._path(bucket), kept[order[start:stop]].tobytes())

    def __iter__(self) -> Iterator[KeyRows]:
        """Yield what is in each bucket."""
        for bucket in range(2**self._bits):
            if self._path(bucket).exists():
                yield np.fromfile(self._path(bucket), KEY_ROW)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}"


@contextmanager
def temporary_buckets(num_examples: int) -> Iterator[DigestBuckets]:
    """Give empty buckets for about so many examples, where temporary files are; they are deleted at the end."""
    with scratch_folder("buckets") as folder:
        yield DigestBuckets(folder, num_examples)
