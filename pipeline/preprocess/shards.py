"""Shards: their number and names, the order of examples, and encoding and reading of the files.

An example's order key is a mix of (seed, split, index). The key's high bits choose the shard, and the examples of a
shard are sorted by key. So the shards in order are one shuffle of the split, which does not depend on the engine, the
number of workers or how the work is divided.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any

import google_crc32c
import numpy as np

from model.errors import BadUsage, CorruptArtefact
from model.examples import Bytes, Examples, Integers, concatenate, decode, encode
from model.order import Keys, order_keys
from model.random_streams import Purpose, stream_key
from pipeline.preprocess.manifest import Manifest, ShardInfo, SplitInfo
from pipeline.sources.catalog import MAX_SHARDS, SPLITS
from pipeline.storage.files import check_equal, digest_of, read_into, read_or_none, size_or_none
from pipeline.storage.places import Place, RemotePath

FIRST_EXAMPLES = 1000  # the article counts correct predictions among the first 1,000 test digits

DEFAULT_SHARD_BYTES = 8192 * 784  # of pixels
MAX_SHARD_EXAMPLES = 2**16  # by default; limits shards of tiny images, whose records are mostly overhead
MAX_MEAN_BYTES = 2**27  # of pixels, also if the user sets the number of shards: a worker holds one shard
MAX_SHARD_BYTES = 2**28  # of pixels, in any single shard: the shuffle makes shards of unequal size
_MEAN_LIMIT = f"a shard may hold {MAX_MEAN_BYTES >> 20} MiB of pixels on average"
_SUM_PIECE = 2**16  # pixels; a piece stays in the processor's cache


def keys_of(seed: int, split: str, index: Integers) -> Keys:
    """Return uint64[n], the order keys of the examples at positions int64[n] of a split's source."""
    return order_keys(stream_key(Purpose.STORED_ORDER, seed, SPLITS.index(split)), index)


def shard_of(keys: Keys, num_shards: int) -> Integers:
    """Return int64[n], the shard of each key: its high 32 bits scaled to 0 .. num_shards - 1."""
    # 32 bits, because the product of all 64 bits and num_shards would overflow.
    return ((keys >> np.uint64(32)) * np.uint64(num_shards) >> np.uint64(32)).astype(np.int64)


def shard_name(split: str, shard: int, num_shards: int) -> str:
    """Return the file name of a shard, such as train-00003-of-00008.tfrecord."""
    return f"{split}-{shard:05d}-of-{num_shards:05d}.tfrecord"


def number_order(name: str) -> list[str | int]:
    """Return a sort key that compares the digits in file names as numbers, so that 100000 follows 99999."""
    texts_and_numbers = re.split(r"([0-9]+)", name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(texts_and_numbers)]


def choose_num_shards(requested: int | None, num_examples: int, num_pixels: int, name: str) -> int:
    """Return the requested or the default number of train shards; raises BadUsage if they were empty or too large."""
    if requested and requested > num_examples:
        raise BadUsage(f"--num-shards {requested} is more than the {num_examples} train examples of {name}")
    num_shards = requested or default_num_shards(num_examples, num_pixels)
    min_shards = -(-num_examples * num_pixels // MAX_MEAN_BYTES)
    if num_shards < min_shards:
        raise BadUsage(
            f"--num-shards {num_shards} is too few for {name}: {_MEAN_LIMIT}, so that it needs at least {min_shards}"
        )
    return num_shards


def check_size(num_examples: int, num_pixels: int, name: str) -> None:
    """Raise BadUsage if a split is too large for MAX_SHARDS shards of MAX_MEAN_BYTES."""
    if num_examples * num_pixels > MAX_SHARDS * MAX_MEAN_BYTES:
        raise BadUsage(f"{name} is too large: {_MEAN_LIMIT}, and a split has at most {MAX_SHARDS} of them")


def default_num_shards(num_examples: int, num_pixels: int) -> int:
    """Return the number of train shards that gives shards of about DEFAULT_SHARD_BYTES."""
    by_bytes = -(-num_examples * num_pixels // DEFAULT_SHARD_BYTES)  # rounded up
    by_examples = -(-num_examples // MAX_SHARD_EXAMPLES)
    return max(1, min(max(by_bytes, by_examples), num_examples, MAX_SHARDS))


def split_num_shards(num_shards: int, num_train_examples: int, num_examples: int) -> int:
    """Return a split's number of shards, so that they are about as large as the num_shards shards of train."""
    proportional = -(-num_examples * num_shards // num_train_examples)  # rounded up
    return max(1, min(proportional, MAX_SHARDS))


def encode_shard(name: str, examples: Examples, num_classes: int) -> tuple[bytes, ShardInfo]:
    """Return the bytes of a shard's file and its record; the examples have its order and labels below num_classes."""
    data = encode(examples)
    totals = sum_examples(examples, num_classes)
    crc32c = google_crc32c.value(data)
    return data, ShardInfo(name=name, num_bytes=len(data), sha256=digest_of(data), crc32c=crc32c, **totals)


def sum_examples(examples: Examples, num_classes: int) -> dict[str, Any]:
    """Return the totals of examples with labels below num_classes, as `ShardInfo` names them."""
    pixel_sum, pixel_square_sum = pixel_sums(examples.images)
    return {
        "num_examples": len(examples.labels),
        "class_counts": tuple(np.bincount(examples.labels, minlength=num_classes).tolist()),
        "pixel_sum": pixel_sum,
        "pixel_square_sum": pixel_square_sum,
    }


def summarize_shards(shards: tuple[ShardInfo, ...], num_pixels: int) -> SplitInfo:
    """Return the record of a split: its shards, and the counts and pixel statistics of all of them."""
    # From the integers of the shards, so that the result does not depend on the order in which they were written.
    counts = np.sum([shard.class_counts for shard in shards], axis=0)
    num_values = max(1, int(counts.sum()) * num_pixels)
    mean = sum(shard.pixel_sum for shard in shards) / num_values
    square_mean = sum(shard.pixel_square_sum for shard in shards) / num_values
    return SplitInfo(
        num_examples=int(counts.sum()),
        class_counts=tuple(counts.tolist()),
        pixel_mean=mean,
        pixel_std=sqrt(max(0.0, square_mean - mean**2)),  # rounding may make the difference negative
        shards=shards,
    )


class ShardMemory:
    """Memory for the bytes of one shard after the other: the kernel would take longer to provide it for each.

    Threads may share one object. Each reads into a piece of its own, of the size of its largest shard.
    """

    def __init__(self) -> None:
        self._free: list[Bytes] = []

    @contextmanager
    def read(self, path: Place, num_bytes: int) -> Iterator[Bytes]:
        """Yield the content of a file, uint8[num_bytes], for the time of the context.

        Raises CorruptArtefact if the file is missing or has another size.
        """
        if isinstance(path, RemotePath):
            data = read_or_none(path)
            check_equal(path, None if data is None else len(data), num_bytes, "bytes")
            yield np.frombuffer(data or b"", np.uint8)
            return
        check_equal(path, size_or_none(path), num_bytes, "bytes")
        try:
            piece = self._free.pop()
        except IndexError:
            piece = np.empty(0, np.uint8)
        if len(piece) < num_bytes:
            piece = np.empty(num_bytes, np.uint8)
        content = piece[:num_bytes]
        check_equal(path, read_into(path, content.data), num_bytes, "bytes")
        yield content
        self._free.append(piece)


def read_shard(
    dataset: Place,
    manifest: Manifest,
    split: str,
    shard: ShardInfo,
    images: Bytes | None = None,
    verified: bool = False,
    memory: ShardMemory | None = None,
) -> Examples:
    """Read a shard of a data set; indices are those of this data set, not of the part that has the shard.

    images is uint8[n, pixels], memory to decode into, if any; memory is for the file's bytes. Of a shard whose digest
    this command has verified before, only the CRC-32C is checked. Raises CorruptArtefact if the file does not match the
    manifest or a label is no class.
    """
    path = dataset.parent / manifest.id_of(shard) / shard.name
    memory = memory or ShardMemory()
    with memory.read(path, shard.num_bytes) as data:
        if verified:  # a CRC-32C detects accidental changes and takes a tenth of the time of the digest
            check_equal(path, google_crc32c.value(data), shard.crc32c, "CRC-32C")
        else:
            check_equal(path, digest_of(data.data), shard.sha256, "SHA-256")
        examples = decode_shard(data, manifest, split, shard, images)
    largest = int(examples.labels.max(initial=0))
    if largest >= len(manifest.class_names):
        raise CorruptArtefact(f"{manifest.dataset_id}: an example has the label {largest}, which is no class")
    return examples


def read_split(dataset: Place, manifest: Manifest, split: str) -> Examples:
    """Read all examples of a split, sorted by their index; raises BadUsage as `find_split`, and CorruptArtefact."""
    shards = manifest.find_split(split).shards
    examples = concatenate([read_shard(dataset, manifest, split, shard) for shard in shards], manifest.num_pixels)
    return examples.take(np.argsort(examples.indices).astype(np.int64))


def decode_shard(
    data: bytes | Bytes, manifest: Manifest, split: str, shard: ShardInfo, images: Bytes | None = None
) -> Examples:
    """Decode the bytes of a shard, as `read_shard` does, but do not check them or the labels."""
    examples = decode(data, manifest.num_pixels, f"{manifest.id_of(shard)}/{shard.name}", images)
    return examples._replace(indices=examples.indices + manifest.offset(split, shard))


def pixel_sums(images: Bytes) -> tuple[int, int]:
    """Return the sum of uint8 pixel values and the sum of their squares, exactly."""
    total = 0
    squares = 0
    values = images.reshape(-1)
    for start in range(0, len(values), _SUM_PIECE):
        piece = values[start : start + _SUM_PIECE]
        total += int(piece.sum(dtype=np.uint64))
        # A dot product would use BLAS, whose threads wait for each other: up to a second on a busy machine.
        squares += int(np.square(piece, dtype=np.uint16).sum(dtype=np.uint64))
    return total, squares
