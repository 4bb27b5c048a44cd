"""kill -9 at random times, with several processes at once on one workspace."""

import os
import random
import signal
import time
from contextlib import ExitStack, closing, suppress

import pytest

from tests.faults.injection import check_kept
from tests.faults.worlds import artefacts, faults, recorded
from tests.faults.zygote import Zygote
from tests.helpers import backbeam

ROUNDS = 6
LOCKED = (("--wait", "100"), ("--wait", "100"), ("--if-locked", "skip"))


@pytest.fixture(scope="module")
def several():
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Zygote())) for _ in range(len(LOCKED))]


def whole_run(workspace, source, seed):
    options = ("--dataset", source, "--num-classes", 3, "--max-rejected", 1, "--num-shards", 2)
    training = ("--num-steps", 4000, "--checkpoint-every", 1000, "--seed", seed)
    return tuple(map(str, ("run", "--workspace", workspace, *options, *training)))


@pytest.mark.slow
def test_killed_at_random_times_under_load(several, worlds, tmp_path, record_property):
    chosen, source, ended = random.Random(1), worlds.source, []
    workspace, undisturbed = tmp_path / "ws", tmp_path / "undisturbed"
    begun = time.monotonic()
    finish(several[0], undisturbed, source, 0)
    most_seconds = time.monotonic() - begun  # several at once take longer
    for seed in range(ROUNDS):
        before = recorded(workspace)
        ended += one_round(several, chosen, most_seconds, workspace, (source, seed))
        check_kept(before, workspace)
        assert not faults(workspace)
    killed = sum(code == -signal.SIGKILL for code, _ in ended)
    assert {code for code, _ in ended} <= {0, -signal.SIGKILL}, ended
    assert killed, ended
    for seed in range(ROUNDS):
        for place in (workspace, undisturbed):
            finish(several[0], place, source, seed)
    assert backbeam("verify", workspace).code == 0
    assert artefacts(workspace) == artefacts(undisturbed)
    record_property("faults injected", killed)


def finish(zygote, workspace, source, seed):
    done = zygote.run(workspace.parent, whole_run(workspace, source, seed))
    assert done.code == 0, done.err


def one_round(zygotes, chosen, most_seconds, workspace, work):
    """Start several commands and kill each at a time of its own, unless it ends before; return how each ended."""
    places = [workspace.parent / f"process-{number}" for number in range(len(zygotes))]
    started = []
    for zygote, place, locked in zip(zygotes, places, LOCKED, strict=True):
        place.mkdir(exist_ok=True)
        arguments = (*whole_run(workspace, *work), *locked)
        started.append(zygote.start(place, arguments))
    kills = sorted((chosen.uniform(0, most_seconds), pid) for pid in started)
    begun = time.monotonic()
    for due, pid in kills:
        time.sleep(max(0.0, begun + due - time.monotonic()))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [
        (ended.code, ended.err)
        for zygote, place, pid in zip(zygotes, places, started, strict=True)
        for ended in [zygote.wait(place, pid)]
    ]
