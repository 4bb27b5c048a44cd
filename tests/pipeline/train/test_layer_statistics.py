"""The statistics of layers against the same computed otherwise, and the table of a run."""

import numpy as np
import pytest
import tensorflow as tf

from model.examples import Examples
from model.network import initialise, scale
from model.recipes import RECIPES, fit_to_data, override
from model.training import network_of
from pipeline.evaluate.table_reader import read_rows
from pipeline.train.layer_statistics import MOST_MEASURED, QUANTILES, LayerMeter, find_quantiles
from pipeline.train.run_lookup import find_model

LAYERS = (20, 6, 5, 3)
RANDOM = np.random.default_rng(3)
IMAGES = RANDOM.integers(0, 256, (130, 20)).astype(np.uint8)
LABELS = RANDOM.integers(0, 3, 130)
SAMPLE = Examples(np.arange(130), IMAGES, LABELS)


def make_config(**changes):
    return override(fit_to_data(RECIPES["article-manual"].config, 20, 3, 60), layers=LAYERS, num_steps=250, **changes)


def differentiate(config, parameters):
    """The weighted inputs of each layer, and the gradients of the weights by TensorFlow."""
    network = network_of(config)
    y = tf.one_hot(LABELS[:MOST_MEASURED], 3)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        passed_on = scale(tf.constant(IMAGES[:MOST_MEASURED]))
        inputs = []
        for layer in parameters:
            inputs.append(passed_on @ tf.transpose(layer.weights) + layer.biases)
            passed_on = network.hidden.value(inputs[-1])
        loss = tf.reduce_mean(network.output.loss(inputs[-1], y))
    return inputs, tape.gradient(loss, [layer.weights for layer in parameters])


@pytest.mark.parametrize(
    "changes",
    [{}, {"activation": "relu", "output": "softmax", "loss": "cross-entropy", "dropout": 0.5}, {"activation": "tanh"}],
)
def test_rows_equal_those_that_tensorflow_differentiates(changes):
    config = make_config(**changes)
    parameters = initialise(LAYERS, 1)
    rows = list(LayerMeter(config, SAMPLE, 100).measure(7, parameters))
    assert [(row.step, row.layer, row.num_examples, row.num_units) for row in rows] == [
        *((7, 1, 100, 6), (7, 2, 100, 5), (7, 3, 100, 3))
    ]
    network = network_of(config)
    inputs, gradients = differentiate(config, parameters)
    for row, layer, z, gradient in zip(rows, parameters, inputs, gradients, strict=True):
        value = network.output.value if row.layer == 3 else network.hidden.value
        for found, expected in (
            (row.weights, layer.weights),
            (row.activations, value(z)),
            (row.gradients, np.abs(gradient)),
        ):
            quantiles = np.quantile(expected, QUANTILES, method="nearest")
            np.testing.assert_allclose(found, quantiles, rtol=1e-4, atol=1e-7)
            assert found == sorted(found)


def test_dead_and_saturated_units_are_counted_in_every_layer():
    config = make_config()
    parameters = initialise(LAYERS, 1)
    biases = tf.constant([-99.0, 99.0, 0, 0, 0, 0])
    first = parameters[0]._replace(weights=tf.zeros((6, 20)), biases=biases)
    last = parameters[2]._replace(weights=tf.zeros((3, 5)), biases=tf.constant([0.0, 0.0, -99.0]))
    rows = list(LayerMeter(config, SAMPLE, 100).measure(0, (first, parameters[1], last)))
    assert [(row.num_dead_units, row.num_saturated_units) for row in rows] == [(1, 2), (0, 0), (1, 1)]


def test_layers_are_measured_at_multiples_and_at_the_last_step():
    meter = LayerMeter(make_config(), SAMPLE, 100)
    assert [step for step in range(251) if meter.is_due(step)] == [0, 100, 200, 250]


def test_quantiles_are_values_that_occur_and_have_no_negative_zero():
    values = np.array([[3.0, -0.0], [1.0, 2.0]], np.float32)
    found = find_quantiles(values)
    assert found == [0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert not np.signbit(found).any()
    assert find_quantiles(np.array([[5.0]], np.float32)) == [5.0] * 7


def test_the_default_run_has_a_row_for_each_layer_at_each_point_of_the_curve(digits_run):
    run = find_model(digits_run, None).run
    rows = read_rows(digits_run, "layer_statistics", run.run_id).to_pylist()
    assert [(row["step"], row["layer"]) for row in rows] == [
        (step, layer) for step in range(0, 10_001, 200) for layer in (1, 2)
    ]
    assert {row["num_examples"] for row in rows} == {100}
    assert rows[0]["num_units"] == 30
    assert abs(rows[0]["weights"][0]) < 2 > rows[0]["weights"][-1]  # the start is cut at two standard deviations
    assert rows[-1]["gradients"][-1] < rows[1]["gradients"][-1]  # on what was learnt, gradients are small
    assert all(0 <= row["activations"][0] <= row["activations"][-1] <= 1 for row in rows)
