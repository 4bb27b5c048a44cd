"""The lock of a workspace in a store: an object that names its holder, who renews it.

A lease whose object has not changed for its duration belongs to a dead process and may be taken over. Clocks of
different machines are never compared: a process that waits measures, by its own clock, how long the object has had the
same version; the holder measures, by its own, the time since it began its last successful renewal. The holder's
measurement starts earlier, because nobody can see a renewal before it begins, so the holder stops first. Takeover is a
compare-and-swap on the object's version: exactly one process wins. `lock` repeats attempts.
"""

import io
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from model.errors import Locked, StorageFailed
from pipeline.processes import ENDING_SECONDS
from pipeline.storage.object_store import ObjectStore

LEASE_SECONDS = 60.0
RENEWALS_PER_LEASE = 6  # so that a few may fail before the lease expires
Clock = Callable[[], float]


class HeldLease(BaseModel, frozen=True):
    """The content of the object."""

    holder: str  # a description of the process that holds the lease
    token: str  # unique to this acquisition
    seconds: float  # the duration of the lease
    renewals: int = 0  # makes the bytes of each renewal, and so their version, differ
    is_free: bool = False  # whether the holder has released the lease


# Stands for an object that backbeam did not write.
_UNREADABLE = HeldLease(holder="another process", token="", seconds=LEASE_SECONDS)


class LeaseObservation(NamedTuple):
    """A version of the object, and when this machine first saw it: seconds of this machine's clock."""

    version: str = ""
    since: float = 0.0

    def update(self, version: str, now: float) -> "LeaseObservation":
        """Return the observation after another read; it restarts if the clock did, as after a reboot."""
        return self if version == self.version and now >= self.since else LeaseObservation(version, now)


class FoundLease(NamedTuple):
    """The object as it was read."""

    holding: HeldLease
    version: str


@dataclass
class Lease:
    """A lease that this process holds."""

    store: ObjectStore
    uri: str
    clock: Clock
    found: FoundLease  # the object as it was last written by this process
    expires: float  # by the clock
    new_holder: str = ""
    num_attempts: int = 0  # to renew it

    def check(self) -> None:
        """Raise Locked if another process has, or may have, acquired the lease."""
        if self.new_holder or self.clock() >= self.expires:
            lost = f"was lost to {self.new_holder}" if self.new_holder else "is lost"
            raise Locked(
                f"the lock {self.uri} {lost}: it was not renewed for {self.found.holding.seconds:g} s; nothing is "
                "written any more, run again"
            )

    def renew(self) -> None:
        """Renew the lease, unless it is lost, which `check` then reports; raises StorageFailed if the store does."""
        began = self.clock()
        # A failed request may still reach the store later. A number for each attempt tells them apart.
        self.num_attempts += 1
        renewed = self.found.holding.model_copy(update={"renewals": self.num_attempts})
        self.store.replace(self.uri, renewed.model_dump_json().encode(), self.found.version)
        self._read_back(began, renewed)

    def release(self) -> None:
        """Release the lease, unless it is lost."""
        if not self.new_holder:
            released = self.found.holding.model_copy(update={"is_free": True})
            self.store.replace(self.uri, released.model_dump_json().encode(), self.found.version)

    def _read_back(self, began: float, renewed: HeldLease) -> None:
        """Read whether this renewal is in place, an earlier one whose answer was lost, or another process's lease."""
        found = read_lease(self.store, self.uri)
        if found is None or found.holding.token != renewed.token:
            self.new_holder = found.holding.holder if found else "somebody who deleted it"
            return
        self.found = found
        if found.holding == renewed:
            self.expires = began + renewed.seconds


def read_lease(store: ObjectStore, uri: str) -> FoundLease | None:
    """Read the object of a lease; returns None if it does not exist."""
    found = store.read_version(uri)
    if found is None:
        return None
    data, version = found
    try:
        return FoundLease(HeldLease.model_validate_json(data), version)
    except ValidationError:
        return FoundLease(_UNREADABLE, version)


def acquire_lease(
    store: ObjectStore, uri: str, desired: HeldLease, ended: Collection[str], last: LeaseObservation, clock: Clock
) -> Lease | FoundLease:
    """Try once to acquire a lease, with the desired content; return it, or the object of the process that holds it.

    ended are the tokens of acquisitions whose processes are known to have ended, last is the last observation of the
    object, and clock returns seconds since any fixed moment.
    """
    content = desired.model_dump_json().encode()
    found = read_lease(store, uri)
    began = clock()
    if found is None:
        store.put_new(uri, io.BytesIO(content), len(content))
    elif _is_available(found, ended, last, began):
        store.replace(uri, content, found.version)
    else:
        return found
    # What is in place decides, not the answer to the request: it may have been lost.
    current = read_lease(store, uri)
    if current is None:  # deleted by hand, or by a process that empties the bucket
        return FoundLease(_UNREADABLE, "")
    if current.holding.token != desired.token:
        return current
    return Lease(store, uri, clock, current, began + desired.seconds)


def _is_available(found: FoundLease, ended: Collection[str], last: LeaseObservation, now: float) -> bool:
    unchanged_seconds = now - last.since if last.version == found.version else 0.0
    return found.holding.is_free or found.holding.token in ended or unchanged_seconds >= found.holding.seconds


_held: dict[str, tuple[int, Lease]] = {}  # workspace URI -> id of the process that holds the lease, and the lease


@contextmanager
def keep_lease_renewed(workspace: str, lease: Lease) -> Iterator[None]:
    """Renew the lease of a workspace (a URI) in a thread inside the context, and release it at the end.

    The thread releases it too, and is left behind if the store does not answer: the lease expires without a release.
    """
    done = Event()
    seconds = lease.found.holding.seconds / RENEWALS_PER_LEASE

    def renew() -> None:
        while not done.wait(seconds):
            with suppress(StorageFailed):  # retried until the lease expires
                lease.renew()
        with suppress(StorageFailed):
            lease.release()

    thread = Thread(target=renew, name="lock", daemon=True)
    _held[workspace] = (os.getpid(), lease)
    thread.start()
    try:
        yield
    finally:
        del _held[workspace]
        done.set()
        thread.join(ENDING_SECONDS)


def check_held(uri: str) -> None:
    """Raise Locked if this process has lost the lease of the workspace of an object that is to be changed.

    Workspaces that this process never locked are not checked, and a forked process holds no lease.
    """
    for workspace, (process_id, lease) in _held.items():
        if process_id == os.getpid() and uri.startswith(f"{workspace}/"):
            lease.check()
