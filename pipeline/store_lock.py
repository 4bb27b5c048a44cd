"""How a process comes to hold the lock of a workspace in a store, and what it knows of it from processes before it.

This machine remembers, in a file, the tokens of those that held its own lock of the workspace: whoever has that lock
now knows that they ended, and need not wait. It also remembers since when the lock in the store has not changed, so
that of commands that do not wait, one that comes after a lease's time finds a dead process's lock free too.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.console import say
from pipeline.places import RemotePath
from pipeline.storage import write_atomically
from pipeline.stores import lease
from pipeline.stores.lease import Clock, Found, Holding, Lease, Sight, kept, take
from pipeline.stores.object_store import ObjectStore, find_store

LOCK_NAME = ".lock"
MEMORY_NAME = ".lock-in-store.json"
POLL_SECONDS = 1.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NOTHING_SEEN = Sight("", 0.0)


@dataclass(frozen=True)
class Memory:
    """What this machine knows of a lock.

    Attributes:
        tokens: of holdings by processes of this machine.
        sight: what was last seen of another's.
    """

    tokens: frozenset[str] = frozenset()
    sight: Sight = _NOTHING_SEEN


_MEMORY = TypeAdapter(Memory)


def awake_or_not() -> float:
    """Return seconds since the machine began; where the system says it, those count for which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def hold(workspace: RemotePath, folder: Path, holder: str, wait: float) -> AbstractContextManager[None] | str:
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
    wanted, other = Holding(holder, uuid.uuid4().hex, lease.LEASE_SECONDS), ""
    for found in attempts(store, uri, wanted, folder / MEMORY_NAME, wait):
        if isinstance(found, Lease):
            return kept(workspace.uri, found, wanted.seconds / lease.RENEWALS)
        if wait > 0 and not other:
            say(f"{workspace} is in use by {found.holding.holder}: waiting for up to {wait:g} s")
        other = found.holding.holder
    return other


def attempts(
    store: ObjectStore,
    uri: str,
    wanted: Holding,
    notes: Path,
    wait: float,
    clock: Clock = awake_or_not,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease | Found]:
    """Yield what comes of each try to take a lock, one at least, until the wait is over; a Lease is the last."""
    memory, end = _recall(notes), clock() + wait
    while True:
        _note(notes, Memory(memory.tokens | {wanted.token}, memory.sight))  # before a process that has it can be killed
        found = take(store, uri, wanted, memory.tokens, memory.sight, clock)
        if isinstance(found, Lease):
            _note(notes, Memory(frozenset({wanted.token})))
            yield found
            return
        memory = Memory(memory.tokens, memory.sight.again(found.version, clock()))
        _note(notes, memory)
        yield found
        if clock() >= end:
            return
        sleep(min(POLL_SECONDS, max(end - clock(), 0)))


def _recall(notes: Path) -> Memory:
    try:
        return _MEMORY.validate_json(notes.read_bytes())
    except (OSError, ValidationError):  # there are none yet
        return Memory()


def _note(notes: Path, memory: Memory) -> None:
    write_atomically(notes, _MEMORY.dump_json(memory))
