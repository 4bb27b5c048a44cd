"""Values and derivatives in edge cases: at corners, and where exponentials overflow."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax, softmax

from model.functions import ACTIVATIONS, OUTPUTS

PRECISION = {tf.float32: 1e-6, tf.float64: 1e-14}
# one row per example, two classes; each row is tested with both classes as the label
WEIGHTED_INPUTS = [
    [0.0, 0.0],
    [1000.0, -1000.0],
    [-1000.0, 1000.0],
    [1000.0, 1000.0],
    [-1000.0, -1000.0],
    [0.0, 1000.0],
    [0.0, -1000.0],
    [16.0, -16.0],
    [-0.0, 0.25],
]
EXAMPLES = [(z, y) for z in WEIGHTED_INPUTS for y in ([1.0, 0.0], [0.0, 1.0])]


def quadratic(a, y):
    return np.square(a - y).sum(axis=1) / 2


# name -> (z, y) -> the values [n, 2] and the losses [n], in float64 by functions of other libraries
DEFINITIONS = {
    ("sigmoid", "quadratic"): lambda z, y: (expit(z), quadratic(expit(z), y)),
    ("sigmoid", "cross-entropy"): lambda z, y: (expit(z), np.logaddexp(0, np.where(y, -z, z)).sum(axis=1)),
    ("softmax", "quadratic"): lambda z, y: (softmax(z, axis=1), quadratic(softmax(z, axis=1), y)),
    ("softmax", "cross-entropy"): lambda z, y: (softmax(z, axis=1), -(y * log_softmax(z, axis=1)).sum(axis=1)),
}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", PRECISION, ids=["float32", "float64"])
@pytest.mark.parametrize("names", OUTPUTS, ids="-".join)
def test_output_equals_its_definition_and_delta_its_derivative(names, dtype, compiled):
    output = OUTPUTS[names]
    z, y = np.array(EXAMPLES).swapaxes(0, 1)
    exact_values, exact_losses = DEFINITIONS[names](z, y)

    @tf.function(autograph=False, jit_compile=compiled)
    def compute(z, y):
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = output.loss(z, y)
        a = output.value(z)
        return a, loss, tape.gradient(loss, z), output.delta(a, y)

    a, loss, slope, delta = compute(tf.constant(z, dtype), tf.constant(y, dtype))
    precision = PRECISION[dtype]
    np.testing.assert_allclose(a, exact_values, rtol=precision, atol=precision)
    np.testing.assert_allclose(loss, exact_losses, rtol=precision, atol=precision)
    np.testing.assert_allclose(slope, delta, rtol=0, atol=precision)
    if "cross-entropy" in names:
        np.testing.assert_allclose(delta, exact_values - y, rtol=0, atol=precision)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_small_cross_entropy_of_sigmoid_is_not_rounded_to_zero(compiled):
    """At z = 20 it is 2e-9, below the precision of float32 at 20, so it must not be computed as a difference."""
    loss = tf.function(OUTPUTS["sigmoid", "cross-entropy"].loss, jit_compile=compiled, autograph=False)
    z, y = tf.constant([[20.0, -20.0], [12.0, -12.0]]), tf.constant([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(loss(z, y), 2 * np.exp([-20.0, -12.0]), rtol=1e-5)


@pytest.mark.parametrize("dtype", PRECISION, ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "values", "slopes"),
    [
        ("sigmoid", [0.0, 0.5, 1.0], [0.0, 0.25, 0.0]),
        ("tanh", [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
        ("relu", [0.0, 0.0, 1000.0], [0.0, 0.0, 1.0]),  # at its corner the slope is the left derivative
    ],
)
def test_activations_and_slopes_at_zero_and_at_large_inputs(name, values, slopes, dtype):
    activation, z = ACTIVATIONS[name], tf.constant([-1000.0, 0.0, 1000.0], dtype)
    with tf.GradientTape() as tape:
        tape.watch(z)
        a = activation.value(z)
    np.testing.assert_array_equal(a, values)
    np.testing.assert_array_equal(activation.slope(a), slopes)
    np.testing.assert_array_equal(tape.gradient(a, z), slopes)
