"""The lock of a workspace in a store: its logic, by clocks that tests turn and a store in memory."""

import hashlib
import json

import pytest

from model.errors import Locked, StorageFailed
from pipeline.storage.lease import HeldLease, Lease, read_lease
from pipeline.storage.store_lock import acquisition_attempts

URI = "s3://bucket/ws/.lock"
LEASE = 60.0


class Store:
    """One object with versions; `away` makes requests fail, `deaf` does what is asked and loses the answer."""

    def __init__(self):
        self.data, self.away, self.deaf = None, False, False

    def read_version(self, uri):
        if self.away:
            raise StorageFailed("away")
        return None if self.data is None else (self.data, hashlib.md5(self.data).hexdigest())  # noqa: S324 - as S3 does

    def put_new(self, uri, content, num_bytes):
        if self.data is not None:
            return False
        self.data = content.read()
        return True

    def replace(self, uri, data, version):
        found = self.read_version(uri)
        if found is None or found[1] != version:
            return False
        self.data = data
        if self.deaf:
            raise StorageFailed("no answer")
        return True


class Machine:
    """A clock of its own, which starts anywhere, and a file of notes."""

    def __init__(self, store, folder, name, starts):
        self.store, self.notes, self.name, self.now, self.number = store, folder / name, name, starts, 0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def take(self, wait=0.0):
        self.number += 1
        wanted = HeldLease(self.name, f"{self.name}-{self.number}", LEASE)
        for found in acquisition_attempts(self.store, URI, wanted, self.notes, wait, self.clock, self.sleep):
            if isinstance(found, Lease):
                return found
        return found.holding.holder


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def machines(store, tmp_path):
    return Machine(store, tmp_path, "one", 1e6), Machine(store, tmp_path, "two", 5.0)


def test_a_lease_is_exclusive_until_it_is_released(machines):
    one, two = machines
    lease = one.take()
    assert two.take() == "one"
    lease.release()
    assert isinstance(two.take(), Lease)
    assert one.take() == "two"


def test_the_lease_of_a_dead_process_can_be_acquired_after_its_duration(machines):
    one, two = machines
    one.take()
    before = two.now
    lease = two.take(wait=100)
    assert isinstance(lease, Lease)
    assert LEASE <= two.now - before <= LEASE + 2


def test_observations_of_separate_attempts_add_up(machines):
    one, two = machines
    one.take()
    assert two.take() == "one"
    two.now += LEASE - 1
    assert two.take() == "one"
    two.now += 1
    assert isinstance(two.take(), Lease)


def test_an_observation_restarts_when_the_clock_does(machines):
    one, two = machines
    one.take()
    two.now = 1000.0
    assert two.take() == "one"
    two.now = 10.0
    assert two.take() == "one"
    two.now = 10.0 + LEASE - 1
    assert two.take() == "one"


def test_a_renewed_lease_cannot_be_taken_over(machines):
    one, two = machines
    lease = one.take()
    for _ in range(50):
        one.now += 50
        two.now += 50
        lease.renew()
        lease.check()
        assert two.take() == "one"


def test_the_holder_stops_before_another_process_can_take_over(machines):
    """Whoever looks right after the last renewal may take it a lease later, and not before the holder has stopped."""
    one, two = machines
    lease = one.take()
    assert two.take() == "one"
    one.now += LEASE - 0.001
    lease.check()
    one.now += 0.001
    two.now += LEASE
    with pytest.raises(Locked, match="is lost: it was not renewed for 60 s"):
        lease.check()
    assert isinstance(two.take(), Lease)
    lease.renew()
    with pytest.raises(Locked, match="was lost to two"):
        lease.check()
    lease.release()
    assert one.take() == "two"


def test_exactly_one_of_two_processes_takes_over(machines, store, tmp_path):
    one, two = machines
    one.take()
    three = Machine(store, tmp_path, "three", 77.0)
    assert (two.take(), three.take()) == ("one", "one")
    two.now, three.now = two.now + LEASE, three.now + LEASE
    seen = store.read_version
    answers = [seen(URI)]  # what three saw before two took it
    lease = two.take()
    store.read_version = lambda uri: answers.pop() if answers else seen(uri)
    replace = store.replace

    def compare(uri, data, version):
        return version == seen(uri)[1] and replace(uri, data, version)

    store.replace = compare
    assert isinstance(lease, Lease)
    assert three.take() == "two"


def test_the_lease_of_a_killed_process_is_free_at_once_on_its_own_machine(machines):
    one, two = machines
    one.take()
    assert two.take() == "one"
    assert isinstance(one.take(), Lease)  # which holds this machine's lock, so the other has ended
    assert two.take() == "one"


def test_a_renewal_whose_answer_is_lost_does_not_lose_the_lease(machines, store):
    one, two = machines
    lease = one.take()
    one.now += 10
    store.deaf = True
    with pytest.raises(StorageFailed):
        lease.renew()
    store.deaf = False
    assert two.take() == "one"
    one.now += 20
    lease.renew()  # finds its own earlier one, whose time began at 10
    one.now += 20
    lease.check()
    lease.renew()
    one.now += LEASE - 1
    lease.check()
    assert two.take() == "one"


def test_a_lease_is_lost_when_the_store_is_unreachable_for_its_duration(machines, store):
    lease = machines[0].take()
    store.away = True
    with pytest.raises(StorageFailed):
        lease.renew()
    lease.check()
    machines[0].now += LEASE
    with pytest.raises(Locked):
        lease.check()


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", json.dumps({"holder": 1}).encode()])
def test_an_unreadable_lease_can_be_taken_over_after_its_duration(data, machines, store):
    store.data = data
    assert read_lease(store, URI).holding.holder == "another process"
    assert machines[0].take() == "another process"
    machines[0].now += LEASE
    assert isinstance(machines[0].take(), Lease)


def test_a_deleted_lease_is_lost(machines, store):
    lease = machines[0].take()
    store.data = None
    lease.renew()
    with pytest.raises(Locked, match="somebody who deleted it"):
        lease.check()
