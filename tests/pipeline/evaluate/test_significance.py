from fractions import Fraction
from math import comb, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate import significance
from pipeline.evaluate.significance import bootstrap_interval, compare_paired, mcnemar


def outcomes(both, only_first, only_second, neither):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    order = np.random.default_rng(1).permutation(len(first))
    return np.array(first)[order], np.array(second)[order]


def test_comparison_of_known_counts():
    found = compare_paired(*outcomes(both=900, only_first=20, only_second=50, neither=30))
    assert found[:5] == (1000, 920, 950, 20, 50)
    assert found.difference == 0.03
    assert 0 < found.difference_low < 0.03 < found.difference_high
    assert found.p_value < 0.001


def test_equal_answers_have_no_difference():
    same = np.array([True, False, True])
    assert compare_paired(same, same)[3:] == (0, 0, 0.0, 0.0, 0.0, 1.0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_the_sum_of_its_definition(only_first, only_second):
    """Twice the smaller tail of the binomial distribution, computed in integers; at most 1."""
    n = only_first + only_second
    smaller = min(only_first, only_second)
    tail = Fraction(sum(comb(n, k) for k in range(smaller + 1)), 2**n)
    assert mcnemar(only_first, only_second) == pytest.approx(float(min(Fraction(1), 2 * tail)))


def test_bootstrap_is_deterministic():
    assert bootstrap_interval(1000, 20, 50) == (pytest.approx(0.014), pytest.approx(0.046))
    assert bootstrap_interval(100_000, 2000, 2500) == (pytest.approx(0.0037), pytest.approx(0.00631))


@pytest.mark.parametrize(("only_first", "only_second"), [(6_000, 9_000), (400, 100)])
def test_interval_ends_at_the_percentiles_of_the_difference(only_first, only_second, monkeypatch):
    """Compared with the normal distribution, which approximates the difference over 100,000 examples.

    A million resamples give a percentile to 0.003 standard deviations. A wrong percentile of 0.02625 instead of 0.025
    would be off by 0.02.
    """
    monkeypatch.setattr(significance, "NUM_RESAMPLES", 1_000_000)
    num_examples = 100_000
    mean = (only_second - only_first) / num_examples
    deviation = sqrt(((only_first + only_second) / num_examples - mean**2) / num_examples)
    step = 1 / num_examples / deviation
    ends = [(end - mean) / deviation for end in bootstrap_interval(num_examples, only_first, only_second)]
    assert ends == pytest.approx([NormalDist().inv_cdf(share) for share in (0.025, 0.975)], abs=0.006 + step)
