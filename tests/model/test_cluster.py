import contextlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from model.cluster import Cluster, check_cluster, meet, read_cluster
from model.errors import BadUsage, CorruptArtefact, EngineFailed
from model.recipes import RECIPES, override
from tests.helpers import free_addresses

TWO = {"worker": ["127.0.0.1:2301", "127.0.0.1:2302"]}


def read(cluster=None, **task):
    return read_cluster({"TF_CONFIG": json.dumps({"cluster": cluster or TWO} | ({"task": task} if task else {}))})


def test_tasks_are_numbered_as_in_tensorflow():
    assert read(type="worker", index=1) == Cluster(("127.0.0.1:2301", "127.0.0.1:2302"), 1)
    assert read(type="worker", index=0).is_chief
    named = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    assert read(named, type="worker", index=1) == Cluster(("a:1", "b:1", "c:1"), 2)
    assert read(named, type="chief", index=0).is_chief


@pytest.mark.parametrize(
    "text", ["", " ", "{}", '{"task": {"type": "worker", "index": 0}}', '{"environment": "cloud"}']
)
def test_tf_config_without_other_processes_is_no_cluster(text):
    assert read_cluster({"TF_CONFIG": text}) is None
    assert read_cluster({}) is None
    assert read({"chief": ["a:1"]}, type="chief", index=0) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "valid dict|object"),
        ({"cluster": TWO}, "the task is missing"),
        ({"cluster": TWO, "task": {"type": "worker"}}, "task.index: Field required"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "worker 2 is not one of the cluster"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, "task.index"),
        ({"cluster": TWO, "task": {"type": "chief", "index": 0}}, "chief 0 is not one of the cluster"),
        ({"cluster": TWO | {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}, "the job 'ps' is not supported"),
        ({"cluster": TWO | {"evaluator": ["a:1"]}, "task": {"type": "worker", "index": 0}}, "'evaluator'"),
        ({"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}, "cluster.worker"),
        ({"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}, "cluster.worker.0"),
        ({"cluster": {"worker": ["a:1", "a:99999"]}, "task": {"type": "worker", "index": 0}}, "port is above"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}, "the same address"),
        ({"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}, "more than one chief"),
    ],
)
def test_invalid_tf_config_is_rejected(text, message):
    with pytest.raises(BadUsage, match=f"TF_CONFIG: .*({message}).*it reads, for example"):
        read_cluster({"TF_CONFIG": text if isinstance(text, str) else json.dumps(text)})


def test_number_of_workers_must_be_num_replicas():
    article = RECIPES["article-manual"].config
    check_cluster(None, article)
    check_cluster(Cluster(("a:1", "b:1"), 0), override(article, num_replicas=2))
    with pytest.raises(BadUsage, match="names 2 workers but num_replicas is 1: give every worker --replicas 2"):
        check_cluster(Cluster(("a:1", "b:1"), 0), article)


POOL = ThreadPoolExecutor(3)


def start_meeting(addresses, task, seconds=20.0, identity="run", damage=None):
    """Run `meet` for one task in a thread; return its future."""
    return POOL.submit(meet, Cluster(addresses, task), identity, seconds, damage)


def say_hello(address, task):
    """Connect to the chief as a worker does, once it listens; return the connection."""
    host, _, port = address.rpartition(":")
    for _ in range(1000):
        with contextlib.suppress(ConnectionRefusedError):
            connection = socket.create_connection((host, int(port)), 10)
            connection.sendall(json.dumps({"task": task, "identity": "run"}).encode() + b"\n")
            return connection
        time.sleep(0.01)
    raise AssertionError("the chief does not listen")


def ends_of(futures):
    """Return what each task raises, None where it goes on."""
    return [future.exception(60) for future in futures]


def test_worker_that_dies_while_waiting_is_replaced():
    addresses = free_addresses(3)
    chief = start_meeting(addresses, 0)
    say_hello(addresses[0], 1).close()
    others = [start_meeting(addresses, task) for task in (1, 2)]  # the first of them is task 1, started again
    assert ends_of([chief, *others]) == [None] * 3


def test_no_worker_starts_while_one_is_dead():
    """Task 1 has died while the chief waits for task 2: neither the chief nor task 2 may start."""
    addresses = free_addresses(3)
    chief = start_meeting(addresses, 0, seconds=1.5)
    say_hello(addresses[0], 1).close()
    third = start_meeting(addresses, 2, seconds=1.5)
    ends = ends_of([chief, third])
    assert all(isinstance(end, EngineFailed) for end in ends), ends
    assert f"no word from {addresses[1]} (task 1)" in str(ends[0])


def test_worker_that_dies_when_asked_is_replaced():
    addresses = free_addresses(3)
    chief = start_meeting(addresses, 0)
    with say_hello(addresses[0], 1) as connection:
        third = start_meeting(addresses, 2)
        assert json.loads(connection.recv(100)) == {
            "ready": True
        }  # all have connected; then it dies instead of answering
    again = start_meeting(addresses, 1)
    assert ends_of([chief, again, third]) == [None] * 3


def test_worker_that_does_not_answer_is_replaced(monkeypatch):
    monkeypatch.setattr("model.cluster._ANSWER_SECONDS", 0.5)
    addresses = free_addresses(2)
    chief = start_meeting(addresses, 0)
    with say_hello(addresses[0], 1):  # a process that hangs: it stays connected and sends nothing
        again = start_meeting(addresses, 1)
        assert ends_of([chief, again]) == [None] * 2


def test_second_process_of_a_task_does_not_replace_the_first():
    addresses = free_addresses(3)
    chief = start_meeting(addresses, 0)
    with say_hello(addresses[0], 1) as first:
        with say_hello(addresses[0], 1) as second:
            assert second.recv(100) == b""  # disconnected
        third = start_meeting(addresses, 2)
        assert json.loads(first.recv(100)) == {"ready": True}
        first.sendall(b'{"ready": true}\n')
        assert json.loads(first.recv(100)) == {"go": True}
    assert ends_of([chief, third]) == [None] * 2


def test_connections_that_are_no_workers_are_ignored():
    addresses = free_addresses(2)
    chief = start_meeting(addresses, 0)
    say_hello(addresses[0], 1).close()  # so that the chief listens
    host, _, port = addresses[0].rpartition(":")
    for message in (b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"task": 0}\n', b'{"task": 9}\n', b'{"task": []}\n'):
        with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(message)
    assert ends_of([chief, start_meeting(addresses, 1)]) == [None] * 2


def test_worker_of_another_run_is_an_error_for_all():
    addresses = free_addresses(2)
    ends = ends_of([start_meeting(addresses, task, identity=f"run-{task}") for task in range(2)])
    assert all(isinstance(end, BadUsage) and "run-0 but task 1 would train run-1" in str(end) for end in ends)


@pytest.mark.parametrize("damaged", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_damage_that_one_finds_is_the_same_error_for_all(damaged):
    addresses = free_addresses(3)
    damages = [(f"{'x' * 5000}/shard-{task} is corrupt; repair it", "repair it") for task in range(3)]
    ends = ends_of(
        [start_meeting(addresses, task, damage=damages[task] if task in damaged else None) for task in range(3)]
    )
    first = damages[damaged[0]]
    assert [(type(end), str(end), end.hint) for end in ends] == [(CorruptArtefact, *first)] * 3


@pytest.mark.parametrize("task", [0, 1])
def test_waiting_ends_after_the_timeout(task):
    addresses = free_addresses(2)
    with pytest.raises(EngineFailed, match=rf"did not meet at {addresses[0]} within 0.3 s"):
        meet(Cluster(addresses, task), "run", 0.3)
