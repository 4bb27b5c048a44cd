"""What a workspace has on this machine: its lock, temporary files, the engine's messages, copies of remote shards.

All of a local workspace is on this machine. One in a store has a folder in the cache for that, named by its URI.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import BadUsage
from pipeline.storage.cleanup import temporary_folder
from pipeline.storage.files import digest_of, list_folders_with, make_empty_folder, remove_afterwards
from pipeline.storage.places import Place

CACHE_VARIABLE = "BACKBEAM_CACHE_DIR"


def default_cache() -> Path:
    """Return the folder that keeps downloads and copies: as the environment says, or of this user, by custom."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("backbeam"))


def local_folder_of(workspace: Place) -> Path:
    """Return the folder of this machine that goes with a workspace; it is the workspace itself if that is local."""
    if isinstance(workspace, Path):
        return workspace
    return default_cache().absolute() / "workspaces" / digest_of(workspace.uri.encode())[:16]


def poll_interval(place: Place) -> float:
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
    return local_folder_of(dataset.parent.parent) / name


@contextmanager
def temporary_files_in(workspace: Place) -> Iterator[None]:
    """Keep temporary files, of this process and of those that it starts, in a folder that goes with a locked workspace.

    The folder is deleted at the end, with all that an engine forgot there.
    """
    folder = temporary_folder(local_folder_of(workspace))
    with remove_afterwards(folder):
        make_empty_folder(folder)
        earlier = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            os.environ.pop("TMPDIR")
            if earlier[0] is not None:
                os.environ["TMPDIR"] = earlier[0]
            tempfile.tempdir = earlier[1]


def find_complete(parent: Place, record_name: str, wanted: str | None, what: str) -> Place:
    """Find a complete data set or run by its id, by a beginning of its id, or as the only one.

    Args:
        parent: the folder of all of them.
        record_name: the file whose presence means complete.
        wanted: the id or its beginning; None for the only one.
        what: "data set" or "run", for messages.

    Raises:
        BadUsage: none fits, or several do.
    """
    ids = [folder.name for folder in list_folders_with(parent, record_name)]
    fitting = next(filter(None, ([name for name in ids if fits(name)] for fits in _ways_to_fit(wanted))), [])
    if len(fitting) != 1:
        problem = "several fit" if fitting else "there is none"
        listed = "".join(f"\n  {name}" for name in fitting or ids)
        raise BadUsage(f"which {what}? {problem}{f' for {wanted!r}' if wanted else ''} in {parent}{listed}")
    return parent / fitting[0]


def _ways_to_fit(wanted: str | None) -> list[Callable[[str], bool]]:
    """Order the ways to name one: all of it, all but its digest, its beginning."""
    if wanted is None:
        return [lambda name: True]
    return [
        lambda name: name == wanted,
        lambda name: name.rpartition("-")[0] == wanted,
        lambda name: name.startswith(wanted),
    ]


def table_partition(table: str, run_id: str) -> str:
    """Return the folder of a run's rows of a table, below the workspace: reports/TABLE/run=RUN_ID."""
    return f"reports/{table}/run={run_id}"


def dataset_partition(table: str, dataset_id: str) -> str:
    """Return the folder of a data set's rows of a table, below the workspace: reports/TABLE/dataset=DATASET_ID."""
    return f"reports/{table}/dataset={dataset_id}"
