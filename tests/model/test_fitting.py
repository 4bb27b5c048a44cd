import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from model.batches import Plan, SplitReader, make_chunks
from model.checkpoint import decode_tensors, encode_tensors, name_parts, restore
from model.examples import Examples
from model.fitting import Listener, Program, Standing, fit, side_by_side
from model.lockstep import begin, compile_run
from model.recipes import RECIPES, fit_to_data, override
from tests.helpers import Digits

REPORT_EVERY, WINDOW = 10, 40 * 20  # steps; bytes: two of the three shards of 30 examples do not fit


def reader():
    images, labels = Digits(num_train=90).split(0, 90)
    data = Examples(np.arange(90), images.reshape(90, -1), labels.astype(np.int64))

    def read_shard(number, images):
        part = data.take(np.arange(30 * number, 30 * number + 30))
        images[:] = part.images
        return part._replace(images=images)

    return SplitReader((30, 30, 30), 20, read_shard), data


def fit_from(standing, config, run_chunk, window_bytes):
    """Train to the end; return where it ended, the reports, and where each chunk did."""
    split, data = reader()
    plan = Plan(config.seed, config.batch_size, config.num_steps, REPORT_EVERY, window_bytes)
    curve, ends = [], []
    listener = Listener(lambda point, parameters: curve.append(point), ends.append)
    chunks = make_chunks(split, plan, standing.step)
    end = fit(config, Program(standing, run_chunk), chunks, data, listener, REPORT_EVERY)
    return end, curve, ends


def through_a_file(standing, config):
    """The standing, as another process reads it: from bytes, into a state of its own."""
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
        pytest.param("article-autodiff", {}, marks=pytest.mark.slow),
        pytest.param("modern", {"step": "manual"}, marks=pytest.mark.slow),  # momentum, dropout, cosine rates
        pytest.param("modern", {"step": "autodiff"}, marks=pytest.mark.slow),
        pytest.param("nielsen-30", {"step": "compare"}, marks=pytest.mark.slow),
    ],
)
def test_from_every_chunk_on_it_goes_on_as_if_it_had_not_stopped(recipe, changes, window_bytes, monkeypatch):
    monkeypatch.setattr("model.batches.CHUNK_BYTES", 7 * 4 * 20)  # chunks of 5 steps: within a report and an epoch
    own = RECIPES[recipe].config
    config = override(fit_to_data(own, 20, 3, 90), batch_size=4, num_steps=53, **changes)
    run_chunk = compile_run(config)
    end, curve, ends = fit_from(Standing(0, begin(config)), config, run_chunk, window_bytes)
    assert {5, 20, 25, 50, 53} <= {standing.step for standing in ends}  # an epoch is 22.5 steps
    assert any(standing.losses for standing in ends)
    for standing in ends:
        again, rest, _ = fit_from(through_a_file(standing, config), config, compile_run(config), window_bytes)
        assert bits(again) == bits(end)
        assert untimed(rest) == untimed(point for point in curve if point.step > standing.step)
    if config.momentum:
        assert any(np.any(part) for part in tf.nest.flatten(ends[0].state.velocity))


def test_the_time_goes_on():
    config = override(fit_to_data(RECIPES["nielsen-30"].config, 20, 3, 90), num_steps=20)
    start = Standing(0, begin(config))._replace(seconds=1000.0)
    end, curve, ends = fit_from(start, config, compile_run(config), 2**30)
    assert all(each.seconds >= 1000.0 for each in (end, *curve, *ends))


def test_every_run_is_worked_on():
    done = []
    side_by_side(lambda run, stop: done.append(run), range(7))
    assert sorted(done) == list(range(7))


def test_a_failure_stops_the_others_and_is_what_is_raised():
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
