"""A complete data set of a workspace."""

from dataclasses import dataclass

from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest, check_dataset, load_manifest
from pipeline.storage.places import Place
from pipeline.storage.workspace import find_complete


@dataclass(frozen=True)
class Dataset:
    """A complete data set."""

    folder: Place
    manifest: Manifest
    digest: str


def find_dataset(workspace: Place, wanted: str | None) -> Dataset:
    """Find a complete data set of the workspace and check it; see `runs.find_complete`."""
    folder = find_complete(workspace / "datasets", MANIFEST_NAME, wanted, "data set")
    return Dataset(folder, *check_dataset(folder))


def find_baseline(workspace: Place, wanted: str | None) -> Dataset | None:
    """Find a complete data set to compare with, if one is wanted; of its files only the manifest is read."""
    if wanted is None:
        return None
    folder = find_complete(workspace / "datasets", MANIFEST_NAME, wanted, "data set")
    return Dataset(folder, *load_manifest(folder))
