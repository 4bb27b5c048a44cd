"""The layout of a workspace: its local folder, temporary files, table folders, and lookup by id."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model.errors import BadUsage
from pipeline.storage.cleanup import refuse_links, temporary_folder
from pipeline.storage.files import digest_of, list_folders_with, make_empty_folder, remove_afterwards
from pipeline.storage.places import Place, expand_home

MOST_LISTED = 20  # candidates in the message about an ambiguous id


def default_cache() -> Path:
    """Return the folder for downloads and copies: $BACKBEAM_CACHE_DIR, or the user's cache folder.

    Raises BadUsage if neither is known: HOME is not set, and this user has no entry in the system's list of users.
    """
    named = os.environ.get("BACKBEAM_CACHE_DIR")
    if named:
        return expand_home(Path(named))
    import pooch  # slow to import

    try:
        cache = Path(pooch.os_cache("backbeam"))
    except (RuntimeError, KeyError):
        cache = Path()
    if not cache.is_absolute():  # a ~ stays if nothing says what it stands for
        raise BadUsage(
            "no folder for downloads and copies is known, because HOME is not set: set BACKBEAM_CACHE_DIR to a folder "
            "that this user may write to"
        )
    return cache


def existing_workspace(workspace: Place) -> Place:
    """Return a workspace; raises BadUsage if it does not exist, CorruptArtefact if it holds a symbolic link."""
    if not workspace.is_dir():
        raise BadUsage(f"no workspace {workspace}: `backbeam run` or `backbeam preprocess` makes one")
    refuse_links(workspace)
    return workspace


def is_workspace(folder: Path) -> bool:
    """Return whether a local folder is, or was, a workspace: whether a command has locked it."""
    return os.path.isfile(folder / ".lock")  # noqa: PTH113 - no error for a folder that this user may not read


def local_folder_of(workspace: Place) -> Path:
    """Return the local folder of a workspace: itself, or, if it is in a store, a folder in the cache of this machine.

    The latter holds the lock, temporary files, the engine's messages and copies of shards.
    """
    if isinstance(workspace, Path):
        return workspace
    return default_cache().absolute() / "workspaces" / digest_of(workspace.uri.encode())[:16]


def poll_interval(place: Place) -> float:
    """Return the seconds between two counts of the files there; in a store each count is a request."""
    return 0.2 if isinstance(place, Path) else 10


def scratch_folder_of(dataset: Place, works_here: bool) -> Place:
    """Return the folder through which workers exchange files while they make a data set in its folder.

    It is in the workspace unless all workers run on this machine, because others cannot reach the cache.
    """
    name = f".scratch-{dataset.name}"
    if isinstance(dataset, Path) or not works_here:
        return dataset.with_name(name)
    return local_folder_of(dataset.parent.parent) / name


@contextmanager
def temporary_files_in(workspace: Place) -> Iterator[None]:
    """Direct temporary files of this process and its children to a folder of a locked workspace, deleted at the end."""
    folder = temporary_folder(local_folder_of(workspace))
    with remove_afterwards(folder):
        make_empty_folder(folder)
        with direct_temporary_files(folder):
            yield


@contextmanager
def direct_temporary_files(folder: Path) -> Iterator[None]:
    """Direct temporary files of this process and its children to an existing folder."""
    earlier_variable = os.environ.get("TMPDIR")
    earlier_folder = tempfile.tempdir
    os.environ["TMPDIR"] = str(folder)  # for child processes
    tempfile.tempdir = str(folder)  # which this process has already read from TMPDIR
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if earlier_variable is not None:
            os.environ["TMPDIR"] = earlier_variable
        tempfile.tempdir = earlier_folder


def find_complete(parent: Place, record_name: str, wanted: str | None, what: str) -> Place:
    """Find a complete data set or run by its id, its id without the digest, or a prefix of its id.

    wanted is None for the only one. parent is the folder of all of them, record_name the file that a complete one has,
    and what its kind for messages. Raises BadUsage if none matches, or several do.
    """
    ids = [folder.name for folder in list_folders_with(parent, record_name)]
    matching = match_ids(ids, wanted)
    if len(matching) == 1:
        return parent / matching[0]
    raise BadUsage(explain_match(parent, wanted, what, bool(matching), matching or ids))


def match_ids(ids: Sequence[str], wanted: str | None) -> list[str]:
    """Return the ids that equal wanted, else those that do without their digest, else those that begin with it."""
    return (  # an exact id comes first: it may be a prefix of another
        [name for name in ids if name == wanted]
        or [name for name in ids if name.rpartition("-")[0] == wanted]
        or [name for name in ids if name.startswith(wanted or "")]
    )


def explain_match(
    parent: Place, wanted: str | None, what: str, matches_several: bool, candidates: Sequence[str]
) -> str:
    """Return the message that wanted (None for the only one) matches several data sets or runs, or none.

    `candidates` are lines that describe those that match or, if there are none, all.
    """
    plural = what.replace(" or ", "s or ") + "s"
    found = f"several {plural}" if matches_several else f"no {what}"
    problem = f"{wanted!r} matches {found} in {parent}" if wanted else f"found {found} in {parent}"
    listed = "".join(f"\n  {line}" for line in candidates[:MOST_LISTED])
    more = f"\n  and {len(candidates) - MOST_LISTED:,} more" if len(candidates) > MOST_LISTED else ""
    return f"{problem}; name one of:{listed}{more}" if listed else problem


def table_partition(table: str, run_id: str) -> str:
    """Return the folder of a run's rows of a table, relative to the workspace: reports/TABLE/run=RUN_ID."""
    return f"reports/{table}/run={run_id}"
