"""What a workspace has on this machine: its lock, temporary files, the engine's messages, copies of remote shards.

All of a local workspace is on this machine. One in a store has a folder in the cache for that, named by its URI.
"""

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import filelock

from model.errors import CorruptArtefact, Locked, NothingRun
from pipeline.console import say
from pipeline.links import refuse_links
from pipeline.manifest import Manifest
from pipeline.places import Place
from pipeline.storage import digest_of, make_empty, remove, temporary_folder, write_atomically

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
        remove(folder)


@contextmanager
def locked(workspace: Place, wait: float = 0, skip: bool = False) -> Iterator[None]:
    """Keep every other backbeam process of this machine out of a workspace; the lock goes when its holder does.

    Args:
        workspace: that is worked on.
        wait: seconds to wait for another process to end.
        skip: whether it is no failure if that one works on.

    Raises:
        CorruptArtefact: there is a link in the workspace.
        Locked: another process holds it.
        NothingRun: the same, where skip is asked for.
        StorageFailed: the workspace is in a store that cannot be asked.
    """
    if not isinstance(workspace, Path):
        workspace.is_dir()  # raises before any work if the store cannot be asked
    refuse_links(workspace)
    folder = local_side(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / ".lock-holder.json"
    with ExitStack() as stack:
        try:
            stack.enter_context(_take(folder / ".lock", note, workspace, wait))
        except filelock.Timeout:
            held = f"{workspace} is in use by {_read_holder(note)}"
            if skip:
                raise NothingRun(f"{held}: nothing is done here") from None
            raise Locked(f"{held}; wait for it to end (--wait SECONDS), or name another") from None
        write_atomically(note, json.dumps(_about_this_process()).encode())
        stack.callback(note.unlink, missing_ok=True)
        yield


def _take(lock: Path, note: Path, workspace: Place, wait: float) -> AbstractContextManager[object]:
    """Take a lock at once, or say who holds it and wait; raises filelock.Timeout."""
    try:
        return filelock.FileLock(lock).acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise
    say(f"{workspace} is in use by {_read_holder(note)}: waiting for up to {wait:g} s")
    return filelock.FileLock(lock).acquire(timeout=wait)


def _about_this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": Path(sys.argv[0]).name}


def _read_holder(note: Path) -> str:
    try:
        return "process {pid} ({command}) on {host}".format(**json.loads(note.read_bytes()))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # it ended, or has not written its note yet
        return "another process"
