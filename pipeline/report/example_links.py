"""Find, for figures of a page, an example of the inspector that they count, so that they can link to it."""

from collections.abc import Sequence

from pipeline.evaluate.evaluated_runs import Row
from pipeline.report.example_selection import ShownExample


def link_pairs(examples: Sequence[ShownExample]) -> dict[tuple[int, int], str]:
    """Return the name of the first example of each pair of label and predicted class that there is one of."""
    return {(example.label, example.predicted): example.name for example in reversed(examples)}


def link_bins(examples: Sequence[ShownExample], bins: Sequence[Row]) -> list[str | None]:
    """Return for each bin of confidence the name of an example in it, a wrong answer if there is one; else None."""
    ordered = sorted(examples, key=lambda example: example.label == example.predicted)  # wrong answers first
    return [next((each.name for each in ordered if _is_in(each, row)), None) for row in bins]


def _is_in(example: ShownExample, row: Row) -> bool:
    confidence = float(example.outputs.max())
    return bool(
        row["confidence_low"] <= confidence < row["confidence_high"] or confidence == row["confidence_high"] == 1
    )
