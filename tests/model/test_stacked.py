"""Several networks as one program: each learns what it learns alone."""

import threading
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from model.fitting import TrainingStopped, side_by_side
from model.recipes import RECIPES, fit_to_data, override
from model.stacked import Stack, compile_stack, update_all
from model.training import compile_chunk, start_state, update
from tests.helpers import Digits

NUM_STEPS = 40
BATCH = 12
MODERN = {"layers": (20, 17, 9, 3), "weight_decay": 1e-3, "dropout": 0.2}  # momentum and cosine rates too


def config(recipe="modern", **changes):
    fitted = fit_to_data(RECIPES[recipe].config, 20, 3, 90)
    own = MODERN if recipe == "modern" else {}
    return override(fitted, **({"num_steps": NUM_STEPS, "batch_size": BATCH, "stack": 4} | own | changes))


def chunk_of(seed, num_steps=NUM_STEPS):
    """The batches of a seed: others for each."""
    images, labels = Digits(num_train=480).split(0, 480)
    order = np.random.default_rng(seed).permutation(480)
    images, labels = images.reshape(480, 20)[order], labels[order].astype(np.int32)
    return tf.constant(images.reshape(-1, BATCH, 20)[:num_steps]), tf.constant(labels.reshape(-1, BATCH)[:num_steps])


def bits(result):
    return [np.asarray(part).tobytes() for part in tf.nest.flatten(result)]


def train_stacked(settings, seeds, run_stack):
    """The state after the last step and the loss of each seed."""
    states = [start_state(override(settings, seed=seed)) for seed in seeds]
    images, labels = zip(*map(chunk_of, seeds), strict=True)
    return list(zip(*run_stack(states, list(images), list(labels)), strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        config(),
        config("article-manual"),
        pytest.param(config("article-autodiff"), marks=pytest.mark.thorough),
        pytest.param(config(step="autodiff"), marks=pytest.mark.thorough),
    ],
    ids=lambda settings: f"{settings.recipe}-{settings.step}",
)
def test_bits_of_a_network_do_not_depend_on_the_others(settings):
    run_stack = compile_stack(settings)
    together = train_stacked(settings, (1, 2, 3, 4), run_stack)
    assert bits(train_stacked(settings, (3, 3, 3, 3), run_stack)[0]) == bits(together[2])
    assert bits(train_stacked(settings, (3, 4, 2, 1), run_stack)) == bits([together[seed - 1] for seed in (3, 4, 2, 1)])
    run_chunk = compile_chunk(settings)
    for seed, (state, loss) in enumerate(together, 1):
        alone = run_chunk(start_state(override(settings, seed=seed)), *chunk_of(seed))
        for ours, theirs in zip(tf.nest.flatten((state, loss)), tf.nest.flatten(alone), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("step", ["manual", "autodiff"])
def test_stacked_networks_equal_those_alone_in_float64(step):
    """Not compiled by XLA, so that products of stacked matrices are computed by another kernel than those alone."""
    settings = config(step=step)
    together, one = (tf.function(partial(each, settings), autograph=False) for each in (update_all, update))
    alone = [start_state(override(settings, seed=seed), tf.float64) for seed in range(4)]
    stacked = tf.nest.map_structure(lambda *parts: tf.stack(parts), *alone)
    images, labels = (tf.stack(parts, axis=1) for parts in zip(*map(chunk_of, range(4)), strict=True))
    for x, y in zip(images, labels, strict=True):
        stacked, losses = together(stacked, x, y)
        alone, losses_alone = zip(*map(one, alone, x, y), strict=True)
    expected = tf.nest.map_structure(lambda *parts: tf.stack(parts), *alone)
    np.testing.assert_allclose(losses, losses_alone, rtol=1e-12)
    for ours, theirs in zip(tf.nest.flatten(stacked), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def add_one(states, images, labels):
    """Stand for a program of three places."""
    assert len(states) == len(images) == len(labels) == 3
    return [state + image for state, image in zip(states, images, strict=True)], [-label for label in labels]


def test_runs_of_a_stack_meet_at_every_chunk_and_copies_fill_it():
    seen = []

    def run_stack(states, images, labels):
        seen.append(states)
        return add_one(states, images, labels)

    stack = Stack(run_stack, 3, 2)
    ends = {}

    def work(seed, stop):
        run_chunk = stack.join(seed, stop)
        state = seed
        for _ in range(50):
            state, loss = run_chunk(state, 10, seed)
            assert loss == -seed
        ends[seed] = state

    side_by_side(work, [7, 5], 2)
    assert seen == [[5 + 10 * i, 7 + 10 * i, 7 + 10 * i] for i in range(50)]
    assert ends == {5: 505, 7: 507}


def test_runs_that_wait_end_when_another_fails():
    stack = Stack(add_one, 3, 3)
    waiting = threading.Barrier(3)
    ended = []

    def work(seed, stop):
        waiting.wait(30)
        if seed == 2:
            raise ValueError("the reason")
        try:
            stack.join(seed, stop)(0, 0, 0)
        except TrainingStopped:
            ended.append(seed)
            raise

    with pytest.raises(ValueError, match="the reason"):
        side_by_side(work, [1, 2, 3], 3)
    assert sorted(ended) == [1, 3]


def test_runs_that_are_stopped_end_at_the_same_step():
    calls = []
    stop = threading.Event()

    def run_stack(states, images, labels):
        calls.append(states)
        if len(calls) == 7:
            stop.set()  # while the others wait
        return add_one(states, images, labels)

    stack = Stack(run_stack, 3, 3)
    states = {1: 0, 2: 0, 3: 0}

    def work(seed, _):
        run_chunk = stack.join(seed, stop)
        for _ in range(50):
            states[seed], _ = run_chunk(states[seed], 1, 0)

    with pytest.raises(TrainingStopped):
        side_by_side(work, list(states), 3)
    assert states == {1: 7, 2: 7, 3: 7}


def test_failure_of_the_program_is_raised():
    def run_stack(states, images, labels):
        raise MemoryError("too many")

    stack = Stack(run_stack, 2, 2)
    with pytest.raises(MemoryError, match="too many"):
        side_by_side(lambda seed, stop: stack.join(seed, stop)(0, 0, 0), [1, 2], 2)
