import contextlib
import json
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.cluster import Cluster, check_cluster, meet, read_cluster
from model.errors import BackbeamError, BadUsage, EngineFailed
from model.recipes import RECIPES, override
from tests.helpers import free_addresses

TWO = {"worker": ["127.0.0.1:2301", "127.0.0.1:2302"]}


def read(cluster=None, **task):
    return read_cluster({"TF_CONFIG": json.dumps({"cluster": cluster or TWO} | ({"task": task} if task else {}))})


def test_the_tasks_are_numbered_as_tensorflow_does():
    assert read(type="worker", index=1) == Cluster(("127.0.0.1:2301", "127.0.0.1:2302"), 1)
    assert read(type="worker", index=0).is_chief
    named = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    assert read(named, type="worker", index=1) == Cluster(("a:1", "b:1", "c:1"), 2)
    assert read(named, type="chief", index=0).is_chief


@pytest.mark.parametrize(
    "text", ["", " ", "{}", '{"task": {"type": "worker", "index": 0}}', '{"environment": "cloud"}']
)
def test_no_cluster(text):
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
def test_what_is_refused(text, message):
    with pytest.raises(BadUsage, match=f"TF_CONFIG: .*({message}).*it reads, for example"):
        read_cluster({"TF_CONFIG": text if isinstance(text, str) else json.dumps(text)})


@given(st.text(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(BadUsage):
        read_cluster({"TF_CONFIG": text})


def test_a_worker_for_each_replica():
    article = RECIPES["article-manual"].config
    check_cluster(None, article)
    check_cluster(Cluster(("a:1", "b:1"), 0), override(article, num_replicas=2))
    with pytest.raises(BadUsage, match="names 2 workers but num_replicas is 1: give every worker --replicas 2"):
        check_cluster(Cluster(("a:1", "b:1"), 0), article)


def meet_all(identities, seconds=20.0, before=None):
    """Let as many tasks as there are identities meet; return what each raised."""
    addresses, ends = free_addresses(len(identities)), [None] * len(identities)

    def attend(task):
        try:
            meet(Cluster(addresses, task), identities[task], seconds)
        except BackbeamError as problem:
            ends[task] = problem

    threads = [threading.Thread(target=attend, args=[task]) for task in range(len(identities))]
    threads[0].start()
    if before:
        before(addresses[0])
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return ends


def test_all_meet():
    assert meet_all(["run"] * 3) == [None] * 3


def test_strangers_do_not_count():
    def interfere(address):
        host, _, port = address.rpartition(":")
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"task": 0}\n', b'{"task": 9}\n', b'{"task": []}\n'):
            with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), 10) as connection:
                connection.sendall(said)

    assert meet_all(["run"] * 2, before=interfere) == [None] * 2


def test_all_hear_of_a_worker_that_means_another_run():
    ends = meet_all(["run-a", "run-b"])
    assert all(isinstance(end, BadUsage) and "run-a but task 1 would train run-b" in str(end) for end in ends)


@pytest.mark.parametrize("task", [0, 1])
def test_nobody_waits_for_ever(task):
    addresses = free_addresses(2)
    with pytest.raises(EngineFailed, match=rf"did not meet at {addresses[0]} within 0.3 s"):
        meet(Cluster(addresses, task), "run", 0.3)
