"""Which layers are drawn, and on which scales."""

import pytest

from pipeline.report.layer_charts import MOST_LAYERS, layer_charts


def row(step, layer, dead=0):
    quantiles = [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.5]
    return {
        "step": step,
        "layer": layer,
        "num_examples": 100,
        "num_units": 4,
        "num_dead_units": dead,
        "num_saturated_units": 3,
        "weights": quantiles,
        "activations": [abs(value) for value in quantiles],
        "gradients": [0.0, 0.0, 1e-6, 1e-4, 1e-3, 0.02, 0.5],
    }


@pytest.mark.parametrize(("activation", "ends"), [("sigmoid", (0, 1)), ("tanh", (-1, 1)), ("relu", (0, 4))])
def test_the_scale_of_activations_is_the_range_of_their_function(activation, ends):
    found = layer_charts([row(step, layer) for step in (0, 100) for layer in (1, 2)], activation, "softmax")
    first, last = found["layers"]
    assert (first.title, last.title) == ("Layer 1, hidden: 4 units", "Layer 2, the output: 4 units")
    assert first.charts[1].y[1:3] == ends
    assert last.charts[1].y[1:3] == (0, 1)
    assert first.charts[0].y[1:3] == (-2, 4)
    assert first.charts[2].y[1:3] == (-6, 0)


def test_shares_of_units_are_drawn_in_the_order_of_the_legend():
    found = layer_charts([row(0, 1, dead=1), row(100, 1, dead=2)], "sigmoid", "sigmoid")
    [layer] = found["layers"]
    assert found["states"] == ("dead", "saturated")
    units = layer.charts[3]
    assert "dead: share of the units, from 25 % at 0 (steps) to 50 % at 100 (steps)" in units.description
    assert "saturated: share of the units, from 75 % at 0 (steps) to 75 % at 100 (steps)" in units.description


def test_of_a_deep_network_the_first_layers_are_drawn():
    found = layer_charts([row(step, layer) for step in (0, 100) for layer in range(1, 12)], "relu", "softmax")
    assert len(found["layers"]) == MOST_LAYERS
    assert found["num_left_out"] == 11 - MOST_LAYERS
    assert "the output" not in found["layers"][-1].title
