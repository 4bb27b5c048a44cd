"""Locks that keep other processes out of a workspace. A lock is released when its holder ends, in whatever way.

These are locks of this machine. A workspace in a store also has a lease for all machines; see `store_lock`.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import filelock

from model.errors import BackbeamError, Locked, NothingRun, StorageFailed
from pipeline.progress import say
from pipeline.storage.cleanup import refuse_links, remove_stale_files, remove_stale_files_of
from pipeline.storage.files import suppress_storage_errors, write_atomically
from pipeline.storage.local_disk import call_hook, delete_file, make_folder
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.store_lock import lock_in_store
from pipeline.storage.workspace import local_folder_of


class _LockTaken(Exception):
    """Another process holds the lock; the message describes it."""


@contextmanager
def lock_workspace(workspace: Place, wait: float = 0, skip: bool = False, clears: bool = True) -> Iterator[None]:
    """Lock the workspace and remove stale temporary files.

    The holder writes a note beside the lock and deletes it at the end. A note that is already there means that its
    holder was killed, or that the disk refused an operation, so temporary files may have been left.

    Args:
        workspace: the workspace.
        wait: seconds to wait for another process to release the lock.
        skip: whether to raise NothingRun instead of Locked.
        clears: whether to remove stale files. If not, the note stays, and the next holder that does removes them.

    Raises:
        CorruptArtefact: the workspace holds a link or a special file.
        Locked: another process holds the lock.
        NothingRun: the same, if skip is set.
        StorageFailed: the disk refuses an operation, or the store cannot be reached.
    """
    if not isinstance(workspace, Path):
        workspace.is_dir()  # raises before any work if the store cannot be reached
    refuse_links(workspace)
    started = time.monotonic()
    folder = local_folder_of(workspace)
    with ExitStack() as stack:
        try:
            stack.enter_context(_hold_lock(folder / ".lock", workspace, wait, _clean_workspace if clears else None))
        except _LockTaken as holder:
            raise _in_use_error(workspace, str(holder), skip) from None
        if isinstance(workspace, RemotePath):
            remaining = wait - (time.monotonic() - started)
            lease = lock_in_store(workspace, folder, _format_holder(_describe_this_process()), remaining)
            if isinstance(lease, str):
                raise _in_use_error(workspace, lease, skip)
            stack.enter_context(lease)
        yield


@contextmanager
def lock_scheduler(workspace: Place) -> Iterator[None]:
    """Keep other schedulers of this machine out of a workspace. Scheduled runs lock the workspace themselves.

    Of a killed scheduler only the temporary files of its note are removed: a run may be using the others.

    Raises:
        Locked: another scheduler holds the lock.
    """
    try:
        with _hold_lock(local_folder_of(workspace) / ".schedule-lock", workspace, 0, remove_stale_files_of):
            yield
    except _LockTaken as holder:
        raise Locked(
            f"{workspace} is in use by {holder}, which schedules its runs: end that first, or name another workspace"
        ) from None


def _clean_workspace(note: Path) -> None:
    remove_stale_files(note.parent)


def _in_use_error(workspace: Place, holder: str, skip: bool) -> BackbeamError:
    message = f"{workspace} is in use by {holder}"
    if skip:
        return NothingRun(f"{message}: nothing is done here")
    return Locked(f"{message}; wait for it to end (--wait SECONDS), or name another")


@contextmanager
def _hold_lock(lock: Path, workspace: Place, wait: float, clean: Callable[[Path], None] | None) -> Iterator[None]:
    """Hold a lock and its note; raises _LockTaken. If a note was left, clean is called with its path."""
    make_folder(lock.parent)
    note = lock.with_name(f"{lock.name}-holder.json")
    try:
        acquired = _acquire(lock, note, workspace, wait)
    except filelock.Timeout:
        raise _LockTaken(_read_holder(note)) from None
    with acquired, _keep_note(note, clean):
        yield


@contextmanager
def _keep_note(note: Path, clean: Callable[[Path], None] | None) -> Iterator[None]:
    """Describe the holder in a note; it is kept at the end if temporary files may be left for the next holder."""
    keep = any(note.parent.glob(f"*{note.name}*"))  # also matches the temporary file of a note
    if keep and clean:
        clean(note)
        keep = False
    write_atomically(note, json.dumps(_describe_this_process()).encode())
    try:
        yield
    except (StorageFailed, OSError):  # the disk may have refused the removal of temporary files too
        raise
    except BaseException:
        if not keep:
            with suppress_storage_errors():
                delete_file(note)
        raise
    if not keep:
        delete_file(note)


def _acquire(lock: Path, note: Path, workspace: Place, wait: float) -> AbstractContextManager[object]:
    """Acquire a lock; if it is taken, print its holder and wait. Raises filelock.Timeout."""
    call_hook("lock", lock)
    try:
        return filelock.FileLock(lock).acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise
    say(f"{workspace} is in use by {_read_holder(note)}: waiting for up to {wait:g} s")
    return filelock.FileLock(lock).acquire(timeout=wait)


def _describe_this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": Path(sys.argv[0]).name}


def _format_holder(description: dict[str, Any]) -> str:
    return "process {pid} ({command}) on {host}".format(**description)


def _read_holder(note: Path) -> str:
    try:
        return _format_holder(json.loads(note.read_bytes()))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # the holder has ended, or not written it yet
        return "another process"
