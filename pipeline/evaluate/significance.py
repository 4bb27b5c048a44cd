"""Paired comparison of two runs on the same examples: McNemar's test and a bootstrap interval. Pure functions."""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.random_streams import Purpose, stream_key

NUM_RESAMPLES = 10_000

Outcomes: TypeAlias = npt.NDArray[np.bool_]


class PairedComparison(NamedTuple):
    """Correct answers of two runs on the same examples."""

    num_examples: int
    first_correct: int
    second_correct: int
    only_first: int  # examples that only the first run answers correctly
    only_second: int
    difference: float  # accuracy of the second minus that of the first
    difference_low: float  # lower end of its 95 % bootstrap interval
    difference_high: float
    # of the exact two-sided McNemar test: the probability of counts only_first and only_second that differ at least as
    # much, if neither run is better
    p_value: float


def compare_paired(first_correct: Outcomes, second_correct: Outcomes) -> PairedComparison:
    """Compare two runs by whether their answers to the same examples are correct, bool[n] each, n > 0."""
    num_examples = len(first_correct)
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((second_correct & ~first_correct).sum())
    low, high = bootstrap_interval(num_examples, only_first, only_second)
    return PairedComparison(
        num_examples,
        int(first_correct.sum()),
        int(second_correct.sum()),
        only_first,
        only_second,
        (only_second - only_first) / num_examples,
        low,
        high,
        mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of the exact two-sided McNemar test.

    This is the sign test of the discordant pairs, of which one answer is correct (McNemar, Psychometrika 12, 1947,
    gives the approximation).
    """
    from scipy.stats import binomtest  # slow to import

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def bootstrap_interval(num_examples: int, only_first: int, only_second: int) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the difference of two accuracies, paired over examples.

    An example contributes -1, 0 or 1 to the difference. In a resample, the counts of these values have a multinomial
    distribution (Efron, Annals of Statistics 7, 1979, section 2). Drawing counts instead of examples makes the cost
    independent of the number of examples. The interval is from the 2.5th to the 97.5th percentile (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3). The random stream is fixed: the same counts give
    the same interval.
    """
    counts = np.array([only_first, only_second, num_examples - only_first - only_second])
    random = np.random.default_rng(stream_key(Purpose.BOOTSTRAP))
    drawn = random.multinomial(num_examples, counts / num_examples, NUM_RESAMPLES)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / num_examples, (0.025, 0.975))
    return float(low), float(high)
