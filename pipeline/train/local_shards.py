"""Local copies of the shards of a remote data set."""

from pathlib import Path

from model.errors import CorruptArtefact
from pipeline.preprocess.manifest import Manifest
from pipeline.storage.files import write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of


def copy_shards_locally(dataset: Place, manifest: Manifest, workspace: Place) -> Path:
    """Copy the shards of a remote data set to this machine; copies that verify are kept.

    Args:
        dataset: the data set's folder.
        manifest: of the data set.
        workspace: of the data set.

    Returns:
        the local folder to read from: the data set's own if it is local.

    Raises:
        CorruptArtefact: a shard in the store does not match the manifest.
    """
    if isinstance(dataset, Path):
        return dataset
    copies = local_folder_of(workspace) / "datasets"
    for shard in (shard for split in manifest.splits.values() for shard in split.shards):
        owner = manifest.id_of(shard)
        try:
            shard.check(copies / owner)
        except CorruptArtefact:  # the copy is missing or damaged
            write_atomically(copies / owner / shard.name, shard.read(dataset.parent / owner))
    return copies / dataset.name
