"""Local copies of the shards of a remote data set."""

from pathlib import Path

from model.errors import CorruptArtefact
from pipeline.preprocess.manifest import Manifest
from pipeline.storage.files import write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of


def copy_shards_locally(dataset: Place, manifest: Manifest, workspace: Place) -> Path:
    """Make sure that every shard of a data set is on this machine and verifies.

    Args:
        dataset: the data set's folder.
        manifest: what it holds.
        workspace: that it is in.

    Returns:
        the folder that stands for the data set here: itself if it is local.

    Raises:
        CorruptArtefact: a shard is not what the manifest says, and it is that of the store which is not.
    """
    if isinstance(dataset, Path):
        return dataset
    copies = local_folder_of(workspace) / "datasets"
    for shard in (shard for split in manifest.splits.values() for shard in split.shards):
        owner = manifest.id_of(shard)
        try:
            shard.check(copies / owner)
        except CorruptArtefact:  # it is not there yet, or no longer what it was
            write_atomically(copies / owner / shard.name, shard.read(dataset.parent / owner))
    return copies / dataset.name
