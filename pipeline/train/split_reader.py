"""Read the examples of a split from its shards, for training. The shards must have been checked once before."""

import numpy as np

from model.batches import SplitReader
from model.examples import Bytes, Examples, concatenate
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.shards import FIRST_EXAMPLES, read_shard
from pipeline.storage.places import Place


def make_split_reader(dataset: Place, manifest: Manifest, split: str) -> SplitReader:
    """Return a reader of the shards of a split; it raises CorruptArtefact for a shard that changed since the check."""
    infos = manifest.splits[split].shards

    def read(number: int, images: Bytes | None = None) -> Examples:
        return read_shard(dataset, manifest, split, infos[number], images, verified=True)

    return SplitReader(tuple(info.num_examples for info in infos), manifest.num_pixels, read)


def read_first_examples(dataset: Place, manifest: Manifest, split: str) -> Examples:
    """Return the examples of a split with index below 1,000, sorted by index; raises CorruptArtefact as a reader."""
    reader = make_split_reader(dataset, manifest, split)
    parts = []
    for number in range(len(reader.shard_sizes)):
        examples = reader.read_shard(number)
        parts.append(examples.take(np.flatnonzero(examples.indices < FIRST_EXAMPLES)))
    joined = concatenate(parts, reader.num_pixels)
    return joined.take(np.argsort(joined.indices).astype(np.int64))
