"""Keeping other processes out of a workspace. A lock goes when its holder does, however it ends."""

import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from pydantic import TypeAdapter, ValidationError

from model.errors import BackbeamError, Locked, NothingRun, StorageFailed
from pipeline.progress import say
from pipeline.storage import lease
from pipeline.storage.cleanup import refuse_links, remove_stale_files, remove_stale_files_of
from pipeline.storage.files import suppress_storage_errors, write_atomically
from pipeline.storage.lease import Clock, FoundLease, HeldLease, Lease, LeaseObservation, keep_lease_renewed, take_lease
from pipeline.storage.local_disk import delete_file, make_folder, reach
from pipeline.storage.object_store import ObjectStore, find_store
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.workspace import local_folder_of


class _Held(Exception):
    """Another process holds a lock; the message names it."""


@contextmanager
def lock_workspace(workspace: Place, wait: float = 0, skip: bool = False, clears: bool = True) -> Iterator[None]:
    """Keep every other backbeam process out of a workspace; the lock goes when its holder does.

    A workspace in a store has a lock on this machine, and another in the store for all machines: see `stores.lease`.
    The holder's note goes when it is done. So if there is one, its holder was killed or the disk refused, and may have
    left temporary files: they are cleared away.

    Args:
        workspace: that is worked on.
        wait: seconds to wait for another process to end.
        skip: whether it is no failure if that one works on.
        clears: whether to clear away what a holder that was killed left; else the next one that does will.

    Raises:
        CorruptArtefact: there is a link in the workspace.
        Locked: another process holds it.
        NothingRun: the same, where skip is asked for.
        StorageFailed: the workspace is in a store that cannot be asked, or the disk refuses.
    """
    if not isinstance(workspace, Path):
        workspace.is_dir()  # raises before any work if the store cannot be asked
    refuse_links(workspace)
    started, folder = time.monotonic(), local_folder_of(workspace)
    with ExitStack() as stack:
        try:
            stack.enter_context(_held(folder / ".lock", workspace, wait, _clear_beside if clears else None))
        except _Held as holder:
            raise _in_use(workspace, str(holder), skip) from None
        if isinstance(workspace, RemotePath):
            left = wait - (time.monotonic() - started)
            held = hold_lease(workspace, folder, _name_holder(_about_this_process()), left)
            if isinstance(held, str):
                raise _in_use(workspace, held, skip)
            stack.enter_context(held)
        yield


@contextmanager
def lock_scheduler(workspace: Place) -> Iterator[None]:
    """Keep every other scheduler of this machine out of a workspace; its runs take the lock of the workspace itself.

    Of what a scheduler that was killed left, the note alone is cleared away: a run may be at work.

    Raises:
        Locked: another one is at work.
    """
    try:
        with _held(local_folder_of(workspace) / ".schedule-lock", workspace, 0, remove_stale_files_of):
            yield
    except _Held as holder:
        raise Locked(
            f"{workspace} is in use by {holder}, which schedules its runs: end that first, or name another workspace"
        ) from None


def _clear_beside(note: Path) -> None:
    remove_stale_files(note.parent)


def _in_use(workspace: Place, holder: str, skip: bool) -> BackbeamError:
    held = f"{workspace} is in use by {holder}"
    if skip:
        return NothingRun(f"{held}: nothing is done here")
    return Locked(f"{held}; wait for it to end (--wait SECONDS), or name another")


@contextmanager
def _held(lock: Path, workspace: Place, wait: float, clear: Callable[[Path], None] | None) -> Iterator[None]:
    make_folder(lock.parent)
    note = lock.with_name(f"{lock.name}-holder.json")
    try:
        taken = _take(lock, note, workspace, wait)
    except filelock.Timeout:
        raise _Held(_read_holder(note)) from None
    with taken, _noted(note, clear):
        yield


@contextmanager
def _noted(note: Path, clear: Callable[[Path], None] | None) -> Iterator[None]:
    """Say who holds a lock, until it is done; the note stays for the next one where something may be left."""
    stays = any(note.parent.glob(f"*{note.name}*"))  # a note that was killed on its way too
    if stays and clear:
        clear(note)
        stays = False
    write_atomically(note, json.dumps(_about_this_process()).encode())
    try:
        yield
    except (StorageFailed, OSError):
        raise
    except BaseException:
        if not stays:
            with suppress_storage_errors():
                delete_file(note)
        raise
    if not stays:
        delete_file(note)


def _take(lock: Path, note: Path, workspace: Place, wait: float) -> AbstractContextManager[object]:
    """Take a lock at once, or say who holds it and wait; raises filelock.Timeout."""
    reach("lock", lock)
    try:
        return filelock.FileLock(lock).acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise
    say(f"{workspace} is in use by {_read_holder(note)}: waiting for up to {wait:g} s")
    return filelock.FileLock(lock).acquire(timeout=wait)


def _about_this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": Path(sys.argv[0]).name}


def _name_holder(about: dict[str, Any]) -> str:
    return "process {pid} ({command}) on {host}".format(**about)


def _read_holder(note: Path) -> str:
    try:
        return _name_holder(json.loads(note.read_bytes()))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # it ended, or has not written its note yet
        return "another process"


LOCK_NAME = ".lock"


MEMORY_NAME = ".lock-in-store.json"


POLL_SECONDS = 1.0


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


_NOTHING_SEEN = LeaseObservation("", 0.0)


@dataclass(frozen=True)
class LeaseMemory:
    """What this machine knows of a lock.

    Attributes:
        tokens: of holdings by processes of this machine.
        sight: what was last seen of another's.
    """

    tokens: frozenset[str] = frozenset()
    sight: LeaseObservation = _NOTHING_SEEN


_MEMORY = TypeAdapter(LeaseMemory)


def elapsed_seconds() -> float:
    """Return seconds since the machine began; where the system says it, those count for which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def hold_lease(workspace: RemotePath, folder: Path, holder: str, wait: float) -> AbstractContextManager[None] | str:
    """Take the lock that a workspace has in its store.

    Args:
        workspace: whose lock on this machine is held.
        folder: of this machine, that goes with the workspace.
        holder: what others are told, in words.
        wait: seconds to wait for another machine's process.

    Returns:
        the context in which it is held, or the words of whoever holds it.

    Raises:
        StorageFailed: the store cannot be asked.
    """
    uri = str(workspace / LOCK_NAME)
    store = find_store(uri)
    wanted, other = HeldLease(holder, uuid.uuid4().hex, lease.LEASE_SECONDS), ""
    for found in attempts(store, uri, wanted, folder / MEMORY_NAME, wait):
        if isinstance(found, Lease):
            return keep_lease_renewed(workspace.uri, found, wanted.seconds / lease.RENEWALS)
        if wait > 0 and not other:
            say(f"{workspace} is in use by {found.holding.holder}: waiting for up to {wait:g} s")
        other = found.holding.holder
    return other


def attempts(
    store: ObjectStore,
    uri: str,
    wanted: HeldLease,
    notes: Path,
    wait: float,
    clock: Clock = elapsed_seconds,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease | FoundLease]:
    """Yield what comes of each try to take a lock, one at least, until the wait is over; a Lease is the last."""
    memory, end = _recall(notes), clock() + wait
    while True:
        _note(
            notes, LeaseMemory(memory.tokens | {wanted.token}, memory.sight)
        )  # before a process that has it can be killed
        found = take_lease(store, uri, wanted, memory.tokens, memory.sight, clock)
        if isinstance(found, Lease):
            _note(notes, LeaseMemory(frozenset({wanted.token})))
            yield found
            return
        memory = LeaseMemory(memory.tokens, memory.sight.again(found.version, clock()))
        _note(notes, memory)
        yield found
        if clock() >= end:
            return
        sleep(min(POLL_SECONDS, max(end - clock(), 0)))


def _recall(notes: Path) -> LeaseMemory:
    try:
        return _MEMORY.validate_json(notes.read_bytes())
    except (OSError, ValidationError):  # there are none yet
        return LeaseMemory()


def _note(notes: Path, memory: LeaseMemory) -> None:
    write_atomically(notes, _MEMORY.dump_json(memory))
