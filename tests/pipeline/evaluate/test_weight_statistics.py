import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.weight_statistics import DEAD_RANGE, ActivationRange, merge_ranges, weight_rows


def test_rows_of_a_small_network():
    parameters = [
        (np.array([[3, -4, 0], [0, 0, 0]], np.float32), np.array([1, 2], np.float32)),
        (np.array([[1, 1]], np.float32), np.array([0.5], np.float32)),
    ]
    ranges = (ActivationRange(np.array([0.1, 0.5], np.float32), np.array([0.9, 0.5005], np.float32)),)
    rows = list(weight_rows(parameters, ranges))
    assert [(row["layer"], row["parameter"], row["shape"]) for row in rows] == [
        *((1, "weights", [2, 3]), (1, "biases", [2]), (2, "weights", [1, 2]), (2, "biases", [1]))
    ]
    first = rows[0]
    assert (first["num_values"], first["norm"], first["smallest"], first["largest"]) == (6, 5, -4, 3)
    assert first["mean"] == pytest.approx(-1 / 6)
    assert first["std"] == pytest.approx(np.std([3, -4, 0, 0, 0, 0]))
    assert [(row["num_units"], row["num_dead_units"]) for row in rows] == [(2, 1), (2, 1), (1, 0), (1, 0)]
    for row in rows:
        assert (len(row["histogram_edges"]), len(row["histogram_counts"])) == (31, 30)
        assert sum(row["histogram_counts"]) == row["num_values"]
    assert (first["histogram_edges"][0], first["histogram_edges"][-1]) == (-4, 3)
    assert first["histogram_counts"][17] == 4  # the zeros lie at 4/7 of the range


@given(st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=20), st.data())
def test_ranges_are_merged_in_any_order(values, data):
    single = [(ActivationRange(np.array(row, np.float32), np.array(row, np.float32)),) for row in values]
    shuffled = data.draw(st.permutations(single))
    middle = data.draw(st.integers(0, len(values)))
    halves = [merge_ranges(half) for half in (shuffled[:middle], shuffled[middle:]) if half]
    (found,) = merge_ranges(halves)
    np.testing.assert_array_equal(found.low, np.min(values, axis=0))
    np.testing.assert_array_equal(found.high, np.max(values, axis=0))


def test_unit_whose_activation_varies_by_less_than_a_thousandth_is_dead():
    low = np.zeros(3, np.float32)
    assert ActivationRange(low, np.array([0, 0.000999, 0.001001], np.float32)).num_dead == 2
    assert ActivationRange(np.zeros(1), np.array([DEAD_RANGE])).num_dead == 0
    wide = ActivationRange(np.array([-3e38], np.float32), np.array([3e38], np.float32))
    assert wide.num_dead == 0  # the difference is computed in float64


def test_statistics_are_computed_in_float64():
    weights = np.array([[2**24, 1, 1]], np.float32)  # float32 cannot represent the sum
    row = next(weight_rows([(weights, np.zeros(1, np.float32))], ()))
    assert row["mean"] == (2**24 + 2) / 3
    assert row["norm"] == np.sqrt(2.0**48 + 2)
