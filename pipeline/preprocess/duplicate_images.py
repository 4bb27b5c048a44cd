"""Find equal images by content keys, with temporary files for more keys than fit into memory."""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.examples import Bytes, Integers
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


def content_keys(images: Bytes) -> ContentKeys:
    """Return uint64[n, 2], the 128-bit BLAKE2b digest (RFC 7693) of each image of uint8[n, pixels].

    The probability that two of 7 million different images have the same key is about 7e-26.
    """
    pixels = images.shape[1]
    data = memoryview(np.ascontiguousarray(images).tobytes())
    rows = (data[start : start + pixels] for start in range(0, len(data), pixels))
    keys = b"".join([blake2b(row, digest_size=KEY_BYTES).digest() for row in rows])
    return np.frombuffer(keys, np.uint64).reshape(-1, 2)


def find_repeated(keys: ContentKeys) -> tuple[Integers, Integers]:
    """Find the rows of uint64[n, 2] that equal another one: int64[m] row numbers, and int64[m] groups of equal rows."""
    whole_keys = np.ascontiguousarray(keys).view(f"S{KEY_BYTES}").ravel()  # bytes, which NumPy sorts fast
    _, groups, counts = np.unique(whole_keys, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[groups] > 1)
    return rows, groups[rows]


def find_twins(
    groups: Integers, indices: Integers, members: Integers, candidates: Integers
) -> tuple[Integers, Integers]:
    """Find for each member the candidate with the smallest index in its group, its twin, unless that is itself.

    groups and indices are int64[m], one of each image; members and candidates are int64 positions in them. Returns the
    members that have a twin, and for each its twin, both int64.
    """
    ordered = candidates[np.argsort(indices[candidates], kind="stable")]
    known_groups, firsts = np.unique(groups[ordered], return_index=True)
    members = members[np.isin(groups[members], known_groups)]
    twins = ordered[firsts[np.searchsorted(known_groups, groups[members])]]
    duplicate = members != twins
    return members[duplicate], twins[duplicate]


def pack_keys(keys: ContentKeys, indices: Integers, labels: Integers, split: int) -> KeyRows:
    """Return KEY_ROW[n] of the keys, indices and labels of n examples of a split."""
    rows = np.empty(len(indices), KEY_ROW)
    rows["key"] = keys
    rows["index"] = indices
    rows["label"] = labels
    rows["split"] = split
    return rows


def choose_bits(num_examples: int, most: int = MAX_BITS) -> int:
    """Return how many high bits of a key choose its bucket, for about num_examples rows: at least 1, at most `most`."""
    return min(most, max(1, num_examples // BUCKET_EXAMPLES).bit_length())


def split_rows(rows: KeyRows, bits: int) -> Iterator[KeyRows]:
    """Yield the rows of each of the 2**bits buckets, so that equal keys are in the same bucket."""
    buckets = (rows["key"][:, 0] >> np.uint64(64 - bits)).astype(np.int64)
    order = np.argsort(buckets, kind="stable")
    edges = np.searchsorted(buckets[order], np.arange(2**bits + 1)).tolist()
    yield from (rows[order[start:stop]] for start, stop in pairwise(edges))


class DigestBuckets:
    """Temporary files of key rows, one for each bucket."""

    def __init__(self, folder: Path, num_examples: int) -> None:
        """Choose the number of buckets in an empty folder, for about num_examples rows."""
        self._folder = folder
        self._bits = choose_bits(num_examples)

    def add(self, rows: KeyRows) -> None:
        """Append rows to their buckets; raises StorageFailed if the disk is full."""
        for bucket, chosen in enumerate(split_rows(rows, self._bits)):
            if len(chosen):
                append(self._path(bucket), chosen.tobytes())

    def __iter__(self) -> Iterator[KeyRows]:
        """Yield the rows of each bucket that has any."""
        for bucket in range(2**self._bits):
            if self._path(bucket).exists():
                yield np.fromfile(self._path(bucket), KEY_ROW)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}"
