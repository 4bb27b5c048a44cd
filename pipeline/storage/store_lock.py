"""Acquiring the lease of a workspace in a store: repeated attempts, and what this machine remembers between them."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.progress import say
from pipeline.storage import lease
from pipeline.storage.files import write_atomically
from pipeline.storage.lease import (
    Clock,
    FoundLease,
    HeldLease,
    Lease,
    LeaseObservation,
    acquire_lease,
    keep_lease_renewed,
)
from pipeline.storage.object_store import ObjectStore, find_store
from pipeline.storage.places import RemotePath

_LOCK_NAME = ".lock"
_MEMORY_NAME = ".lock-in-store.json"
_POLL_SECONDS = 1.0
_NOT_SEEN = LeaseObservation("", 0.0)


@dataclass(frozen=True)
class LeaseMemory:
    """What this machine knows of a lease; kept in a file, so that it outlives killed processes.

    Attributes:
        tokens: of acquisitions by processes of this machine.
        sight: the last observation of another machine's lease.
    """

    tokens: frozenset[str] = frozenset()
    sight: LeaseObservation = _NOT_SEEN


_MEMORY = TypeAdapter(LeaseMemory)


def lock_in_store(workspace: RemotePath, folder: Path, holder: str, wait: float) -> AbstractContextManager[None] | str:
    """Acquire the lease of a workspace.

    Args:
        workspace: the workspace; this process must hold its lock on this machine.
        folder: the local folder of the workspace.
        holder: the description of this process that others are shown.
        wait: seconds to wait for a process of another machine.

    Returns:
        The context in which the lease is held, or the description of the process that holds it.

    Raises:
        StorageFailed: the store refuses a request or does not answer.
    """
    uri = str(workspace / _LOCK_NAME)
    # LEASE_SECONDS is read from its module at each call: tests shorten it.
    desired = HeldLease(holder, uuid.uuid4().hex, lease.LEASE_SECONDS)
    other_holder = ""
    for found in acquisition_attempts(find_store(uri), uri, desired, folder / _MEMORY_NAME, wait):
        if isinstance(found, Lease):
            return keep_lease_renewed(workspace.uri, found, desired.seconds / lease.RENEWALS_PER_LEASE)
        if wait > 0 and not other_holder:
            say(f"{workspace} is in use by {found.holding.holder}: waiting for up to {wait:g} s")
        other_holder = found.holding.holder
    return other_holder


def _boot_clock() -> float:
    """Return seconds since this machine was started; with CLOCK_BOOTTIME, time spent suspended counts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def acquisition_attempts(
    store: ObjectStore,
    uri: str,
    desired: HeldLease,
    memory_file: Path,
    wait: float,
    clock: Clock = _boot_clock,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease | FoundLease]:
    """Yield the result of each attempt to acquire a lease, at least one, until the wait is over.

    A Lease ends the attempts. See `acquire_lease` for the first three arguments.
    """
    memory = _read_memory(memory_file)
    end = clock() + wait
    while True:
        # The token is saved first: if this process is killed with the lease, the next one here may take it over.
        _save_memory(memory_file, LeaseMemory(memory.tokens | {desired.token}, memory.sight))
        found = acquire_lease(store, uri, desired, memory.tokens, memory.sight, clock)
        if isinstance(found, Lease):
            _save_memory(memory_file, LeaseMemory(frozenset({desired.token})))
            yield found
            return
        memory = LeaseMemory(memory.tokens, memory.sight.update(found.version, clock()))
        _save_memory(memory_file, memory)
        yield found
        if clock() >= end:
            return
        sleep(min(_POLL_SECONDS, max(end - clock(), 0)))


def _read_memory(file: Path) -> LeaseMemory:
    try:
        return _MEMORY.validate_json(file.read_bytes())
    except (OSError, ValidationError):  # not written yet, or not readable: nothing is known
        return LeaseMemory()


def _save_memory(file: Path, memory: LeaseMemory) -> None:
    write_atomically(file, _MEMORY.dump_json(memory))
