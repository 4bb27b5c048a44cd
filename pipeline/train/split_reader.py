"""Read the examples of a split from its shards, for training, and copy remote shards to this machine."""

from pathlib import Path

import numpy as np

from model.errors import CorruptArtefact
from model.examples import Bytes, Examples, concatenate
from model.reading import SplitReader
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.shards import FIRST_EXAMPLES, ShardMemory, read_shard
from pipeline.storage.files import write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of


def copy_shards_locally(dataset: Place, manifest: Manifest, workspace: Place) -> Path:
    """Copy the shards of a remote data set that training reads to this machine, unless there are copies that verify.

    Return the folder to read from, a local data set's own; raise CorruptArtefact if a shard in the store is corrupt.
    """
    if isinstance(dataset, Path):
        return dataset
    copies = local_folder_of(workspace) / "datasets"
    for shard in (shard for split in ("train", "test") for shard in manifest.splits[split].shards):
        owner = manifest.id_of(shard)
        try:
            shard.check(copies / owner)
        except CorruptArtefact:  # the copy is missing or damaged
            write_atomically(copies / owner / shard.name, shard.read(dataset.parent / owner))
    return copies / dataset.name


def make_split_reader(dataset: Place, manifest: Manifest, split: str, is_verified: bool = True) -> SplitReader:
    """Return a reader of the shards of a split; it raises CorruptArtefact for a shard that changed since its check.

    If the shards were not verified before, each is verified when it is first read.
    """
    infos = manifest.splits[split].shards
    verified = set(range(len(infos))) if is_verified else set()
    memory = ShardMemory()

    def read(number: int, images: Bytes | None = None) -> Examples:
        examples = read_shard(dataset, manifest, split, infos[number], images, number in verified, memory)
        verified.add(number)
        return examples

    return SplitReader(tuple(info.num_examples for info in infos), manifest.num_pixels, read)


def read_first_examples(dataset: Place, manifest: Manifest, split: str, is_verified: bool = True) -> Examples:
    """Return the examples of a split with index below 1,000, sorted by index; raises CorruptArtefact as a reader."""
    reader = make_split_reader(dataset, manifest, split, is_verified)
    parts = []
    for number in range(len(reader.shard_sizes)):
        examples = reader.read_shard(number)
        parts.append(examples.take(np.flatnonzero(examples.indices < FIRST_EXAMPLES)))
    joined = concatenate(parts, reader.num_pixels)
    return joined.take(np.argsort(joined.indices).astype(np.int64))


def read_sample(reader: SplitReader, num_examples: int) -> Examples:
    """Read the first examples of the first shard that has any; the order of a shard is random already.

    Raises CorruptArtefact as the reader does.
    """
    shard = next((number for number, size in enumerate(reader.shard_sizes) if size), 0)
    examples = reader.read_shard(shard)
    return examples.take(np.arange(min(num_examples, len(examples.labels))))
