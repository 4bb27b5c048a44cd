import math
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from model.examples import Examples
from model.network import initialise
from model.recipes import RECIPES, TrainingConfig, fit_to_data, override
from model.training import (
    SCHEDULES,
    batch_gradients,
    compile_chunk,
    draw_masks,
    draw_uint16,
    dropout_key,
    start_state,
    update,
)
from tests.helpers import Digits


def examples():
    images, labels = Digits(num_train=90).split(0, 90)
    return Examples(np.arange(90), images.reshape(90, -1), labels.astype(np.int64))


def config(**changes):
    return override(fit_to_data(RECIPES["article-manual"].config, 20, 3, 90), **({"num_steps": 120} | changes))


def flat(parameters):
    return np.concatenate([np.ravel(part) for layer in parameters for part in layer])


MODERN = {"activation": "relu", "output": "softmax", "loss": "cross-entropy", "start": "he"}
MODERN |= {"layers": (20, 70, 9, 3), "momentum": 0.9, "weight_decay": 1e-3, "schedule": "cosine"}
MODERN |= {"weights_rate": 0.1, "biases_rate": 0.1}


@pytest.mark.parametrize(
    ("step", "changes"), [("autodiff", {}), ("autodiff", MODERN | {"dropout": 0.2}), ("manual", MODERN)]
)
def test_chunk_equals_its_single_steps(step, changes):
    settings, data = config(step=step, **changes), examples()
    images, labels = data.images[:60].reshape(6, 10, 20), data.labels[:60].reshape(6, 10).astype(np.int32)
    together, mean_loss = compile_chunk(settings)(start_state(settings), images, labels)
    singly, losses = start_state(settings), []
    for x, y in zip(images, labels, strict=True):
        singly, loss = update(settings, singly, x, y)
        losses.append(loss)
    assert int(together.step) == int(singly.step) == 6
    np.testing.assert_allclose(flat(together.parameters), flat(singly.parameters), rtol=1e-5, atol=1e-5)
    if settings.momentum:
        np.testing.assert_allclose(flat(together.velocity), flat(singly.velocity), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mean_loss, np.mean(losses), rtol=1e-5)


def test_momentum_decay_and_cosine_equal_the_equations():
    """Steps of v <- m v - rate (g + d w), w <- w + v, with the rate's factor (1 + cos(pi k / n)) / 2; biases: d = 0."""
    settings, data = config(**MODERN | {"biases_rate": 0.7, "num_steps": 4}), examples()
    state, velocity = start_state(settings, tf.float64), [[0.0, 0.0]] * 3
    for k in range(4):
        images, labels = data.images[10 * k : 10 * k + 10], data.labels[10 * k : 10 * k + 10]
        gradients = batch_gradients(settings, state, images, labels).layers
        before, factor = state.parameters, (1 + math.cos(math.pi * k / 4)) / 2
        velocity = [
            (
                0.9 * v_weights - 0.1 * factor * (g.weights.numpy() + 1e-3 * p.weights.numpy()),
                0.9 * v_biases - 0.7 * factor * g.biases.numpy(),
            )
            for (v_weights, v_biases), g, p in zip(velocity, gradients, before, strict=True)
        ]
        state, _ = update(settings, state, images, labels)
        for p, v, after in zip(before, velocity, state.parameters, strict=True):
            np.testing.assert_allclose(after.weights, p.weights.numpy() + v[0], rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(after.biases, p.biases.numpy() + v[1], rtol=1e-12, atol=1e-15)


def test_dropout_masks_are_a_pure_function_of_seed_and_step():
    settings = config(dropout=0.3, layers=(20, 400, 300, 3))

    def masks(step, settings=settings):
        key = dropout_key(settings.seed)
        return [m.numpy() for m in draw_masks(settings, key, tf.constant(step), 50, tf.float32)]

    first, second = masks(7)
    assert (first.shape, second.shape) == ((50, 400), (50, 300))
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / (1 - 19_661 / 65_536))}  # 0.3 in 65,536ths
    assert first.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(first, masks(7)[0])
    others = (first[:, :300], masks(8)[0][:, :300], masks(7, override(settings, seed=2))[0][:, :300])
    assert all(abs(np.corrcoef(other.ravel(), second.ravel())[0, 1]) < 0.03 for other in others)
    assert draw_masks(config(), dropout_key(1), tf.constant(7), 50, tf.float32) is None


def test_position_in_the_dropout_stream_does_not_overflow():
    settings = config(dropout=0.5, layers=(20, 16, 16, 16, 3))
    key = dropout_key(1)
    last = draw_masks(settings, key, tf.constant(2**31 - 1), 4, tf.float32)[2]
    drawn = draw_uint16((4, 16), tf.stack([key, (2**31 - 1) * 3 + 2]))
    np.testing.assert_array_equal(last, 2.0 * (drawn.numpy() >= 2**15))


def test_one_compiled_program_serves_every_seed():
    settings, data = config(dropout=0.5), examples()
    images, labels = data.images[:20].reshape(2, 10, 20), data.labels[:20].reshape(2, 10).astype(np.int32)
    run_chunk = compile_chunk(settings)
    start = start_state(settings)
    first, other = (
        run_chunk(start._replace(dropout_key=dropout_key(seed)), images, labels)[0].parameters for seed in (1, 2)
    )
    assert run_chunk.experimental_get_tracing_count() == 1
    assert not np.array_equal(flat(first), flat(other))


@pytest.mark.parametrize(
    ("start", "weights_std", "biases_std"),
    [("truncated-normal", 0.8796, 0.8796), ("normal", 1, 1), ("scaled", 1 / 40, 1), ("he", (2 / 1600) ** 0.5, 0)],
)
def test_starts_have_the_documented_standard_deviations(start, weights_std, biases_std):
    layer = initialise((1600, 1500, 3), 1, start)[0]
    assert np.std(layer.weights) == pytest.approx(weights_std, rel=0.01)
    assert np.std(layer.biases) == pytest.approx(biases_std, rel=0.06)
    assert start != "truncated-normal" or abs(layer.weights.numpy()).max() <= 2


def test_last_step_that_int32_holds_is_trained():
    settings, data = config(num_steps=2**31 - 1, schedule="cosine", batch_size=10), examples()
    state = start_state(settings)._replace(step=tf.constant(2**31 - 2))
    after, _ = update(settings, state, data.images[:10], data.labels[:10])
    assert int(after.step) == 2**31 - 1
    np.testing.assert_allclose(flat(after.parameters), flat(state.parameters), rtol=0, atol=1e-6)  # the rates are 0


def test_schedules_of_a_configuration_are_those_that_are_defined():
    assert set(get_args(TrainingConfig.model_fields["schedule"].annotation)) == set(SCHEDULES)
