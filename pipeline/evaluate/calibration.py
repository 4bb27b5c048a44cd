"""Is the network as often right as it is confident? From counts in ten bins of confidence. Pure."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from model.examples import Integers
from pipeline.evaluate.group_counts import GroupCounts, sum_groups

NUM_BINS = 10
EDGES = tuple(edge / NUM_BINS for edge in range(NUM_BINS + 1))


def bins_of(confidence: npt.NDArray[np.float32]) -> Integers:
    """Return int64[n], the bin of each confidence, float32[n].

    A bin holds its upper edge, and the first one its lower edge too (Guo et al., On Calibration of Modern Neural
    Networks, ICML 2017, section 2).
    """
    return np.searchsorted(EDGES[1:-1], confidence).astype(np.int64)


def expected_error(counted: GroupCounts) -> float:
    """Return the expected calibration error (Guo et al. 2017, equation 3).

    Args:
        counted: examples by bin, their value the confidence; there is at least one.
    """
    bins = [sum_groups(counted, [number]) for number in range(NUM_BINS)]
    gaps = (each.num_examples * abs(each.accuracy - each.mean_value) for each in bins)
    return sum(gaps) / sum(each.num_examples for each in bins)


def calibration_rows(split: str, counted: GroupCounts) -> Iterator[dict[str, Any]]:
    """Yield a split's rows of the table `calibration`; counted as for `expected_error`."""
    for number in range(NUM_BINS):
        found = sum_groups(counted, [number])
        yield {
            "split": split,
            "bin": number,
            "confidence_low": EDGES[number],
            "confidence_high": EDGES[number + 1],
            "num_examples": found.num_examples,
            "num_correct": found.num_correct,
            "confidence": found.mean_value,
            "accuracy": found.accuracy,
        }
