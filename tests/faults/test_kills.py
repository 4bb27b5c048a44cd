"""SIGKILL at random times, with several processes at once on one workspace."""

import os
import random
import signal
import time
from contextlib import ExitStack, closing, suppress

import pytest

from tests.faults.fork_server import ForkServer
from tests.faults.injection import check_unchanged
from tests.faults.scenarios import artefacts, faults, recorded
from tests.helpers import backbeam

ROUNDS = 6
LOCK_OPTIONS = (("--wait", "100"), ("--wait", "100"), ("--if-locked", "skip"))


@pytest.fixture(scope="module")
def servers():
    with ExitStack() as stack:
        yield [stack.enter_context(closing(ForkServer())) for _ in LOCK_OPTIONS]


def run_arguments(workspace, source, seed):
    options = ("--dataset", source, "--num-classes", 3, "--max-rejected", 1, "--num-shards", 2)
    training = ("--num-steps", 4000, "--checkpoint-every", 1000, "--seed", seed)
    return tuple(map(str, ("run", "--workspace", workspace, *options, *training)))


@pytest.mark.slow
def test_processes_killed_at_random_times_lose_nothing(servers, scenarios, tmp_path, record_property):
    generator = random.Random(1)
    source = scenarios.source
    workspace = tmp_path / "ws"
    undisturbed = tmp_path / "undisturbed"
    start = time.monotonic()
    complete_run(servers[0], undisturbed, source, 0)
    seconds_of_run = time.monotonic() - start  # less than a run takes beside others, so that some are killed
    finished = []
    for seed in range(ROUNDS):
        before = recorded(workspace)
        arguments = run_arguments(workspace, source, seed)
        finished += run_and_kill(servers, generator, seconds_of_run, tmp_path, arguments)
        check_unchanged(before, workspace)
        assert not faults(workspace)
    num_killed = sum(one.code == -signal.SIGKILL for one in finished)
    assert {one.code for one in finished} <= {0, -signal.SIGKILL}, finished
    assert num_killed, finished
    for seed in range(ROUNDS):
        complete_run(servers[0], workspace, source, seed)
        complete_run(servers[0], undisturbed, source, seed)
    assert backbeam("verify", workspace).code == 0
    assert artefacts(workspace) == artefacts(undisturbed)
    record_property("faults injected", num_killed)


def complete_run(server, workspace, source, seed):
    finished = server.run(workspace.parent, run_arguments(workspace, source, seed))
    assert finished.code == 0, finished.err


def run_and_kill(servers, generator, max_seconds, folder, arguments):
    folders = [folder / f"process-{number}" for number in range(len(servers))]
    pids = []
    for server, own_folder, options in zip(servers, folders, LOCK_OPTIONS, strict=True):
        own_folder.mkdir(exist_ok=True)
        pids.append(server.start(own_folder, (*arguments, *options)))
    kills = sorted((generator.uniform(0, max_seconds), pid) for pid in pids)
    start = time.monotonic()
    for due, pid in kills:
        time.sleep(max(0.0, start + due - time.monotonic()))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [server.wait(own_folder, pid) for server, own_folder, pid in zip(servers, folders, pids, strict=True)]
