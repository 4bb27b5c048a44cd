"""Initial parameters: pinned, and drawn from a stream of their own for each part."""

import numpy as np
import pytest

from model.network import initialise

SIZES = (4, 4, 4, 4)  # weights of all layers have one shape, so that equal streams would give equal numbers

# the first two weights and the first bias of the first layer and of the last
PINNED = {
    "truncated-normal": [1.476846, -0.8029851, 0.6086966, 0.9869218, -1.6435184, -1.0054512],
    "normal": [1.476846, -0.8029851, 0.6086966, 0.9869218, -1.6435184, -1.0054512],
    "scaled": [0.738423, -0.4014926, 0.6086966, 0.4934609, -0.8217592, -1.0054512],
    "he": [1.0442878, -0.5677962, 0.0, 0.6978591, -1.162143, 0.0],
}


@pytest.mark.parametrize("start", PINNED)
def test_initial_parameters_are_pinned(start):
    """To 1e-5: philox draws equal integers everywhere, but the logarithms applied to them differ between machines."""
    parameters = initialise(SIZES, 1, start)
    numbers = [x for layer in (parameters[0], parameters[-1]) for x in (*layer.weights[0, :2], layer.biases[0])]
    np.testing.assert_allclose(numbers, PINNED[start], rtol=1e-5)


@pytest.mark.parametrize("start", ["truncated-normal", "normal"])
def test_no_two_parts_of_any_seed_are_equal(start):
    parts = [part for seed in range(20) for layer in initialise(SIZES, seed, start) for part in layer]
    beginnings = {tuple(np.ravel(part)[:4]) for part in parts}
    assert len(beginnings) == len(parts) == 120
