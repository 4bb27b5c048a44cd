from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.group_counts import count_groups, merge_group_counts, sum_groups

EXAMPLES = st.lists(st.tuples(st.integers(-3, 9), st.booleans(), st.floats(0, 1e6, width=32)), min_size=1, max_size=60)


def counts_of(examples):
    keys, correct, values = (np.array(column) for column in zip(*examples, strict=True))
    return count_groups(keys, correct, values)


@given(EXAMPLES, st.data())
def test_result_does_not_depend_on_pieces_and_order(examples, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(examples)), max_size=5)) | {0, len(examples)})
    parts = [counts_of(examples[a:b]) for a, b in pairwise(cuts)]
    shuffled = data.draw(st.permutations(parts))
    middle = data.draw(st.integers(0, len(parts)))
    halves = [merge_group_counts(half) for half in (shuffled[:middle], shuffled[middle:]) if half]
    at_once = merge_group_counts(parts)
    in_steps = merge_group_counts(halves)
    whole = counts_of(examples)
    for key in {*whole.keys.tolist(), -9}:
        expected = [example for example in examples if example[0] == key]
        totals = sum_groups(at_once, [key])
        assert totals == sum_groups(in_steps, [key])  # equal to the last bit, since the pieces are the same
        assert totals.num_examples == len(expected)
        assert totals.num_correct == sum(correct for _, correct, _ in expected)
        value_sum = totals.mean_value * len(expected)
        assert value_sum == pytest.approx(sum(value for *_, value in expected), rel=1e-12)
        assert sum_groups(whole, [key]).mean_value == pytest.approx(totals.mean_value, rel=1e-12)
    assert sum_groups(at_once, whole.keys.tolist()).num_examples == len(examples)


def test_accuracy_and_mean_of_no_examples_are_zero():
    totals = sum_groups(counts_of([(1, True, 2.0)]), [7])
    assert (totals.accuracy, totals.mean_value) == (0, 0)


def test_sums_of_pieces_are_added_exactly():
    pieces = merge_group_counts([counts_of([(1, True, value)]) for value in (1e16, 1.0, 1.0)])
    assert sum_groups(pieces, [1]).mean_value == (1e16 + 2) / 3
