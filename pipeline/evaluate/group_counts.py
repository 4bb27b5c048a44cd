"""Examples counted by a whole number that each has, its key. Pure: tallies add up in any order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.examples import Integers

Reals: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GroupCounts:
    """How many examples have each key, how many of them are right, and the sum of some value of theirs.

    Attributes:
        keys: int64[k], ascending.
        num_examples: int64[k].
        num_correct: int64[k].
        value_sums: float64[pieces, k], the sum over each piece that was counted alone; the pieces are added up exactly
            at the end, so that their order does not matter.
    """

    keys: Integers
    num_examples: Integers
    num_correct: Integers
    value_sums: Reals


class GroupTotals(NamedTuple):
    """What some keys of a tally come to."""

    num_examples: int
    num_correct: int
    value_sum: float

    @property
    def accuracy(self) -> float:
        """The share that is right; 0 without examples."""
        return self.num_correct / self.num_examples if self.num_examples else 0.0

    @property
    def mean_value(self) -> float:
        """The mean of the value; 0 without examples."""
        return self.value_sum / self.num_examples if self.num_examples else 0.0


def count_groups(keys: Integers, correct: npt.NDArray[np.bool_], values: npt.NDArray[Any]) -> GroupCounts:
    """Count one piece: int64[n] keys, bool[n] whether the answers are right, float[n] values."""
    found, places = np.unique(keys, return_inverse=True)
    size = len(found)
    sums = np.asarray(np.bincount(places, weights=values, minlength=size), np.float64)
    return GroupCounts(
        found,
        np.bincount(places, minlength=size),
        np.bincount(places[correct], minlength=size),
        sums.reshape(1, size),
    )


def merge_group_counts(tallies: Iterable[GroupCounts]) -> GroupCounts:
    """Add up tallies, of which there is at least one."""
    parts = list(tallies)
    keys = np.unique(np.concatenate([part.keys for part in parts]))
    places = [np.searchsorted(keys, part.keys) for part in parts]
    counts = np.zeros((2, len(keys)), np.int64)
    for part, at in zip(parts, places, strict=True):
        counts[:, at] += part.num_examples, part.num_correct
    sums = [_spread(part.value_sums, at, len(keys)) for part, at in zip(parts, places, strict=True)]
    return GroupCounts(keys, counts[0], counts[1], np.concatenate(sums))


def sum_groups(counted: GroupCounts, keys: Sequence[int]) -> GroupTotals:
    """Add up what some keys have."""
    chosen = np.isin(counted.keys, keys)
    return GroupTotals(
        int(counted.num_examples[chosen].sum()),
        int(counted.num_correct[chosen].sum()),
        fsum(counted.value_sums[:, chosen].ravel()),
    )


def _spread(sums: Reals, places: Integers, size: int) -> Reals:
    """Return float64[pieces, size] with the columns of sums at their places."""
    spread = np.zeros((len(sums), size))
    spread[:, places] = sums
    return spread
