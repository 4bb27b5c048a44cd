"""Count examples grouped by an integer key. Pure functions: counts can be merged in any order."""

from collections.abc import Iterable, Sequence
from math import fsum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.examples import Integers


class GroupCounts(NamedTuple):
    """The number of examples with each of k keys, of correct answers among them, and the sums of a value."""

    keys: Integers  # int64[k], ascending
    num_examples: Integers  # int64[k]
    num_correct: Integers  # int64[k]
    # float64[pieces, k], a row for each call of `count_groups`; `sum_groups` adds the rows exactly, so that the order
    # of merging does not change the result
    value_sums: npt.NDArray[np.float64]


class GroupTotals(NamedTuple):
    """The counts of some keys together; accuracy and mean value are 0 if there are no examples."""

    num_examples: int
    num_correct: int
    accuracy: float
    mean_value: float


def count_groups(keys: Integers, correct: npt.NDArray[np.bool_], values: npt.NDArray[Any]) -> GroupCounts:
    """Count examples by their keys, int64[n]; `correct` is bool[n], and `values`, float[n], are summed."""
    distinct, places = np.unique(keys, return_inverse=True)
    size = len(distinct)
    sums = np.asarray(np.bincount(places, weights=values, minlength=size), np.float64)
    return GroupCounts(
        distinct,
        np.bincount(places, minlength=size),
        np.bincount(places[correct], minlength=size),
        sums.reshape(1, size),
    )


def merge_group_counts(counts: Iterable[GroupCounts]) -> GroupCounts:
    """Merge counts of different examples; at least one."""
    parts = list(counts)
    keys = np.unique(np.concatenate([part.keys for part in parts]))
    totals = np.zeros((2, len(keys)), np.int64)
    sums = []
    for part in parts:
        places = np.searchsorted(keys, part.keys)
        totals[:, places] += part.num_examples, part.num_correct
        spread = np.zeros((len(part.value_sums), len(keys)))
        spread[:, places] = part.value_sums
        sums.append(spread)
    return GroupCounts(keys, totals[0], totals[1], np.concatenate(sums))


def sum_groups(counted: GroupCounts, keys: Sequence[int]) -> GroupTotals:
    """Sum the counts of some keys; keys that no example has are ignored."""
    chosen = np.isin(counted.keys, keys)
    num_examples = int(counted.num_examples[chosen].sum())
    num_correct = int(counted.num_correct[chosen].sum())
    divisor = max(1, num_examples)
    value_sum = fsum(counted.value_sums[:, chosen].ravel())
    return GroupTotals(num_examples, num_correct, num_correct / divisor, value_sum / divisor)
