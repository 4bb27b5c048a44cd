"""The lock of a workspace in a store: an object that names its holder, who renews it.

A lease whose object has not changed for its duration belongs to a dead process and may be taken over. Clocks of
different machines are never compared: a process that waits measures, by its own clock, how long the object has had the
same version; the holder measures, by its own, the time since it began its last successful renewal. The holder's
measurement starts earlier, because nobody can see a renewal before it begins, so the holder stops first. Takeover is a
compare-and-swap on the object's version: exactly one process wins. `store_lock` repeats attempts and waits.
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
RENEWALS_PER_LEASE = 6  # so that a few may fail before the lease expires
Clock = Callable[[], float]


@dataclass(frozen=True)
class HeldLease:
    """The content of the object.

    Attributes:
        holder: a description of the process that holds the lease.
        token: unique to this acquisition.
        seconds: the duration of the lease.
        renewals: the number of the renewal; it makes the bytes of each renewal, and so their version, differ.
        is_free: whether the holder has released the lease.
    """

    holder: str
    token: str
    seconds: float = LEASE_SECONDS
    renewals: int = 0
    is_free: bool = False

    def to_json(self) -> bytes:
        """Return the object's bytes."""
        return _HELD_LEASE.dump_json(self)


_HELD_LEASE = TypeAdapter(HeldLease)
_UNREADABLE = HeldLease("another process", "")  # stands for an object that backbeam did not write


class LeaseObservation(NamedTuple):
    """A version of the object, and when this machine first saw it: seconds of this machine's clock."""

    version: str
    since: float

    def update(self, version: str, now: float) -> "LeaseObservation":
        """Return the observation after another read; it restarts if the clock did, as after a reboot."""
        return self if version == self.version and now >= self.since else LeaseObservation(version, now)


class FoundLease(NamedTuple):
    """The object as it was read."""

    holding: HeldLease
    version: str


class Lease:
    """A lease that this process holds.

    Args:
        store: the store of the object.
        uri: the URI of the object.
        found: the object as it was acquired.
        began: when the request that acquired it was begun, by the clock.
        clock: returns seconds since any fixed moment.
    """

    def __init__(self, store: ObjectStore, uri: str, found: FoundLease, began: float, clock: Clock) -> None:
        self._store = store
        self._uri = uri
        self._clock = clock
        self._found = found
        self._expires = began + found.holding.seconds
        self._new_holder = ""
        self._num_attempts = 0

    def check(self) -> None:
        """Raise Locked if another process has, or may have, acquired the lease."""
        if self._new_holder or self._clock() >= self._expires:
            lost = f"was lost to {self._new_holder}" if self._new_holder else "is lost"
            raise Locked(
                f"the lock {self._uri} {lost}: it was not renewed for {self._found.holding.seconds:g} s; nothing is "
                "written any more, run again"
            )

    def renew(self) -> None:
        """Renew the lease, unless it is lost, which `check` then reports; raises StorageFailed if the store does."""
        began = self._clock()
        # A failed request may still reach the store later. A number for each attempt tells them apart.
        self._num_attempts += 1
        renewed = replace(self._found.holding, renewals=self._num_attempts)
        self._store.replace(self._uri, renewed.to_json(), self._found.version)
        self._read_back(began, renewed)

    def release(self) -> None:
        """Release the lease, unless it is lost."""
        if not self._new_holder:
            self._store.replace(self._uri, replace(self._found.holding, is_free=True).to_json(), self._found.version)

    def _read_back(self, began: float, renewed: HeldLease) -> None:
        """Read which renewal is in place: this one, an earlier one whose answer was lost, or another process's."""
        found = read_lease(self._store, self._uri)
        if found is None or found.holding.token != renewed.token:
            self._new_holder = found.holding.holder if found else "somebody who deleted it"
            return
        self._found = found
        if found.holding == renewed:
            self._expires = began + renewed.seconds


def read_lease(store: ObjectStore, uri: str) -> FoundLease | None:
    """Read the object of a lease; returns None if it does not exist."""
    found = store.read_version(uri)
    if found is None:
        return None
    data, version = found
    try:
        return FoundLease(_HELD_LEASE.validate_json(data), version)
    except ValidationError:
        return FoundLease(_UNREADABLE, version)


def acquire_lease(
    store: ObjectStore, uri: str, desired: HeldLease, ended: Collection[str], last: LeaseObservation, clock: Clock
) -> Lease | FoundLease:
    """Try once to acquire a lease.

    Args:
        store: the store of the object.
        uri: the URI of the object.
        desired: the content that the object should get.
        ended: the tokens of acquisitions whose processes are known to have ended.
        last: the last observation of the object.
        clock: this machine's clock.

    Returns:
        The lease, or the object of the process that holds it.

    Raises:
        StorageFailed: the store refuses a request or does not answer.
    """
    found = read_lease(store, uri)
    began = clock()
    if found is None:
        store.put_new(uri, io.BytesIO(desired.to_json()), len(desired.to_json()))
    elif _is_available(found, ended, last, began):
        store.replace(uri, desired.to_json(), found.version)
    else:
        return found
    # What is in place decides, not the answer to the request: it may have been lost.
    current = read_lease(store, uri)
    if current is None:  # deleted by hand, or by a process that empties the bucket
        return FoundLease(_UNREADABLE, "")
    return Lease(store, uri, current, began, clock) if current.holding.token == desired.token else current


def _is_available(found: FoundLease, ended: Collection[str], last: LeaseObservation, now: float) -> bool:
    unchanged_seconds = now - last.since if last.version == found.version else 0.0
    return found.holding.is_free or found.holding.token in ended or unchanged_seconds >= found.holding.seconds


_held: dict[str, tuple[int, Lease]] = {}  # workspace URI -> id of the process that holds the lease, and the lease


@contextmanager
def keep_lease_renewed(workspace: str, lease: Lease, seconds: float) -> Iterator[None]:
    """Renew a lease in a background thread while the context is active, and release it afterwards.

    Args:
        workspace: the URI of the workspace; `check_held` checks this lease before an object below it is changed.
        lease: the lease.
        seconds: the time between renewals.
    """
    done = Event()
    thread = Thread(target=_renew, args=(lease, done, seconds), name="lock", daemon=True)
    _held[workspace] = (os.getpid(), lease)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        del _held[workspace]
        with suppress(StorageFailed):  # the lease expires without a release too
            lease.release()


def _renew(lease: Lease, done: Event, seconds: float) -> None:
    while not done.wait(seconds):
        with suppress(StorageFailed):  # retried until the lease expires
            lease.renew()


def check_held(uri: str) -> None:
    """Check, before an object is changed, that this process has not lost the lease of its workspace.

    Workspaces that this process never locked are not checked, and a forked process holds no lease.

    Raises:
        Locked: the lease is lost.
    """
    for workspace, (process_id, lease) in _held.items():
        if process_id == os.getpid() and uri.startswith(f"{workspace}/"):
            lease.check()
