"""What a workspace has on this machine: its lock, temporary files, the engine's messages, copies of remote shards.

All of a local workspace is on this machine. One in a store has a folder in the cache for that, named by its URI.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import CorruptArtefact
from pipeline.leftovers import temporary_folder
from pipeline.manifest import Manifest
from pipeline.places import Place
from pipeline.storage import digest_of, make_empty, removed_afterwards, write_atomically

CACHE_VARIABLE = "BACKBEAM_CACHE_DIR"


def default_cache() -> Path:
    """Return the folder that keeps downloads and copies: as the environment says, or of this user, by custom."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("backbeam"))


def local_side(workspace: Place) -> Path:
    """Return the folder of this machine that goes with a workspace; it is the workspace itself if that is local."""
    if isinstance(workspace, Path):
        return workspace
    return default_cache().absolute() / "workspaces" / digest_of(workspace.uri.encode())[:16]


def poll_seconds(place: Place) -> float:
    """Return how long to wait between two looks at how many files there are; in a store each look is a request."""
    return 0.2 if isinstance(place, Path) else 10


def scratch_folder(dataset: Place, works_here: bool) -> Place:
    """Return a folder for what workers leave each other while they make a data set.

    Args:
        dataset: the data set's folder, in a workspace.
        works_here: whether all of them are on this machine; others see no more than the workspace.
    """
    name = f".scratch-{dataset.name}"
    if isinstance(dataset, Path) or not works_here:
        return dataset.with_name(name)
    return local_side(dataset.parent.parent) / name


def copy_shards(dataset: Place, manifest: Manifest, workspace: Place) -> Path:
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
    copies = local_side(workspace) / "datasets"
    for shard in (shard for split in manifest.splits.values() for shard in split.shards):
        owner = manifest.id_of(shard)
        try:
            shard.check(copies / owner)
        except CorruptArtefact:  # it is not there yet, or no longer what it was
            write_atomically(copies / owner / shard.name, shard.read(dataset.parent / owner))
    return copies / dataset.name


@contextmanager
def temporary_files_in(workspace: Place) -> Iterator[None]:
    """Keep temporary files, of this process and of those that it starts, in a folder that goes with a locked workspace.

    The folder is deleted at the end, with all that an engine forgot there.
    """
    folder = temporary_folder(local_side(workspace))
    with removed_afterwards(folder):
        make_empty(folder)
        earlier = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            os.environ.pop("TMPDIR")
            if earlier[0] is not None:
                os.environ["TMPDIR"] = earlier[0]
            tempfile.tempdir = earlier[1]
