"""Runs side by side: all of a workspace, one in full, two compared."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from model.errors import BadUsage, CorruptArtefact
from model.recipes import RECIPES, TrainingConfig
from pipeline.evaluate.records import EVALUATION_NAME, EvaluationRecord, check_evaluation, load_evaluation
from pipeline.evaluate.results import paired, read_rows
from pipeline.evaluate.significance import PairedComparison, compare_paired
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run_folder
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run


class RunSummary(NamedTuple):
    """A run and, if it is evaluated, how good it is."""

    run: RunRecord
    evaluation: EvaluationRecord | None


class RunList(NamedTuple):
    """All runs of a workspace, the newest first, and what is wrong with records that cannot be read."""

    runs: list[RunSummary]
    problems: list[CorruptArtefact]


@dataclass(frozen=True)
class RunDetails:
    """An evaluated run in full: its records, and the rows of its table `classes`."""

    run: RunRecord
    evaluation: EvaluationRecord
    classes: list[dict[str, Any]]


@dataclass(frozen=True)
class RunComparison:
    """Two evaluated runs on the test split that they share.

    Attributes:
        first: one run.
        second: the other.
        comparison: of right and wrong answers, example by example.
    """

    first: RunDetails
    second: RunDetails
    comparison: PairedComparison

    def differing_settings(self) -> dict[str, tuple[Any, Any]]:
        """Return the settings that the two were not trained alike with."""
        one, other = (shown.run.config.model_dump(mode="json") for shown in (self.first, self.second))
        names = dict.fromkeys((*one, *other))
        return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def list_runs(workspace: Place) -> RunList:
    """Read the records of all runs; of their files, none is checked."""
    runs, problems = list[RunSummary](), list[CorruptArtefact]()
    for path in (workspace / "runs").glob(f"*/{RUN_NAME}"):
        try:
            run = load_run(path.parent)
            evaluated = (path.parent / EVALUATION_NAME).exists()
            runs.append(RunSummary(run, load_evaluation(workspace, run) if evaluated else None))
        except CorruptArtefact as problem:
            problems.append(problem)
    return RunList(sorted(runs, key=_newest_first), problems)


def show_run(workspace: Place, wanted: str | None) -> RunDetails:
    """Read an evaluated run, checked.

    Raises:
        BadUsage: there is no such run, or it is not evaluated.
        CorruptArtefact: a file is not what a record says.
    """
    run = check_run(workspace, find_run_folder(workspace, wanted))
    if not (workspace / "runs" / run.run_id / EVALUATION_NAME).exists():
        raise BadUsage(f"{run.run_id} is not evaluated yet: backbeam evaluate {run.run_id}")
    evaluation = check_evaluation(workspace, run)
    return RunDetails(run, evaluation, read_rows(workspace, "classes", run.run_id).to_pylist())


def compare_runs(workspace: Place, first: str | None, second: str | None) -> RunComparison:
    """Compare two runs on the examples of the test split.

    Raises:
        BadUsage: there is no such run, it is not evaluated, or both are the same.
        BadInput: the two were evaluated on other examples.
        CorruptArtefact: a file is not what a record says.
    """
    one, other = show_run(workspace, first), show_run(workspace, second)
    if one.run.run_id == other.run.run_id:
        raise BadUsage(f"{first} and {second} are the same run, {one.run.run_id}: name two")
    return RunComparison(one, other, compare_paired(*paired(workspace, one.run.run_id, other.run.run_id, "test")))


def changed_settings(config: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Return every setting of a run beside that of the recipe it came from, if this version of backbeam has it."""
    own = config.model_dump(mode="json")
    recipe = RECIPES[config.recipe].config.model_dump(mode="json") if config.recipe in RECIPES else own
    return {name: (value, recipe.get(name)) for name, value in own.items()}


def _newest_first(listed: RunSummary) -> tuple[float, str]:
    return -datetime.fromisoformat(listed.run.finished).timestamp(), listed.run.run_id
