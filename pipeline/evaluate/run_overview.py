"""Overviews of runs: the list of a workspace's runs, one run in detail, two runs compared."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from model.errors import BadUsage, CorruptArtefact
from model.recipes import RECIPES, TrainingConfig
from pipeline.evaluate.records import EVALUATION_NAME, EvaluationRecord, check_evaluation, load_evaluation
from pipeline.evaluate.results import read_paired_outcomes, read_rows
from pipeline.evaluate.significance import PairedComparison, compare_paired
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run_folder
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run


class RunSummary(NamedTuple):
    """A run and, if it is evaluated, its evaluation."""

    run: RunRecord
    evaluation: EvaluationRecord | None


class RunList(NamedTuple):
    """All runs of a workspace, newest first, and the errors of records that cannot be read."""

    runs: list[RunSummary]
    problems: list[CorruptArtefact]


@dataclass(frozen=True)
class RunDetails:
    """An evaluated run: its records, and the rows of its table `classes`."""

    run: RunRecord
    evaluation: EvaluationRecord
    classes: list[dict[str, Any]]


@dataclass(frozen=True)
class RunComparison:
    """Two evaluated runs on the test split that they share.

    Attributes:
        first: a run.
        second: another run.
        comparison: of their correct answers, paired by example.
    """

    first: RunDetails
    second: RunDetails
    comparison: PairedComparison

    def differing_settings(self) -> dict[str, tuple[Any, Any]]:
        """Return the settings of training that differ: (first, second) by name."""
        first, second = (details.run.config.model_dump(mode="json") for details in (self.first, self.second))
        names = dict.fromkeys((*first, *second))
        return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}


def list_runs(workspace: Place) -> RunList:
    """Load the records of all runs; the files that they name are not verified."""
    runs: list[RunSummary] = []
    problems: list[CorruptArtefact] = []
    for path in (workspace / "runs").glob(f"*/{RUN_NAME}"):
        try:
            run = load_run(path.parent)
            evaluated = (path.parent / EVALUATION_NAME).exists()
            runs.append(RunSummary(run, load_evaluation(workspace, run) if evaluated else None))
        except CorruptArtefact as problem:
            problems.append(problem)
    return RunList(sorted(runs, key=_newest_first), problems)


def show_run(workspace: Place, name: str | None) -> RunDetails:
    """Load an evaluated run and verify its files.

    Args:
        workspace: holds the run.
        name: its id or a prefix; None for the only run.

    Raises:
        BadUsage: the name matches no run or several, or the run is not evaluated.
        CorruptArtefact: a file does not match its record.
    """
    run = check_run(workspace, find_run_folder(workspace, name))
    if not (workspace / "runs" / run.run_id / EVALUATION_NAME).exists():
        raise BadUsage(f"{run.run_id} is not evaluated yet: backbeam evaluate {run.run_id}")
    evaluation = check_evaluation(workspace, run)
    return RunDetails(run, evaluation, read_rows(workspace, "classes", run.run_id).to_pylist())


def compare_runs(workspace: Place, first: str | None, second: str | None) -> RunComparison:
    """Compare two runs on the examples of the test split; names are as in `show_run`.

    Raises:
        BadUsage: see `show_run`; or both names match the same run.
        BadInput: the two were evaluated on different examples.
        CorruptArtefact: a file does not match its record.
    """
    first_run = show_run(workspace, first)
    second_run = show_run(workspace, second)
    if first_run.run.run_id == second_run.run.run_id:
        raise BadUsage(f"{first} and {second} are the same run, {first_run.run.run_id}: name two")
    outcomes = read_paired_outcomes(workspace, first_run.run.run_id, second_run.run.run_id, "test")
    return RunComparison(first_run, second_run, compare_paired(*outcomes))


def changed_settings(config: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Return every setting as (value, value in its recipe); the values are equal if this version lacks the recipe."""
    own = config.model_dump(mode="json")
    recipe = RECIPES[config.recipe].config.model_dump(mode="json") if config.recipe in RECIPES else own
    return {name: (value, recipe.get(name)) for name, value in own.items()}


def _newest_first(summary: RunSummary) -> tuple[float, str]:
    return -datetime.fromisoformat(summary.run.finished).timestamp(), summary.run.run_id
