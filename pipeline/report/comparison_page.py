"""What the page of several runs shows: their figures side by side, and each against the first."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from model.errors import BadUsage
from pipeline.evaluate.results import EvaluatedRun, Row, read_paired_outcomes
from pipeline.evaluate.significance import PairedComparison, compare_paired
from pipeline.report.reproduce_command import ReproduceCommand, describe_reproduction
from pipeline.report.run_page import SPLIT, LearningCurve, learning_curve

MOST_RUNS = 8  # lines that can be told apart on one chart


class ComparedRun(NamedTuple):
    """A run among several.

    Attributes:
        run: its record.
        test: its row of the table `evaluations` for the test split.
        against_first: how it compares with the first run; None for the first itself.
        reproduction: the command that makes it again.
    """

    run: Any
    test: Row
    against_first: PairedComparison | None
    reproduction: ReproduceCommand


class Setting(NamedTuple):
    """A setting in which the runs differ, with its value in each."""

    name: str
    values: tuple[Any, ...]


class ComparisonPage(NamedTuple):
    """The page of several runs; see each field's record."""

    runs: tuple[ComparedRun, ...]
    curve: LearningCurve
    differences: tuple[Setting, ...]
    classes: tuple[tuple[str, tuple[float, ...]], ...]


def build_comparison_page(found: Sequence[EvaluatedRun]) -> ComparisonPage:
    """Gather what the page of several runs shows.

    Raises:
        BadUsage: there are more than MOST_RUNS.
        BadInput: their test splits differ.
        CorruptArtefact: a table is not what its record says.
    """
    if len(found) > MOST_RUNS:
        raise BadUsage(f"report compares {MOST_RUNS} runs at most, found {len(found)}")
    return ComparisonPage(
        runs=tuple(_compare(found[0], each) for each in found),
        curve=learning_curve([(each.run.run_id, each.rows("learning_curve")) for each in found]),
        differences=tuple(_differences(found)),
        classes=tuple(_classes(found)),
    )


def _compare(first: EvaluatedRun, other: EvaluatedRun) -> ComparedRun:
    against = None
    if other is not first:
        against = compare_paired(*read_paired_outcomes(first.workspace, first.run.run_id, other.run.run_id, SPLIT))
    (test,) = other.rows("evaluations", SPLIT)
    return ComparedRun(other.run, test, against, describe_reproduction(other))


def _differences(found: Sequence[EvaluatedRun]) -> list[Setting]:
    dumps = [each.run.config.model_dump(mode="json") | {"data set": each.run.dataset_id} for each in found]
    names = dict.fromkeys(chain.from_iterable(dumps))
    settings = [Setting(name, tuple(dump.get(name) for dump in dumps)) for name in names]
    return [setting for setting in settings if any(value != setting.values[0] for value in setting.values)]


def _classes(found: Sequence[EvaluatedRun]) -> list[tuple[str, tuple[float, ...]]]:
    """Return each class's name and its recall in each run."""
    rows = [each.rows("classes", SPLIT) for each in found]
    return [(same[0]["class_name"], tuple(row["recall"] for row in same)) for same in zip(*rows, strict=True)]
