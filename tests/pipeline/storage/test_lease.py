"""Leases of workspaces in a store, tested with a store in memory and clocks that the tests advance."""

import json
import threading

import pytest

from model.errors import Locked, StorageFailed
from pipeline.storage.lease import HeldLease, Lease, keep_lease_renewed, read_lease
from pipeline.storage.lock import repeat_acquisition
from pipeline.storage.object_store import ObjectStore

URI = "memory://bucket/ws/.lock"
LEASE = 60.0


class Store(ObjectStore):
    """A store in memory. If it loses answers, replacements happen and then fail."""

    loses_answers = False

    def replace(self, uri, data, version):
        replaced = super().replace(uri, data, version)
        if self.loses_answers:
            raise StorageFailed("no answer")
        return replaced


class Machine:
    """A machine with its own clock and memory file."""

    def __init__(self, store, folder, name, now):
        self.store = store
        self.memory_file = folder / name
        self.name = name
        self.now = now
        self.num_attempts = 0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def acquire(self, wait=0.0):
        """Return the Lease, or the name of its holder."""
        self.num_attempts += 1
        desired = HeldLease(holder=self.name, token=f"{self.name}-{self.num_attempts}", seconds=LEASE)
        for found in repeat_acquisition(self.store, URI, desired, self.memory_file, wait, self.clock, self.sleep):
            if isinstance(found, Lease):
                return found
        return found.holding.holder


@pytest.fixture
def store(memory):
    return Store("memory", "bucket")


@pytest.fixture
def machines(store, tmp_path):
    return [Machine(store, tmp_path, name, now) for name, now in (("one", 1e6), ("two", 5.0), ("three", 77.0))]


@pytest.fixture
def one(machines):
    return machines[0]


@pytest.fixture
def two(machines):
    return machines[1]


def test_a_lease_is_exclusive_until_it_is_released(one, two):
    lease = one.acquire()
    assert two.acquire() == "one"
    lease.release()
    assert isinstance(two.acquire(), Lease)


def test_the_observation_in_a_memory_file_of_an_earlier_version_counts(one, two, tmp_path):
    one.acquire()
    two.acquire()
    memory = json.loads((tmp_path / "two").read_bytes())
    (tmp_path / "two").write_text(json.dumps({"tokens": memory["tokens"], "sight": memory["observation"]}))
    two.now += LEASE
    assert isinstance(two.acquire(), Lease)


def test_the_lease_of_a_dead_process_can_be_acquired_after_its_duration(one, two):
    one.acquire()
    before = two.now
    assert two.acquire() == "one"
    two.now += LEASE / 2
    assert two.acquire() == "one"  # observations of separate attempts add up
    assert isinstance(two.acquire(wait=100), Lease)
    assert LEASE <= two.now - before <= LEASE + 2


def test_an_observation_restarts_when_the_clock_does(one, two):
    one.acquire()
    for now in (1000.0, 10.0, 10.0 + LEASE - 1):
        two.now = now
        assert two.acquire() == "one"


def test_a_renewed_lease_cannot_be_taken_over(one, two):
    lease = one.acquire()
    for _ in range(50):
        one.now += 50
        two.now += 50
        lease.renew()
        lease.check()
        assert two.acquire() == "one"


def test_the_holder_stops_before_another_process_can_take_over(one, two):
    """A process that reads the object right after its last renewal may take over one lease later, not earlier."""
    lease = one.acquire()
    assert two.acquire() == "one"
    one.now += LEASE - 0.001
    lease.check()
    one.now += 0.001
    two.now += LEASE
    with pytest.raises(Locked, match="is lost: it was not renewed for 60 s"):
        lease.check()
    assert isinstance(two.acquire(), Lease)
    lease.renew()
    with pytest.raises(Locked, match="was lost to two"):
        lease.check()
    lease.release()
    assert one.acquire() == "two"


def test_exactly_one_of_two_processes_takes_over(machines, store):
    one, two, three = machines
    one.acquire()
    assert (two.acquire(), three.acquire()) == ("one", "one")
    two.now += LEASE
    three.now += LEASE
    read_version = store.read_version
    stale_reads = [read_version(URI)]  # three has read the object before two replaces it
    assert isinstance(two.acquire(), Lease)
    store.read_version = lambda uri: stale_reads.pop() if stale_reads else read_version(uri)
    assert three.acquire() == "two"


def test_the_lease_of_a_killed_process_is_free_at_once_on_its_own_machine(one, two):
    one.acquire()
    assert two.acquire() == "one"
    assert isinstance(one.acquire(), Lease)  # this process holds the local lock, so the earlier one has ended
    assert two.acquire() == "one"


def test_a_renewal_whose_answer_is_lost_does_not_lose_the_lease(one, two, store):
    lease = one.acquire()
    one.now += 10
    store.loses_answers = True
    with pytest.raises(StorageFailed):
        lease.renew()
    store.loses_answers = False
    assert two.acquire() == "one"
    one.now += 20
    lease.renew()  # finds the renewal that began at 10
    one.now += 20
    lease.check()
    lease.renew()
    one.now += LEASE - 1
    lease.check()
    assert two.acquire() == "one"


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", json.dumps({"holder": 1}).encode()])
def test_an_unreadable_lease_can_be_taken_over_after_its_duration(data, one, store, memory):
    memory[URI] = data
    assert read_lease(store, URI).holding.holder == "another process"
    assert one.acquire() == "another process"
    one.now += LEASE
    assert isinstance(one.acquire(), Lease)


def test_a_deleted_lease_is_lost(one, memory):
    lease = one.acquire()
    del memory[URI]
    lease.renew()
    with pytest.raises(Locked, match="somebody who deleted it"):
        lease.check()


def test_a_lease_is_free_at_the_end_of_the_context_that_renews_it(one, two):
    with keep_lease_renewed("memory://bucket/ws", one.acquire()):
        assert two.acquire() == "one"
    assert isinstance(two.acquire(), Lease)


def test_the_release_of_a_lease_is_not_waited_for_if_the_store_does_not_answer(one, two, store, monkeypatch):
    monkeypatch.setattr("pipeline.storage.lease.ENDING_SECONDS", 0.01)
    answers = threading.Event()
    replace = store.replace
    monkeypatch.setattr(store, "replace", lambda *arguments: answers.wait() and replace(*arguments))
    with keep_lease_renewed("memory://bucket/ws", one.acquire()):
        [renewer] = [thread for thread in threading.enumerate() if thread.name == "lock"]
    assert two.acquire() == "one"
    answers.set()
    renewer.join()
    assert isinstance(two.acquire(), Lease)
