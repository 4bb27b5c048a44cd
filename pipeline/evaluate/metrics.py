"""Count predictions, and compute metrics of the merged counts. Pure functions: counts merge in any order."""

from collections.abc import Iterable, Iterator
from math import fsum, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.examples import Integers
from pipeline.evaluate.group_counts import GroupCounts, count_groups, merge_group_counts, sum_groups
from pipeline.preprocess.shards import FIRST_EXAMPLES

NUM_BINS = 10
EDGES = tuple(edge / NUM_BINS for edge in range(NUM_BINS + 1))  # of confidence
_NORMAL_QUANTILE = NormalDist().inv_cdf(0.975)


class SplitCounts(NamedTuple):
    """Counts of some of a split's examples."""

    split: str
    confusion: Integers  # int64[classes, classes], examples by label (row) and predicted class (column)
    # of each shard; added exactly at the end, so that the order of merging does not matter
    loss_sums: tuple[float, ...]
    brier_sums: tuple[float, ...]  # squared differences between outputs and targets
    calibration: GroupCounts  # by bin of confidence, their value the confidence
    num_first: int  # among the first 1,000 of the source
    num_first_correct: int


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def count_predictions(
    split: str, index: Integers, labels: Integers, outputs: npt.NDArray[np.float32], losses: npt.NDArray[np.float32]
) -> SplitCounts:
    """Count one shard's predictions, outputs float32[n, classes]; the others are [n], the index is in the source."""
    num_classes = outputs.shape[1]
    predicted = outputs.argmax(axis=1)
    confidence = outputs.max(axis=1)
    confusion = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    first = index < FIRST_EXAMPLES
    correct = labels == predicted
    return SplitCounts(
        split,
        confusion.reshape(num_classes, num_classes),
        (float(losses.sum(dtype=np.float64)),),
        (_brier_sum(labels, outputs),),
        count_groups(confidence_bins(confidence), correct, confidence),
        int(first.sum()),
        int((first & correct).sum()),
    )


def merge_counts(counts: Iterable[SplitCounts]) -> dict[str, SplitCounts]:
    """Merge counts; return one for each split, sorted by name."""
    totals: dict[str, SplitCounts] = {}
    for new in counts:
        old = totals.get(new.split)
        totals[new.split] = new if old is None else _add(old, new)
    return dict(sorted(totals.items()))


def wilson(num_correct: int, num_examples: int) -> Interval:
    """Return the Wilson score interval of a proportion at 95 % confidence (Wilson, JASA 22, 1927).

    Not SciPy's: importing scipy.stats takes longer than evaluating 10,000 examples.
    """
    n = num_examples
    p = num_correct / num_examples
    z = _NORMAL_QUANTILE
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # exact ends: rounding would give a little more than 0 or less than 1
    low = center - half if num_correct else 0.0
    high = center + half if num_correct < n else 1.0
    return Interval(low, high)


def accuracy_columns(num_correct: int, num_examples: int) -> dict[str, Any]:
    """Return the columns of a row that give the accuracy of at least one example, with its Wilson interval."""
    interval = wilson(num_correct, num_examples)
    return {
        "num_examples": num_examples,
        "num_correct": num_correct,
        "accuracy": num_correct / num_examples,
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
    }


def evaluation_row(counts: SplitCounts, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return a split's row of the table `evaluations`.

    A class is never predicted if no answer names it although the split has examples of it.
    """
    num_examples = int(counts.confusion.sum())
    is_never_predicted = counts.confusion.any(axis=1) & ~counts.confusion.any(axis=0)
    return {
        "split": counts.split,
        **accuracy_columns(int(counts.confusion.trace()), num_examples),
        "loss": fsum(counts.loss_sums) / num_examples,
        "ece": expected_error(counts.calibration),
        "brier": fsum(counts.brier_sums) / num_examples,
        "first_1000_examples": counts.num_first,
        "first_1000_correct": counts.num_first_correct,
        "never_predicted": [class_names[label] for label in np.flatnonzero(is_never_predicted)],
    }


def class_rows(counts: SplitCounts, class_names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield a split's rows of the table `classes`; a ratio with denominator 0 is 0."""
    support = counts.confusion.sum(axis=1).tolist()
    num_predicted = counts.confusion.sum(axis=0).tolist()
    for label, num_correct in enumerate(counts.confusion.diagonal().tolist()):
        yield {
            "split": counts.split,
            "label": label,
            "class_name": class_names[label],
            "precision": _ratio(num_correct, num_predicted[label]),
            "recall": _ratio(num_correct, support[label]),
            "f1": _ratio(2 * num_correct, num_predicted[label] + support[label]),
            "support": support[label],
            "num_predicted": num_predicted[label],
        }


def confusion_rows(counts: SplitCounts) -> Iterator[dict[str, Any]]:
    """Yield a split's rows of the table `confusion`, zeros included."""
    for (label, predicted), number in np.ndenumerate(counts.confusion):
        yield {"split": counts.split, "label": label, "predicted": predicted, "count": int(number)}


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


def _add(old: SplitCounts, new: SplitCounts) -> SplitCounts:
    return SplitCounts(
        old.split,
        old.confusion + new.confusion,
        old.loss_sums + new.loss_sums,
        old.brier_sums + new.brier_sums,
        merge_group_counts([old.calibration, new.calibration]),
        old.num_first + new.num_first,
        old.num_first_correct + new.num_first_correct,
    )


def _brier_sum(labels: Integers, outputs: npt.NDArray[np.float32]) -> float:
    """Return the summed squared differences of outputs and one-hot targets (Brier, Monthly Weather Review 78, 1950)."""
    differences = outputs.astype(np.float64)
    differences[np.arange(len(labels)), labels] -= 1
    return float(np.square(differences).sum())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
