"""Which units count as dead, and which as saturated."""

import numpy as np
import pytest

from pipeline.train.unit_states import find_dead_units, find_saturated_units


def test_a_unit_of_relu_is_dead_if_it_is_0_for_all_examples_and_never_saturated():
    values = np.zeros((100, 3), np.float32)
    values[7, 0] = 1e-6
    assert find_dead_units(values, "relu").tolist() == [False, True, True]
    assert find_saturated_units(values, "relu").tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("function", "low", "near"), [("sigmoid", 0.0, 0.0099), ("tanh", -1.0, -0.981), ("softmax", 0.0, 0.0099)]
)
def test_other_units_are_dead_at_the_lower_end_and_saturated_near_either(function, low, near):
    values = np.full((100, 5), 0.5, np.float32)
    values[:95, 0] = low
    values[:50, 1] = 1
    values[50:, 1] = low
    values[:94, 2] = low
    values[:, 3] = near
    assert find_saturated_units(values, function).tolist() == [True, True, False, True, False]
    assert find_dead_units(values, function).tolist() == [False, False, False, True, False]


def test_exactly_one_percent_from_an_end_is_neither():
    values = np.tile(np.array([0.01, 0.99], np.float32), (100, 1))
    assert find_dead_units(values, "sigmoid").tolist() == [False, False]
    assert find_saturated_units(values, "sigmoid").tolist() == [False, False]
