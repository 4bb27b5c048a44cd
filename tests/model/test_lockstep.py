import numpy as np
import pytest
import tensorflow as tf

from model import gradients
from model.lockstep import Lockstep, agreement, begin, compare_steps, compile_run, update_both
from model.network import Layer
from model.recipes import RECIPES, fit_to_data, override
from model.training import compile_chunk, start_state
from tests.helpers import Digits


def batches():
    images, labels = Digits(num_train=60).split(0, 60)
    return images.reshape(6, 10, 20), labels.reshape(6, 10).astype(np.int32)


def config(step):
    return override(fit_to_data(RECIPES["nielsen-30"].config, 20, 3, 60), step=step, num_steps=6)


def test_each_network_is_trained_by_its_own_gradients():
    state, loss = compile_run(config("compare"))(begin(config("compare")), *batches())
    for step, network in (("manual", state.manual), ("autodiff", state.autodiff)):
        alone, _ = compile_chunk(config(step))(start_state(config(step)), *batches())
        for x, y in zip(tf.nest.flatten(network), tf.nest.flatten(alone), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    assert 0 < float(loss) < 2
    result = agreement(6, state)
    assert result.step == 6
    assert result.largest_difference < 1e-5
    assert result.drift < 1e-4 < result.largest_parameter


def scale_manual(network, parameters, x, y, masks=None):
    right = gradients.manual(network, parameters, x, y, masks)
    return right._replace(layers=tf.nest.map_structure(lambda g: 1.01 * g, right.layers))


def test_wrong_step_shows_in_every_chunk(monkeypatch):
    monkeypatch.setitem(gradients.STEPS, "manual", scale_manual)
    run_chunk = compile_run(config("compare"))
    state, _ = run_chunk(begin(config("compare")), *batches())
    assert agreement(6, state).largest_difference > 1e-4
    after, _ = run_chunk(state._replace(difference=tf.constant(1e9)), *batches())
    assert float(after.difference) < 1  # of this chunk only, not of the run


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_steps_from_trained_parameters_are_compared(recipe, monkeypatch):
    images, labels = (values[0] for values in batches())
    settings = override(fit_to_data(RECIPES[recipe].config, 20, 3, 60), num_steps=6)
    parameters = start_state(settings).parameters
    result = compare_steps(settings, parameters, images, labels)
    assert (result.step, result.drift) == (6, None)
    assert result.largest_difference < 1e-12
    largest = max(abs(part.numpy()).max() for part in tf.nest.flatten(parameters))
    assert result.largest_parameter == largest

    monkeypatch.setitem(gradients.STEPS, "manual", scale_manual)
    assert compare_steps(settings, parameters, images, labels).largest_difference > 1e-6


def layers(*numbers):
    return tuple(Layer(tf.constant([[number]]), tf.constant([0.0])) for number in numbers)


def test_differences_are_absolute_and_the_largest_of_all_layers():
    state = start_state(config("compare"))
    manual = state._replace(parameters=layers(0.5, -2.0, 1.0))
    autodiff = state._replace(parameters=layers(0.5, -1.75, 0.875))
    result = agreement(7, Lockstep(manual, autodiff, tf.constant(0.125)))
    assert result == (7, 0.125, 0.25, 2.0)
    assert Lockstep(manual, autodiff, tf.constant(0.0)).parameters is manual.parameters


def test_largest_difference_and_nan_are_kept_over_a_chunk():
    images, labels = (values[0] for values in batches())
    both = begin(config("compare"))
    assert float(both.difference) == 0
    kept, _ = update_both(config("compare"), both._replace(difference=tf.constant(0.5)), images, labels)
    assert float(kept.difference) == 0.5
    for earlier in (np.nan, np.inf):
        lost, _ = update_both(config("compare"), both._replace(difference=tf.constant(earlier)), images, labels)
        assert np.isnan(lost.difference)
    broken = both.manual._replace(parameters=tf.nest.map_structure(lambda part: part * np.nan, both.manual.parameters))
    latest, _ = update_both(config("compare"), both._replace(manual=broken), images, labels)
    assert np.isnan(latest.difference)


def test_both_networks_begin_with_the_parameters_of_a_warm_start():
    warm_start = start_state(override(config("manual"), seed=9)).parameters
    for state in (begin(config("manual"), warm_start), *begin(config("compare"), warm_start)[:2]):
        for part, expected in zip(tf.nest.flatten(state.parameters), tf.nest.flatten(warm_start), strict=True):
            np.testing.assert_array_equal(part, expected)
