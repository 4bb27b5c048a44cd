"""Collect the contents of the page that compares several runs, each with the first; see `run_page` for one run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from model.errors import BadUsage
from pipeline.evaluate.evaluated_runs import EvaluatedRun, Row, find_differences
from pipeline.evaluate.significance import PairedComparison, compare_paired
from pipeline.evaluate.table_reader import read_paired_outcomes
from pipeline.report.curves import LearningCurve, learning_curve
from pipeline.report.reproduce_command import ReproduceCommand, describe_reproduction
from pipeline.report.run_page import SPLIT
from pipeline.train.run_record import RunRecord

MAX_RUNS = 8  # page.css has as many line colours


class ComparedRun(NamedTuple):
    """One of the compared runs."""

    run: RunRecord
    test: Row  # of the table `evaluations`
    against_first: PairedComparison | None  # None for the first itself
    reproduction: ReproduceCommand


class ComparisonPage(NamedTuple):
    """The contents of the page; `classes` are (name, recall in each run, 0 to 1)."""

    runs: list[ComparedRun]
    curve: LearningCurve
    differences: dict[str, list[Any]]  # the settings that differ, by name
    classes: list[tuple[str, list[float]]]


def build_comparison_page(evaluated: Sequence[EvaluatedRun]) -> ComparisonPage:
    """Return the contents of the page that compares runs.

    Raises BadUsage if there are more than MAX_RUNS, BadInput if their test splits differ, and CorruptArtefact.
    """
    if len(evaluated) > MAX_RUNS:
        raise BadUsage(f"report compares {MAX_RUNS} runs at most, found {len(evaluated)}")
    return ComparisonPage(
        runs=[_compare(evaluated[0], other) for other in evaluated],
        curve=learning_curve([(one.run.run_id, one.rows("learning_curve")) for one in evaluated]),
        differences=find_differences(
            [one.run.config.model_dump(mode="json") | {"data set": one.run.dataset_id} for one in evaluated]
        ),
        classes=_list_recalls(evaluated),
    )


def _compare(first: EvaluatedRun, other: EvaluatedRun) -> ComparedRun:
    against_first = None
    if other is not first:
        outcomes = read_paired_outcomes(first.workspace, first.run.run_id, other.run.run_id, SPLIT)
        against_first = compare_paired(*outcomes)
    [test] = other.rows("evaluations", SPLIT)
    return ComparedRun(other.run, test, against_first, describe_reproduction(other))


def _list_recalls(evaluated: Sequence[EvaluatedRun]) -> list[tuple[str, list[float]]]:
    rows_by_run = [one.rows("classes", SPLIT) for one in evaluated]
    return [(rows[0]["class_name"], [row["recall"] for row in rows]) for rows in zip(*rows_by_run, strict=True)]
