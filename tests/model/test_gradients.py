import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.functions import ACTIVATIONS, LOSSES
from model.gradients import autodiff, manual
from model.network import Layer, initialise
from model.recipes import RECIPES, override
from model.training import update

SIGMOID, QUADRATIC = ACTIVATIONS["sigmoid"], LOSSES["quadratic"]


def draw(sizes, batch_size, seed):
    random = np.random.default_rng(seed)
    parameters = tuple(Layer(random.normal(size=(i, o)), random.normal(size=o)) for i, o in itertools.pairwise(sizes))
    y = np.eye(sizes[-1])[random.integers(0, sizes[-1], batch_size)]
    return parameters, random.uniform(size=(batch_size, sizes[0])), y


networks = st.tuples(st.lists(st.integers(1, 7), min_size=2, max_size=5), st.integers(1, 6), st.integers(0, 2**32))


def flat(layers):
    return np.concatenate([np.ravel(part) for layer in layers for part in layer])


@given(networks)
@settings(max_examples=60, deadline=None)
def test_manual_equals_autodiff(network):
    parameters, x, y = draw(*network)
    parameters = tuple(Layer(*map(tf.constant, layer)) for layer in parameters)
    ours, theirs = (step(SIGMOID, QUADRATIC, parameters, x, y) for step in (manual, autodiff))
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-15)
    np.testing.assert_allclose(flat(ours.layers), flat(theirs.layers), rtol=1e-12, atol=1e-15)
    assert [[part.shape for part in layer] for layer in ours.layers] == [
        [part.shape for part in layer] for layer in parameters
    ]


@given(networks)
@settings(max_examples=25, deadline=None)
def test_manual_equals_central_differences(network):
    parameters, x, y = draw(*network)
    gradients = manual(SIGMOID, QUADRATIC, parameters, x, y)
    for i, layer in enumerate(parameters):
        for part, values in enumerate(layer):
            for place in np.ndindex(values.shape):
                losses = []
                for shift in (1e-5, -1e-5):
                    moved = values.copy()
                    moved[place] += shift
                    changed = layer._replace(**{layer._fields[part]: moved})
                    network_ = (*parameters[:i], changed, *parameters[i + 1 :])
                    losses.append(float(manual(SIGMOID, QUADRATIC, network_, x, y).loss))
                np.testing.assert_allclose(
                    gradients.layers[i][part].numpy()[place], (losses[0] - losses[1]) / 2e-5, rtol=1e-5, atol=1e-9
                )


def published_manual_rule(w1, b1, w2, b2, x, y):
    """The article's update, as it is published: gradients summed over the batch for weights, averaged for biases."""
    eta = 0.5

    def sigma(z):
        return 1 / (1 + np.exp(-z))

    def sigma_prime(z):
        return sigma(z) * (1 - sigma(z))

    z1 = x @ w1 + b1
    a1 = sigma(z1)
    z2 = a1 @ w2 + b2
    a2 = sigma(z2)
    difference = a2 - y
    d_z2 = difference * sigma_prime(z2)
    d_w2 = a1.T @ d_z2
    d_a1 = d_z2 @ w2.T
    d_z1 = d_a1 * sigma_prime(z1)
    d_w1 = x.T @ d_z1
    return (
        w1 - eta * d_w1,
        b1 - eta * np.mean(d_z1, axis=0),
        w2 - eta * d_w2,
        b2 - eta * np.mean(d_z2, axis=0),
    )


def published_autodiff_rule(w1, b1, w2, b2, x, y):
    """The article's other update: gradient descent at 0.1 on the batch's summed squared differences."""
    variables = [tf.Variable(value) for value in (w1, b1, w2, b2)]
    with tf.GradientTape() as tape:
        a1 = 1 / (1 + tf.exp(-(x @ variables[0] + variables[1])))
        a2 = 1 / (1 + tf.exp(-(a1 @ variables[2] + variables[3])))
        difference = a2 - y
        cost = tf.multiply(difference, difference)
    slopes = tape.gradient(cost, variables)  # of the sum over all elements
    return tuple((v - 0.1 * s).numpy() for v, s in zip(variables, slopes, strict=True))


@pytest.mark.parametrize("step", ["manual", "autodiff"])
@pytest.mark.parametrize(
    ("recipe", "rule"),
    [("article-manual", published_manual_rule), ("article-autodiff", published_autodiff_rule)],
)
def test_a_step_of_the_recipe_is_the_published_rule(recipe, rule, step):
    config = override(RECIPES[recipe], step=step)
    random = np.random.default_rng(7)
    images = random.integers(0, 256, (10, 784)).astype(np.uint8)
    labels = random.integers(0, 10, 10)
    parameters = tuple(
        Layer(*(tf.cast(part, tf.float64) for part in layer)) for layer in initialise(config.layers, seed=3)
    )
    (layer1, layer2), _ = update(config, parameters, tf.constant(images), tf.constant(labels))
    (w1, b1), (w2, b2) = ((part.numpy() for part in layer) for layer in parameters)
    expected = rule(w1, b1, w2, b2, images / 255, np.eye(10)[labels])
    for ours, theirs, before in zip((*layer1, *layer2), expected, (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
        assert abs(theirs - before).max() > 1e-3  # the step is no small one
