"""Calibration: accuracy and confidence in ten bins of confidence. Pure functions."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from model.examples import Integers
from pipeline.evaluate.group_counts import GroupCounts, sum_groups

NUM_BINS = 10
EDGES = tuple(edge / NUM_BINS for edge in range(NUM_BINS + 1))


def confidence_bins(confidence: npt.NDArray[np.float32]) -> Integers:
    """Return the bin of each confidence, float32[n], as int64[n].

    A bin includes its upper edge, and the first bin also its lower edge (Guo et al., On Calibration of Modern Neural
    Networks, ICML 2017, section 2).
    """
    return np.searchsorted(EDGES[1:-1], confidence).astype(np.int64)


def expected_error(counted: GroupCounts) -> float:
    """Return the expected calibration error (Guo et al. 2017, equation 3) of at least one example, grouped by bin."""
    bins = [sum_groups(counted, [number]) for number in range(NUM_BINS)]
    gaps = (totals.num_examples * abs(totals.accuracy - totals.mean_value) for totals in bins)
    return sum(gaps) / sum(totals.num_examples for totals in bins)


def calibration_rows(split: str, counted: GroupCounts) -> Iterator[dict[str, Any]]:
    """Yield a split's rows of the table `calibration` from its examples, grouped by bin."""
    for number in range(NUM_BINS):
        totals = sum_groups(counted, [number])
        yield {
            "split": split,
            "bin": number,
            "confidence_low": EDGES[number],
            "confidence_high": EDGES[number + 1],
            "num_examples": totals.num_examples,
            "num_correct": totals.num_correct,
            "confidence": totals.mean_value,
            "accuracy": totals.accuracy,
        }
