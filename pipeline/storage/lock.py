"""Locks that keep other processes out of a workspace: of this machine, and, in a store, of all machines by a lease.

The former is released when its holder ends, in whatever way. `lease` describes the latter.
"""

import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import filelock
from pydantic import BaseModel, Field, ValidationError

from model.errors import BackbeamError, Locked, NothingRun, StorageFailed
from pipeline.progress import show_message
from pipeline.storage import lease
from pipeline.storage.cleanup import refuse_links, remove_stale_files, remove_stale_files_of
from pipeline.storage.files import suppress_storage_errors, write_atomically
from pipeline.storage.lease import Clock, FoundLease, HeldLease, Lease, LeaseObservation
from pipeline.storage.local_disk import delete_file, delete_folder, disk_operation, make_folder
from pipeline.storage.object_store import ObjectStore, find_store
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.workspace import local_folder_of

_POLL_SECONDS = 1.0  # between two attempts to acquire a lease


@contextmanager
def lock_workspace(workspace: Place, wait: float = 0, skip: bool = False, clears: bool = True) -> Iterator[None]:
    """Lock the workspace and remove stale temporary files.

    The holder writes a note beside the lock and deletes it at the end. A note that is already there means that its
    holder was killed, or that the disk refused an operation, so temporary files may have been left. If clears is not
    set, they and the note stay, and the next holder that clears removes them. wait is in seconds.

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
        clean = (lambda _: remove_stale_files(folder)) if clears else None
        in_use_error = partial(_in_use_error, workspace, skip)
        stack.enter_context(_hold_lock(folder / ".lock", workspace, wait, clean, in_use_error))
        if isinstance(workspace, RemotePath):
            remaining = wait - (time.monotonic() - started)
            stack.enter_context(_hold_lease(workspace, folder, remaining, in_use_error))
        yield


@contextmanager
def lock_scheduler(workspace: Place) -> Iterator[None]:
    """Keep other schedulers of this machine out of a workspace; raises Locked. Runs lock the workspace themselves.

    Of a killed scheduler only the temporary files of its note are removed: a run may be using the others.
    """

    def in_use_error(holder: str) -> Locked:
        remedy = "end that first, or name another workspace"
        return Locked(f"{workspace} is in use by {holder}, which schedules its runs: {remedy}")

    lock = local_folder_of(workspace) / ".schedule-lock"
    with _hold_lock(lock, workspace, 0, remove_stale_files_of, in_use_error):
        yield


def _in_use_error(workspace: Place, skip: bool, holder: str) -> BackbeamError:
    message = f"{workspace} is in use by {holder}"
    if skip:
        return NothingRun(f"{message}: nothing is done here")
    return Locked(message, hint="wait for it to end (--wait SECONDS), or name another")


@contextmanager
def _hold_lock(
    lock: Path,
    workspace: Place,
    wait: float,
    clean: Callable[[Path], None] | None,
    in_use_error: Callable[[str], BackbeamError],
) -> Iterator[None]:
    """Hold a lock and its note, or raise the error for its holder; clean is called with the path of a note left."""
    is_new = not lock.parent.exists()
    make_folder(lock.parent)
    note = lock.with_name(f"{lock.name}-holder.json")
    acquired = _acquire(lock, note, workspace, wait)
    if acquired is None:
        raise in_use_error(_read_holder(note))
    with acquired, _remove_if_unused(lock, is_new), _write_holder_note(note, clean):
        yield


@contextmanager
def _remove_if_unused(lock: Path, is_new: bool) -> Iterator[None]:
    """On failure, delete the folder of a lock if it is new and has no file but the lock, which is held.

    filelock notices that the file of a lock was deleted while it waited for it, and makes it anew.
    """
    try:
        yield
    except BaseException:
        folder = lock.parent
        if is_new and not any(path.is_file() for path in folder.rglob("*") if path != lock):
            with suppress_storage_errors():
                delete_folder(folder)
        raise


@contextmanager
def _write_holder_note(note: Path, clean: Callable[[Path], None] | None) -> Iterator[None]:
    """Describe the holder in a note; it is kept at the end if temporary files may be left for the next holder."""
    keep = any(note.parent.glob(f"*{note.name}*"))  # also matches the temporary file of a note
    if keep and clean:
        clean(note)
        keep = False
    write_atomically(note, json.dumps(_describe_this_process()).encode())
    try:
        yield
    except BaseException as problem:
        # After the first two the disk may have refused the removal of temporary files too.
        if not keep and not isinstance(problem, (StorageFailed, OSError)):
            with suppress_storage_errors():
                delete_file(note)
        raise
    if not keep:
        delete_file(note)


def _acquire(lock: Path, note: Path, workspace: Place, wait: float) -> AbstractContextManager[object] | None:
    """Acquire a lock; if it is taken, print its holder and wait. Return None if it stays taken."""
    acquired = _try_to_acquire(lock, 0)
    if acquired is None and wait:
        show_message(f"{workspace} is in use by {_read_holder(note)}: waiting for up to {wait:g} s")
        acquired = _try_to_acquire(lock, wait)
    return acquired


def _try_to_acquire(lock: Path, seconds: float) -> AbstractContextManager[object] | None:
    """Return the acquired lock, or None if it was taken all the time; raises StorageFailed if the disk refuses."""
    with disk_operation("lock", lock), suppress(filelock.Timeout):
        try:
            return filelock.FileLock(lock).acquire(timeout=seconds)
        except FileNotFoundError:  # the holder before failed, and removed its new folder
            make_folder(lock.parent)
            return filelock.FileLock(lock).acquire(timeout=seconds)
    return None


def _describe_this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": Path(sys.argv[0]).name}


def _format_holder(description: dict[str, Any]) -> str:
    return "process {pid} ({command}) on {host}".format(**description)


def _read_holder(note: Path) -> str:
    try:
        return _format_holder(json.loads(note.read_bytes()))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # the holder has ended, or not written it yet
        return "another process"


class LeaseMemory(BaseModel, frozen=True, validate_by_name=True):
    """What this machine knows of a lease; kept in a file, so that it outlives killed processes."""

    tokens: frozenset[str] = frozenset()  # of acquisitions by processes of this machine
    # the last one of another machine's lease; earlier versions wrote it by the name of the alias
    observation: Annotated[LeaseObservation, Field(validation_alias="sight")] = LeaseObservation()


@contextmanager
def _hold_lease(
    workspace: RemotePath, folder: Path, wait: float, in_use_error: Callable[[str], BackbeamError]
) -> Iterator[None]:
    """Hold the lease of a workspace, whose lock on this machine this process holds, or raise the error for its holder.

    folder is the local folder of the workspace.
    """
    uri = str(workspace / ".lock")
    # LEASE_SECONDS is read from its module at each call: tests shorten it.
    desired = HeldLease(
        holder=_format_holder(_describe_this_process()), token=uuid.uuid4().hex, seconds=lease.LEASE_SECONDS
    )
    other_holder = ""
    for found in repeat_acquisition(find_store(uri), uri, desired, folder / ".lock-in-store.json", wait):
        if isinstance(found, Lease):
            with lease.keep_lease_renewed(workspace.uri, found):
                yield
            return
        if wait > 0 and not other_holder:
            show_message(f"{workspace} is in use by {found.holding.holder}: waiting for up to {wait:g} s")
        other_holder = found.holding.holder
    raise in_use_error(other_holder)


def _boot_clock() -> float:
    """Return seconds since this machine was started; with CLOCK_BOOTTIME, time spent suspended counts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def repeat_acquisition(
    store: ObjectStore,
    uri: str,
    desired: HeldLease,
    memory_file: Path,
    wait: float,
    clock: Clock = _boot_clock,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease | FoundLease]:
    """Yield the result of each attempt to acquire a lease, at least one, until the wait is over or it is acquired."""
    memory = _read_memory(memory_file)
    end = clock() + wait
    while True:
        # The token is saved first: if this process is killed with the lease, the next one here may take it over.
        _save_memory(memory_file, LeaseMemory(tokens=memory.tokens | {desired.token}, observation=memory.observation))
        found = lease.acquire_lease(store, uri, desired, memory.tokens, memory.observation, clock)
        if isinstance(found, Lease):
            _save_memory(memory_file, LeaseMemory(tokens=frozenset({desired.token})))
            yield found
            return
        memory = LeaseMemory(tokens=memory.tokens, observation=memory.observation.update(found.version, clock()))
        _save_memory(memory_file, memory)
        yield found
        if clock() >= end:
            return
        sleep(min(_POLL_SECONDS, max(end - clock(), 0)))


def _read_memory(file: Path) -> LeaseMemory:
    try:
        return LeaseMemory.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):  # not written yet, or not readable: nothing is known
        return LeaseMemory()


def _save_memory(file: Path, memory: LeaseMemory) -> None:
    write_atomically(file, memory.model_dump_json().encode())
