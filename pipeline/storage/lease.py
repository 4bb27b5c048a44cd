"""The lock of a workspace in a store: an object that says who holds it, and that its holder renews.

A lock whose object has not changed for a lease's time is a dead process's, and is taken over. Nobody compares clocks:
the one who waits measures, by its own clock, how long the object has been of the same version, and the holder, by its
own, how long ago it began the last renewal that worked. The holder's time is up first, because its renewal began before
anybody could see it. Whoever takes a lock does so by a request that depends on the version it saw, so that one does.
"""

import io
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from model.errors import Locked, StorageFailed
from pipeline.storage.object_store import ObjectStore

LEASE_SECONDS = 60.0
RENEWALS = 6  # in a lease's time
Clock = Callable[[], float]


@dataclass(frozen=True)
class HeldLease:
    """What the object says.

    Attributes:
        holder: who holds the lock, in words.
        token: of this holding, and of no other.
        seconds: a lease's time.
        renewals: the number of the renewal, so that no two states are of the same bytes.
        is_free: whether the holder has let go of it.
    """

    holder: str
    token: str
    seconds: float = LEASE_SECONDS
    renewals: int = 0
    is_free: bool = False

    def to_json(self) -> bytes:
        """Return the object's bytes."""
        return _HOLDING.dump_json(self)


_HOLDING = TypeAdapter(HeldLease)
_UNREADABLE = HeldLease("another process", "")  # an object that somebody else put there


class LeaseObservation(NamedTuple):
    """A version of the object, and since when it has been that: seconds of this machine's clock."""

    version: str
    since: float

    def again(self, version: str, now: float) -> "LeaseObservation":
        """Return what is known after another look; a clock that began anew, as after a restart, knows nothing."""
        return self if version == self.version and now >= self.since else LeaseObservation(version, now)


class FoundLease(NamedTuple):
    """The object as it was read."""

    holding: HeldLease
    version: str


class Lease:
    """A lock that is held.

    Args:
        store: that has the object.
        uri: of the object.
        found: the object when it was taken.
        began: when the request that took it was begun, by the clock.
        clock: seconds, from anywhere.
    """

    def __init__(self, store: ObjectStore, uri: str, found: FoundLease, began: float, clock: Clock) -> None:
        self._store, self._uri, self._clock = store, uri, clock
        self._found, self._until = found, began + found.holding.seconds
        self._taken_by, self._num_tried = "", 0

    def check(self) -> None:
        """Check that nobody else can have taken the lock; raises Locked if somebody may have."""
        if self._taken_by or self._clock() >= self._until:
            lost = f"was lost to {self._taken_by}" if self._taken_by else "is lost"
            raise Locked(
                f"the lock {self._uri} {lost}: it was not renewed for {self._found.holding.seconds:g} s; nothing is "
                "written any more, run again"
            )

    def renew(self) -> None:
        """Renew the lock, or find that it is lost; raises StorageFailed if the store cannot be asked just now."""
        began, held = self._clock(), self._found.holding
        self._num_tried += 1  # a try that fails may work later: the next one must not pass for it
        renewed = replace(held, renewals=self._num_tried)
        self._store.replace(self._uri, renewed.to_json(), self._found.version)
        self._adopt(began, renewed)

    def release(self) -> None:
        """Let go of the lock, unless it is lost."""
        if not self._taken_by:
            self._store.replace(self._uri, replace(self._found.holding, is_free=True).to_json(), self._found.version)

    def _adopt(self, began: float, renewed: HeldLease) -> None:
        """Look what came of a renewal: an answer that was lost may have left an earlier one in place."""
        found = read_lease(self._store, self._uri)
        if found is None or found.holding.token != renewed.token:
            self._taken_by = found.holding.holder if found else "somebody who deleted it"
            return
        self._found = found
        if found.holding == renewed:
            self._until = began + renewed.seconds


def read_lease(store: ObjectStore, uri: str) -> FoundLease | None:
    """Read a lock's object; None if there is none."""
    found = store.read_version(uri)
    if found is None:
        return None
    try:
        return FoundLease(_HOLDING.validate_json(found[0]), found[1])
    except ValidationError:
        return FoundLease(_UNREADABLE, found[1])


def take_lease(
    store: ObjectStore, uri: str, wanted: HeldLease, ended: Collection[str], sight: LeaseObservation, clock: Clock
) -> Lease | FoundLease:
    """Try once to take a lock.

    Args:
        store: that has the object.
        uri: of the object.
        wanted: what it is to say.
        ended: the tokens of holdings whose processes are known to have ended.
        sight: what was seen last; see `LeaseObservation`.
        clock: of this machine.

    Returns:
        the lock, or the object of whoever holds it.
    """
    found, began = read_lease(store, uri), clock()
    if found is None:
        store.put_new(uri, io.BytesIO(wanted.to_json()), len(wanted.to_json()))
    elif _may_be_taken(found, ended, sight, began):
        store.replace(uri, wanted.to_json(), found.version)
    else:
        return found
    now = read_lease(store, uri)
    if now is None:  # deleted by hand, or by a process that empties the bucket
        return FoundLease(_UNREADABLE, "")
    return Lease(store, uri, now, began, clock) if now.holding.token == wanted.token else now


def _may_be_taken(found: FoundLease, ended: Collection[str], sight: LeaseObservation, now: float) -> bool:
    holding, known = found
    unchanged = now - sight.since if sight.version == known else 0.0
    return holding.is_free or holding.token in ended or unchanged >= holding.seconds


_held: dict[str, tuple[int, Lease]] = {}  # by workspace: the process that holds it, and its lock


@contextmanager
def keep_lease_renewed(workspace: str, lease: Lease, seconds: float) -> Iterator[None]:
    """Renew a lock in the background while what is inside is done, and let go of it afterwards.

    Args:
        workspace: the URI of the workspace; `check_held` asks for this lock before anything there is changed.
        lease: the lock.
        seconds: between renewals.
    """
    done = Event()
    renewing = Thread(target=_renew, args=(lease, done, seconds), name="lock", daemon=True)
    _held[workspace] = os.getpid(), lease
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        del _held[workspace]
        with suppress(StorageFailed):  # it frees itself after a while
            lease.release()


def _renew(lease: Lease, done: Event, seconds: float) -> None:
    while not done.wait(seconds):
        with suppress(StorageFailed):  # tried again, until the lock's time is up
            lease.renew()


def check_held(uri: str) -> None:
    """Check, before an object is changed, that this process still has the lock of its workspace, if it ever had.

    Raises:
        Locked: the lock is lost.
    """
    for workspace, (process, lease) in _held.items():
        if process == os.getpid() and uri.startswith(f"{workspace}/"):
            lease.check()
