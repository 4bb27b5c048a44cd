"""Find a complete data set in a workspace."""

from dataclasses import dataclass

from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest, check_dataset, load_manifest
from pipeline.storage.places import Place
from pipeline.storage.workspace import find_complete


@dataclass(frozen=True)
class Dataset:
    """A complete data set; digest is the SHA-256 of the manifest, which stands for the whole data set."""

    folder: Place
    manifest: Manifest
    digest: str


def find_dataset(workspace: Place, name: str | None) -> Dataset:
    """Find a complete data set by its id or the beginning of it (None: the only one), and check its files.

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
