"""Find a complete data set in a workspace."""

from dataclasses import dataclass

from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest, check_dataset, load_manifest
from pipeline.storage.places import Place
from pipeline.storage.workspace import find_complete


@dataclass(frozen=True)
class Dataset:
    """A complete data set.

    Attributes:
        folder: its folder.
        manifest: its manifest.
        digest: SHA-256 of the manifest, which stands for the whole data set.
    """

    folder: Place
    manifest: Manifest
    digest: str


def find_dataset(workspace: Place, name: str | None) -> Dataset:
    """Find a complete data set and check its files.

    Args:
        workspace: the workspace.
        name: id of the data set or its beginning; None for the only one.

    Raises:
        BadUsage: no data set or several match.
        CorruptArtefact: a file does not match the manifest.
    """
    folder = find_complete(workspace / "datasets", MANIFEST_NAME, name, "data set")
    return Dataset(folder, *check_dataset(folder))


def find_baseline(workspace: Place, name: str | None) -> Dataset | None:
    """Find a complete data set to compare with, or return None without a name; reads only the manifest."""
    if name is None:
        return None
    folder = find_complete(workspace / "datasets", MANIFEST_NAME, name, "data set")
    return Dataset(folder, *load_manifest(folder))
