"""A split of a data set as a `tf.data.Dataset`, for programs that train networks of their own on it."""

from collections.abc import Iterator
from itertools import count

import tensorflow as tf

from model.errors import BadUsage
from model.examples import Bytes, Integers
from model.order import permutation
from model.random_streams import Purpose, stream_key
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.shards import read_shard


def build_tf_dataset(dataset: Dataset, split: str, batch_size: int | None, seed: int | None) -> tf.data.Dataset:
    """Return the examples of a split, whose shards are verified first: (image, label), or batches of them.

    One shard is in memory at a time. With a seed, each pass over the split has another order of the shards and of the
    examples of each shard, a pure function of the seed and the number of the pass; without, the order is as stored.

    Args:
        dataset: a complete data set.
        split: its name.
        batch_size: examples of a batch, the last may have fewer; None for single examples.
        seed: 0 to 2^63 - 1, or None.

    Returns:
        elements (uint8[height, width], int64[]) or (uint8[n, height, width], int64[n]), of known cardinality.

    Raises:
        BadUsage: there is no such split, or a number is out of range.
        CorruptArtefact: a shard does not match the manifest.
    """
    manifest = dataset.manifest
    if batch_size is not None and batch_size < 1:
        raise BadUsage(f"batch_size is {batch_size}, expected 1 or more")
    if seed is not None and not 0 <= seed < 2**63:
        raise BadUsage(f"seed is {seed}, expected 0 to 2^63 - 1")
    num_examples = manifest.find_split(split).num_examples
    for shard in manifest.splits[split].shards:
        shard.check(dataset.folder.parent / manifest.id_of(shard))
    passes = count()

    def read_blocks() -> Iterator[tuple[Bytes, Integers]]:
        yield from _read_blocks(dataset, split, None if seed is None else (seed, next(passes)))

    image = (manifest.height, manifest.width)
    signature = (tf.TensorSpec((None, *image), tf.uint8), tf.TensorSpec((None,), tf.int64))
    blocks = tf.data.Dataset.from_generator(read_blocks, output_signature=signature)
    if batch_size is None:
        return blocks.unbatch().apply(tf.data.experimental.assert_cardinality(num_examples))
    num_batches = -(-num_examples // batch_size)
    return blocks.rebatch(batch_size).apply(tf.data.experimental.assert_cardinality(num_batches))


def _read_blocks(dataset: Dataset, split: str, order: tuple[int, int] | None) -> Iterator[tuple[Bytes, Integers]]:
    """Yield the images and labels of each shard; order is the seed and the number of the pass, None for as stored."""
    manifest = dataset.manifest
    shards = manifest.splits[split].shards
    numbers = range(len(shards))
    if order is not None:
        numbers = permutation(stream_key(Purpose.READING_SHARD_ORDER, *order), len(shards)).tolist()
    for number in numbers:
        examples = read_shard(dataset.folder, manifest, split, shards[number], verified=True)
        if order is not None:
            key = stream_key(Purpose.READING_EXAMPLE_ORDER, *order, number)
            examples = examples.take(permutation(key, len(examples.labels)))
        yield examples.images.reshape(-1, manifest.height, manifest.width), examples.labels
