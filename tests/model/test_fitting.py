import itertools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from model.batches import BatchPlan, make_chunks
from model.checkpoint import name_parts, restore
from model.examples import Examples
from model.fitting import ChunkLoss, Listener, Program, Progress, Standing, fit, side_by_side
from model.lockstep import begin, compile_run
from model.network import predict
from model.reading import SplitReader
from model.recipes import RECIPES, fit_to_data, override
from model.tensor_file import decode_tensors, encode_tensors
from model.training import network_of
from tests.helpers import Digits

REPORT_EVERY = 10  # steps
WINDOW = 40 * 20  # bytes: two of the three shards of 30 examples do not fit


def reader():
    images, labels = Digits(num_train=90).split(0, 90)
    data = Examples(np.arange(90), images.reshape(90, -1), labels.astype(np.int64))

    def read_shard(number, images):
        part = data.take(np.arange(30 * number, 30 * number + 30))
        images[:] = part.images
        return part._replace(images=images)

    return SplitReader((30, 30, 30), 20, read_shard), data


def fit_from(standing, config, run_chunk, window_bytes):
    """Train to the last step; return the end, the reports, and the standing after each chunk."""
    split, data = reader()
    chunk_bytes = 7 * 4 * 20  # chunks of 5 steps: within a report and an epoch
    plan = BatchPlan(config.seed, config.batch_size, config.num_steps, REPORT_EVERY, window_bytes, chunk_bytes)
    curve, ends = [], []
    listener = Listener(lambda point, parameters: curve.append(point), ends.append)
    chunks = make_chunks(split, plan, standing.step)
    end = fit(config, Program(standing, run_chunk), chunks, data, listener, REPORT_EVERY)
    return end, curve, ends


def serialise_and_restore(standing, config):
    """The standing with a state that was encoded to bytes and decoded, as by another process."""
    data = encode_tensors({name: np.asarray(part) for name, part in name_parts(standing.state).items()}, "")
    return standing._replace(state=restore(begin(config), decode_tensors(data, "it"), "it"))


def bits(standing):
    return [np.asarray(part).tobytes() for part in tf.nest.flatten(standing.state)]


def untimed(curve):
    return [repr(point._replace(seconds=0.0)) for point in curve]


@pytest.mark.parametrize("window_bytes", [WINDOW, 2**30], ids=["windows", "whole"])
@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("article-manual", {}),
        pytest.param("article-autodiff", {}, marks=pytest.mark.thorough),
        pytest.param("modern", {"layers": (20, 8, 3)}, marks=pytest.mark.thorough),  # momentum, dropout, cosine rates
        pytest.param("nielsen-30", {"step": "compare"}, marks=pytest.mark.thorough),
    ],
)
def test_run_resumed_after_any_chunk_gives_the_same_bits(recipe, changes, window_bytes):
    own = RECIPES[recipe].config
    config = override(fit_to_data(own, 20, 3, 90), batch_size=4, num_steps=53, **changes)
    run_chunk = compile_run(config)
    end, curve, ends = fit_from(Standing(0, begin(config)), config, run_chunk, window_bytes)
    assert {5, 20, 25, 50, 53} <= {standing.step for standing in ends}  # an epoch is 22.5 steps
    assert any(standing.losses for standing in ends)
    for standing in ends:
        again, rest, _ = fit_from(serialise_and_restore(standing, config), config, run_chunk, window_bytes)
        assert bits(again) == bits(end)
        assert untimed(rest) == untimed(point for point in curve if point.step > standing.step)
    if config.momentum:
        assert any(np.any(part) for part in tf.nest.flatten(ends[0].state.velocity))


def test_failure_stops_the_other_runs_and_is_raised():
    stopped = threading.Event()

    def work(run, stop):
        if run == 1:
            raise ValueError("the reason")
        if stop.wait(30):
            stopped.set()
            raise RuntimeError("stopped")

    started = time.monotonic()
    with pytest.raises(ValueError, match="the reason"):
        side_by_side(work, [0, 1])
    assert time.monotonic() - started < 20
    assert stopped.is_set()


def record_calls(start, chunk_lengths, monkeypatch):
    """The calls of the listener for a run with losses 1, 2, 3, ... on a clock that shows 100, 101, ..."""
    clock = itertools.count(100.0)
    losses = itertools.count(1.0)
    calls = []
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    config = override(fit_to_data(RECIPES["nielsen-30"].config, 20, 3, 90), num_steps=12)
    state = begin(config)
    program = Program(start._replace(state=state), lambda state, images, labels: (state, np.float32(next(losses))))
    chunks = [(None, np.zeros((length, 10))) for length in chunk_lengths]
    _, data = reader()
    listener = Listener(lambda point, parameters: calls.append((point, parameters)), calls.append)
    end = fit(config, program, chunks, data, listener, 5)
    assert all(parameters is state.parameters for point, parameters in (call for call in calls if len(call) == 2))
    return end, [call[0] if len(call) == 2 else call._replace(state=None) for call in calls], config, state


def test_reports_and_standings_are_those_computed_by_hand(monkeypatch):
    end, calls, config, state = record_calls(Standing(0, None), (2, 3, 4, 1, 2), monkeypatch)
    outputs = network_outputs(config, state)
    correct = int((outputs.argmax(axis=1) == reader()[1].labels).sum())
    first, *others = calls
    assert first[:2] == (0, 0)
    assert math.isnan(first.loss)
    assert others == [
        Standing(2, None, (ChunkLoss(1.0, 2),), 2.0),
        Progress(5, 50, (1 * 2 + 2 * 3) / 5, correct, 90, 3.0),
        Standing(5, None, (), 4.0),
        Standing(9, None, (ChunkLoss(3.0, 4),), 5.0),
        Progress(10, 100, (3 * 4 + 4) / 5, correct, 90, 6.0),
        Standing(10, None, (), 7.0),
        Progress(12, 120, 5.0, correct, 90, 8.0),
        Standing(12, None, (), 9.0),
    ]
    assert end._replace(state=None) == others[-1]


def network_outputs(config, state):
    return predict(network_of(config), state.parameters, reader()[1].images).numpy()


def test_resumed_run_keeps_its_losses_and_seconds(monkeypatch):
    start = Standing(9, None, (ChunkLoss(7.0, 4),), 1000.0)
    _, calls, *_ = record_calls(start, (1, 2), monkeypatch)
    assert [(call.step, call.seconds) for call in calls] == [(10, 1001.0), (10, 1002.0), (12, 1003.0), (12, 1004.0)]
    assert calls[0].loss == (7 * 4 + 1) / 5


def test_waiting_runs_do_not_start_after_a_failure(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", {0: {0}}.get)
    started = []

    def work(run, stop):
        started.append(run)
        if run == 1:
            raise ValueError("the reason")
        time.sleep(0.05 * run)

    with pytest.raises(ValueError, match="the reason"):
        side_by_side(work, range(40))
    assert started[:2] == [0, 1]
    assert len(started) <= 3  # the next may start before the failure is noticed


def test_threads_are_limited_by_cores_and_by_runs(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", {0: {0, 1, 2}}.get)
    sizes = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, size):
            sizes.append(size)
            super().__init__(size)

    monkeypatch.setattr("model.fitting.ThreadPoolExecutor", Pool)
    side_by_side(lambda run, stop: None, range(2))
    side_by_side(lambda run, stop: None, range(9))
    assert sizes == [2, 3]
