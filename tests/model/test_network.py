"""Initial parameters: pinned, and drawn from a stream of their own for each part."""

import numpy as np
import pytest

from model import inference
from model import network as network_module
from model.network import build_network, initialise, predict, predict_in_pieces

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


def test_outputs_do_not_depend_on_the_pieces(monkeypatch):
    network = build_network("sigmoid", "sigmoid", "quadratic")
    parameters = initialise(SIZES, 1)
    images = np.arange(28, dtype=np.uint8).reshape(7, 4)
    whole = predict(network, parameters, images).numpy()
    np.testing.assert_array_equal(predict_in_pieces(network, parameters, images), whole)
    monkeypatch.setattr(inference, "PIECE_BYTES", 3 * sum(SIZES) * 4)
    seen = []

    def predict_few(network, parameters, images):
        seen.append(len(images))
        return predict(network, parameters, images)

    monkeypatch.setattr(network_module, "predict", predict_few)
    np.testing.assert_allclose(predict_in_pieces(network, parameters, images), whole, rtol=1e-6)
    assert seen == [3, 3, 1]
    assert predict_in_pieces(network, parameters, images[:0]).shape == (0, 4)
