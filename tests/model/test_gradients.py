import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.functions import ACTIVATIONS, OUTPUTS
from model.gradients import autodiff, manual
from model.network import Layer, Network
from model.recipes import RECIPES, override
from model.training import start_state, update

networks = st.builds(Network, st.sampled_from(list(ACTIVATIONS.values())), st.sampled_from(list(OUTPUTS.values())))
shapes = st.tuples(st.lists(st.integers(1, 7), min_size=2, max_size=5), st.integers(1, 6), st.integers(0, 2**32))


def draw(sizes, batch_size, seed):
    random = np.random.default_rng(seed)
    parameters = tuple(
        Layer(tf.constant(random.normal(size=(o, i))), tf.constant(random.normal(size=o)))
        for i, o in itertools.pairwise(sizes)
    )
    y = np.eye(sizes[-1])[random.integers(0, sizes[-1], batch_size)]
    return parameters, random.uniform(size=(batch_size, sizes[0])), y


def move_last(parameters, weights, biases):
    *below, last = parameters
    return (*below, Layer(weights(last.weights), biases(last.biases)))


SMOOTH = {
    "as drawn": lambda parameters, x, y: (parameters, x, y),
    "one class": lambda parameters, x, y: (parameters, x, np.repeat(y[:1], len(y), axis=0)),
    "all white": lambda parameters, x, y: (parameters, np.ones_like(x), y),
    "all black": lambda parameters, x, y: (parameters, np.zeros_like(x), y),
    "first units off": lambda parameters, x, y: (
        (parameters[0]._replace(biases=parameters[0].biases - 1000), *parameters[1:]),
        x,
        y,
    ),
    "outputs at zero": lambda parameters, x, y: (move_last(parameters, lambda w: 0 * w, lambda b: 0 * b), x, y),
}
CHANGES = SMOOTH | {
    # every weighted input is 0 (with sigmoids: of the first layer only), as at a start with zero biases
    "all black without biases": lambda parameters, x, y: (
        tuple(layer._replace(biases=0 * layer.biases) for layer in parameters),
        np.zeros_like(x),
        y,
    ),
    "outputs far out": lambda parameters, x, y: (move_last(parameters, lambda w: w, lambda b: 1000 * tf.sign(b)), x, y),
}


def draw_some_masks(sizes, batch_size, seed):
    random = np.random.default_rng(seed + 1)
    return tuple(tf.constant(random.integers(0, 2, (batch_size, size)) / 0.5) for size in sizes[1:-1])


def flat(layers):
    return np.concatenate([np.ravel(part) for layer in layers for part in layer])


def assert_close(actual, expected, tolerance):
    """Relative to the largest number: a sum near zero has the rounding error of its large terms."""
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * max(1, abs(expected).max()))


RELU = Network(ACTIVATIONS["relu"], OUTPUTS["sigmoid", "cross-entropy"])


@given(networks, shapes, st.booleans(), st.sampled_from(list(CHANGES)))
@settings(max_examples=100)
@example(RELU, ([3, 4, 2], 1, 0), False, "outputs at zero")
@example(RELU, ([2, 3, 2], 2, 0), True, "outputs far out")
@example(RELU, ([3, 4, 2], 5, 0), False, "all black without biases")
def test_manual_gradients_equal_autodiff(network, shape, dropout, change):
    parameters, x, y = CHANGES[change](*draw(*shape))
    masks = draw_some_masks(*shape) if dropout else None
    by_hand, by_tape = (step(network, parameters, x, y, masks) for step in (manual, autodiff))
    assert_close(by_hand.loss, by_tape.loss.numpy(), 1e-14)
    assert_close(flat(by_hand.layers), flat(by_tape.layers), 1e-12)
    assert [[part.shape for part in layer] for layer in by_hand.layers] == [
        [part.shape for part in layer] for layer in parameters
    ]


@given(networks, shapes, st.booleans(), st.sampled_from(list(SMOOTH)))
@settings(max_examples=12)
def test_manual_gradients_equal_central_differences(network, shape, dropout, change):
    parameters, x, y = CHANGES[change](*draw(*shape))
    masks = draw_some_masks(*shape) if dropout else None
    gradients = manual(network, parameters, x, y, masks)
    for i, layer in enumerate(parameters):
        for name, values in zip(layer._fields, layer, strict=True):
            slopes = getattr(gradients.layers[i], name).numpy()
            for place in np.ndindex(*values.shape):
                losses = []
                for shift in (1e-6, -1e-6):
                    moved = values.numpy()
                    moved[place] += shift
                    changed = layer._replace(**{name: tf.constant(moved)})
                    losses.append(manual(network, (*parameters[:i], changed, *parameters[i + 1 :]), x, y, masks).loss)
                difference = float(losses[0] - losses[1]) / 2e-6
                np.testing.assert_allclose(slopes[place], difference, rtol=1e-4, atol=1e-6)


def published_manual_rule(w1, b1, w2, b2, x, y):
    """The article's update as published: gradients summed over the batch for weights, averaged for biases."""
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
    return (w1 - eta * d_w1, b1 - eta * np.mean(d_z1, axis=0), w2 - eta * d_w2, b2 - eta * np.mean(d_z2, axis=0))


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


def as_published(parameters):
    """The article keeps weights as [inputs, outputs]."""
    return tuple(part.numpy().T for layer in parameters for part in layer)


@pytest.mark.parametrize("step", ["manual", "autodiff"])
@pytest.mark.parametrize(
    ("recipe", "rule"), [("article-manual", published_manual_rule), ("article-autodiff", published_autodiff_rule)]
)
def test_step_of_a_recipe_equals_the_published_rule(recipe, rule, step):
    config = override(RECIPES[recipe].config, step=step, seed=3)
    random = np.random.default_rng(7)
    images = random.integers(0, 256, (10, 784)).astype(np.uint8)
    labels = random.integers(0, 10, 10)
    state = start_state(config, tf.float64)
    after, _ = update(config, state, tf.constant(images), tf.constant(labels))
    w1, b1, w2, b2 = as_published(state.parameters)
    expected = rule(w1, b1, w2, b2, images / 255, np.eye(10)[labels])
    for part, published, before in zip(as_published(after.parameters), expected, (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(part, published, rtol=0, atol=1e-12)
        assert abs(published - before).max() > 1e-3  # the step is large enough to compare
