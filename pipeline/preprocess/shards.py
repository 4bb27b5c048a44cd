"""Shards: which one an example belongs to, in which place, and the file that holds them. Pure arithmetic and bytes.

An example's order key is a mix of (seed, split, index). The key's high bits choose the shard and the examples of a
shard are sorted by key, so all shards end to end are one shuffle of the split, whoever computes them, in any pieces.
"""

import re
from math import sqrt

import google_crc32c
import numpy as np

from model.errors import BadUsage, CorruptArtefact
from model.examples import Bytes, Examples, Integers, decode, encode
from model.order import Keys, order_keys
from model.random_streams import Purpose, stream_key
from pipeline.preprocess.manifest import Manifest, ShardInfo, SplitInfo
from pipeline.sources.catalog import MAX_SHARDS, SPLITS
from pipeline.storage.files import digest_of
from pipeline.storage.places import Place

FIRST_EXAMPLES = 1000  # the article counts right answers among the first 1,000 test digits


DEFAULT_SHARD_BYTES = 8192 * 784  # of pixels
MAX_SHARD_EXAMPLES = 2**16  # by default: of images of a few pixels, the rest of a record takes more than they do
MAX_MEAN_BYTES = 2**27  # of pixels, whatever the user asks for: a worker holds one shard
MAX_SHARD_BYTES = 2**28  # of pixels, of any single shard: how many examples a shard gets is a matter of chance
_MEAN_LIMIT = f"a shard may hold {MAX_MEAN_BYTES >> 20} MiB of pixels on average"
_SUM_PIECE = 2**16  # numbers


def keys_of(seed: int, split: str, index: Integers) -> Keys:
    """Return uint64[n], the order keys of the examples at int64[n] positions of a split's source."""
    return order_keys(stream_key(Purpose.STORED_ORDER, seed, SPLITS.index(split)), index)


def shard_of(keys: Keys, num_shards: int) -> Integers:
    """Return int64[n], each key's shard: the key's high 32 bits scaled to 0 .. num_shards - 1."""
    return ((keys >> np.uint64(32)) * np.uint64(num_shards) >> np.uint64(32)).astype(np.int64)


def shard_name(split: str, shard: int, num_shards: int) -> str:
    """Return the file's name, such as train-00003-of-00008.tfrecord."""
    return f"{split}-{shard:05d}-of-{num_shards:05d}.tfrecord"


def number_order(name: str) -> list[str | int]:
    """Return a sort key that orders names of files by the numbers in them, not by the digits, where texts are equal."""
    texts_and_numbers = re.split(r"([0-9]+)", name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(texts_and_numbers)]


def choose_num_shards(wanted: int | None, num_examples: int, num_pixels: int, name: str) -> int:
    """Return the number of train shards: as wanted, else the default.

    Args:
        wanted: what the user asks for, if anything.
        num_examples: of the train split.
        num_pixels: bytes of one image.
        name: of the source, for an error.

    Raises:
        BadUsage: there would be shards without examples, or shards that are larger than a worker may hold.
    """
    chosen = wanted or default_num_shards(num_examples, num_pixels)
    if wanted and wanted > num_examples:
        raise BadUsage(f"--num-shards {wanted} is more than the {num_examples} train examples of {name}")
    fewest = -(-num_examples * num_pixels // MAX_MEAN_BYTES)
    if chosen < fewest:
        raise BadUsage(
            f"--num-shards {chosen} is too few for {name}: {_MEAN_LIMIT}, so that it needs at least {fewest}"
        )
    return chosen


def check_size(num_examples: int, num_pixels: int, name: str) -> None:
    """Check that MAX_SHARDS shards of a permitted size can hold a split; raises BadUsage."""
    if num_examples * num_pixels > MAX_SHARDS * MAX_MEAN_BYTES:
        raise BadUsage(f"{name} is too large: {_MEAN_LIMIT}, and a split has at most {MAX_SHARDS} of them")


def default_num_shards(num_examples: int, num_pixels: int) -> int:
    """Return the number of train shards that gives shards of about DEFAULT_SHARD_BYTES."""
    by_bytes, by_number = -(-num_examples * num_pixels // DEFAULT_SHARD_BYTES), -(-num_examples // MAX_SHARD_EXAMPLES)
    return max(1, min(max(by_bytes, by_number), num_examples, MAX_SHARDS))


def split_num_shards(num_shards: int, num_train_examples: int, num_examples: int) -> int:
    """Return a split's number of shards, given that train is cut into num_shards: MAX_SHARDS at most."""
    as_large_as_train = -(-num_examples * num_shards // num_train_examples)  # rounded up, in whole numbers
    return max(1, min(as_large_as_train, MAX_SHARDS))


def sort_by_key(seed: int, split: str, examples: Examples) -> Examples:
    """Return a shard's examples in their final order."""
    return examples.take(np.argsort(keys_of(seed, split, examples.indices)).astype(np.int64))


def encode_shard(name: str, examples: Examples, num_classes: int) -> tuple[bytes, ShardInfo]:
    """Serialize sorted examples and describe the file.

    Args:
        name: of the file.
        examples: in their final order; labels below num_classes.
        num_classes: how many classes there are.

    Returns:
        the file's bytes and its record.
    """
    data = encode(examples)
    pixel_sum, pixel_square_sum = pixel_sums(examples.images)
    info = ShardInfo(
        name=name,
        num_bytes=len(data),
        sha256=digest_of(data),
        crc32c=google_crc32c.value(data),
        num_examples=len(examples.labels),
        class_counts=tuple(np.bincount(examples.labels, minlength=num_classes).tolist()),
        pixel_sum=pixel_sum,
        pixel_square_sum=pixel_square_sum,
    )
    return data, info


def summarize_shards(shards: tuple[ShardInfo, ...], num_pixels: int) -> SplitInfo:
    """Describe a split by what its shards hold."""
    counts = np.sum([shard.class_counts for shard in shards], axis=0)
    num_values = max(1, int(counts.sum()) * num_pixels)
    mean = sum(shard.pixel_sum for shard in shards) / num_values
    square_mean = sum(shard.pixel_square_sum for shard in shards) / num_values
    return SplitInfo(
        num_examples=int(counts.sum()),
        class_counts=tuple(counts.tolist()),
        pixel_mean=mean,
        pixel_std=sqrt(max(0.0, square_mean - mean**2)),
        shards=shards,
    )


def read_shard(dataset: Place, manifest: Manifest, split: str, shard: ShardInfo) -> Examples:
    """Read a shard of a data set, or of a part of it, checked.

    Args:
        dataset: the data set's folder.
        manifest: of the data set.
        split: of the shard.
        shard: one that the manifest lists.

    Returns:
        its examples in the order of the file, each with the index that it has in this data set.

    Raises:
        CorruptArtefact: it is not as the manifest says.
    """
    return _of_classes(
        decode_shard(shard.read(dataset.parent / manifest.id_of(shard)), manifest, split, shard), manifest
    )


def read_shard_again(
    dataset: Place, manifest: Manifest, split: str, shard: ShardInfo, images: Bytes | None = None
) -> Examples:
    """The same for a shard whose digest this command has checked already: see `ShardInfo.read_again`.

    Args:
        dataset: as for `read_shard`.
        manifest: as for `read_shard`.
        split: as for `read_shard`.
        shard: as for `read_shard`.
        images: uint8[n, pixels] to fill, where there is memory for them already.
    """
    data = shard.read_again(dataset.parent / manifest.id_of(shard))
    return _of_classes(decode_shard(data, manifest, split, shard, images), manifest)


def decode_shard(
    data: bytes, manifest: Manifest, split: str, shard: ShardInfo, images: Bytes | None = None
) -> Examples:
    """Decode a shard's bytes, once they are checked; as for `read_shard_again`."""
    examples = decode(data, manifest.num_pixels, f"{manifest.id_of(shard)}/{shard.name}", images)
    return examples._replace(indices=examples.indices + manifest.offset(split, shard))


def _of_classes(examples: Examples, manifest: Manifest) -> Examples:
    """Return examples; raises CorruptArtefact if one's label is no class."""
    largest = int(examples.labels.max(initial=0))
    if largest >= len(manifest.class_names):
        raise CorruptArtefact(f"{manifest.dataset_id}: an example has the label {largest}, which is no class")
    return examples


def pixel_sums(images: Bytes) -> tuple[int, int]:
    """Return the sum of uint8 pixel values and the sum of their squares, exactly."""
    total = squares = 0
    values = images.reshape(-1)
    for start in range(0, len(values), _SUM_PIECE):  # pieces that stay in the processor's cache
        piece = values[start : start + _SUM_PIECE]
        total += int(piece.sum(dtype=np.uint64))
        # not by a dot product: the threads of NumPy's library wait for each other, on a busy machine for a second
        squares += int(np.square(piece, dtype=np.uint16).sum(dtype=np.uint64))
    return total, squares
