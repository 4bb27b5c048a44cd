"""Collect the contents of the page that compares several runs, each with the first; see `run_page` for one run."""

from collections.abc import Sequence
from typing import Any

from model.errors import BadUsage
from pipeline.evaluate.evaluated_runs import EvaluatedRun, compare_outcomes
from pipeline.report.curves import learning_charts
from pipeline.report.reproduce_command import describe_reproduction
from pipeline.report.run_page import SPLIT
from pipeline.train.run_settings import find_differences, format_settings

MAX_RUNS = 8  # page.css has as many line colours


def build_comparison_page(evaluated: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Return the values for the template `comparison.html`.

    Raises BadUsage if there are more than MAX_RUNS, BadInput if their test splits differ, and CorruptArtefact.
    """
    if len(evaluated) > MAX_RUNS:
        raise BadUsage(f"report compares {MAX_RUNS} runs at most, found {len(evaluated)}")
    settings = [one.run.config.model_dump(mode="json") | {"data set": one.run.dataset_id} for one in evaluated]
    classes = zip(*(one.rows("classes", SPLIT) for one in evaluated), strict=True)
    return {
        "runs": [_compare(evaluated[0], other) for other in evaluated],
        "charts": learning_charts([(one.run.run_id, one.rows("learning_curve")) for one in evaluated]),
        "differences": find_differences(settings),
        "classes": [(rows[0]["class_name"], [row["recall"] for row in rows]) for rows in classes],
    }


def _compare(first: EvaluatedRun, other: EvaluatedRun) -> dict[str, Any]:
    [test] = other.rows("evaluations", SPLIT)
    against_first = None if other is first else compare_outcomes(first, other)
    reproduction = describe_reproduction(other)
    changed = format_settings(other.changed)
    return {
        "run": other.run,
        "changed": changed,
        "test": test,
        "against_first": against_first,
        "reproduction": reproduction,
    }
