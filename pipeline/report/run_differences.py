"""What tells two runs apart on the same test examples: by class, by slice, and examples that only one gets right."""

from collections.abc import Sequence
from math import hypot
from typing import Any, NamedTuple

import numpy as np

from model.examples import Integers
from pipeline.evaluate.evaluated_runs import Row
from pipeline.evaluate.metrics import wilson
from pipeline.evaluate.significance import bootstrap_interval
from pipeline.preprocess.dataset import Dataset
from pipeline.report.example_selection import ShownExample, StoredPredictions, read_examples
from pipeline.report.thumbnails import grey_tile

MAX_SHOWN = 12  # examples that only one run of a pair gets right
LEFT_OUT = ("class", "confidence")  # slicings: classes have a table of their own, and confidence is that of a run


class Difference(NamedTuple):
    """A run's share of right answers to some examples, less that of the first run, with its 95 % interval."""

    accuracy: float
    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def compare_classes(first: StoredPredictions, other: StoredPredictions) -> list[Difference | None]:
    """Return the difference of the recalls of each class, with the paired bootstrap interval; None without examples."""
    return [_compare_class(first, other, label) for label in range(first.outputs.shape[1])]


def _compare_class(first: StoredPredictions, other: StoredPredictions, label: int) -> Difference | None:
    chosen = first.labels == label
    num_examples = int(chosen.sum())
    if not num_examples:
        return None
    first_right = first.predicted[chosen] == label
    other_right = other.predicted[chosen] == label
    only_first = int((first_right & ~other_right).sum())
    only_other = int((other_right & ~first_right).sum())
    interval = bootstrap_interval(num_examples, only_first, only_other)
    return Difference(float(other_right.mean()), (only_other - only_first) / num_examples, *interval)


def compare_slices(slices: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """Compare every run with the first by the slices that all runs have: rows of the table `slices`, of each run.

    The table has no pairs of answers, so the interval is that of independent samples. As the examples are the same, it
    is wider than it need be.
    """
    by_name = [{(row["slicing"], row["slice"]): row for row in rows} for rows in slices]
    shared = [name for name in by_name[0] if name[0] not in LEFT_OUT and _is_shared(name, by_name)]
    return [
        {
            "slicing": name[0],
            "slice": name[1],
            "first": by_name[0][name],
            "others": [_compare_slice(by_name[0][name], rows[name]) for rows in by_name[1:]],
        }
        for name in shared
    ]


def _is_shared(name: tuple[str, str], by_name: Sequence[dict[tuple[str, str], Row]]) -> bool:
    """Return whether all runs have a slice with as many examples: a user's slicing may depend on the answers."""
    wanted = by_name[0][name]["num_examples"]
    return all(name in rows and rows[name]["num_examples"] == wanted for rows in by_name)


def _compare_slice(first: Row, other: Row) -> Difference:
    """Compare two shares by the hybrid score interval (Newcombe, Statistics in Medicine 17, 1998, method 10)."""
    first_interval = wilson(first["num_correct"], first["num_examples"])
    other_interval = wilson(other["num_correct"], other["num_examples"])
    difference = other["accuracy"] - first["accuracy"]
    below = hypot(other["accuracy"] - other_interval.low, first_interval.high - first["accuracy"])
    above = hypot(other_interval.high - other["accuracy"], first["accuracy"] - first_interval.low)
    return Difference(other["accuracy"], difference, difference - below, difference + above)


def show_disagreements(
    dataset: Dataset, predictions: Sequence[StoredPredictions], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return for each run after the first the examples that only one of the two gets right, as pictures.

    Of each kind the most confident MAX_SHOWN mistakes are shown. Raises CorruptArtefact.
    """
    first = predictions[0]
    pairs = [(_only_right(first, other), _only_right(other, first)) for other in predictions[1:]]
    selections = [selection for pair in pairs for selection in pair]
    shown = read_examples(dataset, first, *(selection[:MAX_SHOWN] for selection in selections))
    sides = [
        {
            "num_examples": len(selection),
            "examples": [
                _show_example(example, position, first, predictions[1 + number // 2], names)
                for example, position in zip(examples, selection[:MAX_SHOWN].tolist(), strict=True)
            ],
        }
        for number, (selection, examples) in enumerate(zip(selections, shown, strict=True))
    ]
    return [{"only_first": sides[at], "only_other": sides[at + 1]} for at in range(0, len(sides), 2)]


def _only_right(right: StoredPredictions, wrong: StoredPredictions) -> Integers:
    """Return the positions of examples that one run gets right and the other wrong, its most confident ones first."""
    chosen = np.flatnonzero((right.predicted == right.labels) & (wrong.predicted != wrong.labels))
    return chosen[np.argsort(-wrong.confidence[chosen], kind="stable")]


def _show_example(
    example: ShownExample, position: int, first: StoredPredictions, other: StoredPredictions, names: Sequence[str]
) -> dict[str, Any]:
    return {
        "name": example.name,
        "picture": grey_tile(example.image),
        "label": names[example.label],
        "answers": [
            (names[int(each.predicted[position])], float(each.confidence[position])) for each in (first, other)
        ],
    }
