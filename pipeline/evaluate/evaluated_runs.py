"""Find, list and compare the evaluated runs of a workspace."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from model.errors import BadUsage, CorruptArtefact
from model.recipes import RECIPES, TrainingConfig
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, EvaluationRecord, check_evaluation, load_evaluation
from pipeline.evaluate.significance import PairedComparison, compare_paired
from pipeline.evaluate.table_reader import read_paired_outcomes, read_rows
from pipeline.storage.files import list_folders_with
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run_folder
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run

Row: TypeAlias = dict[str, Any]


class EvaluatedRun(NamedTuple):
    """An evaluated run, whose files were verified."""

    workspace: Place
    run: RunRecord
    evaluation: EvaluationRecord

    @property
    def folder(self) -> Place:
        """The run's folder."""
        return self.workspace / "runs" / self.run.run_id

    def rows(self, table: str, split: str | None = None) -> list[Row]:
        """Read and verify the run's rows of a table, of all splits or of one; raises CorruptArtefact."""
        rows: list[Row] = read_rows(self.workspace, table, self.run.run_id).to_pylist()
        return [row for row in rows if split is None or row["split"] == split]


class RunSummary(NamedTuple):
    """A run and, if it is evaluated, its evaluation."""

    run: RunRecord
    evaluation: EvaluationRecord | None


class RunList(NamedTuple):
    """All runs of a workspace, newest first, and the errors of records that cannot be read."""

    runs: list[RunSummary]
    problems: list[CorruptArtefact]


class RunComparison(NamedTuple):
    """Two evaluated runs, and their correct answers to the test split that they share, paired by example."""

    first: EvaluatedRun
    second: EvaluatedRun
    comparison: PairedComparison
    settings: dict[str, list[Any]]  # of training, those that differ: [first, second] by name


def find_evaluated(workspace: Place, names: Sequence[str]) -> list[EvaluatedRun]:
    """Find evaluated runs by their ids or prefixes of them, by default the one trained last, and verify their files.

    Raises BadUsage if a name matches no run or several, or a run is not evaluated or named twice; and CorruptArtefact.
    """
    folders = [find_run_folder(workspace, name) for name in names] or [_find_latest(workspace / "runs")]
    if len(set(folders)) < len(folders):
        raise BadUsage(f"a run is named twice: {', '.join(folder.name for folder in folders)}")
    return [_load_evaluated(workspace, folder) for folder in folders]


def _find_latest(parent: Place) -> Place:
    """Return the folder of the evaluated run that finished training last; raises BadUsage if there is none."""
    evaluated = [load_run(folder) for folder in list_folders_with(parent, EVALUATION_NAME)]
    if not evaluated:
        raise BadUsage(f"no run in {parent} is evaluated", hint="`backbeam run`, or `backbeam evaluate RUN`, does that")
    return parent / max(evaluated, key=lambda run: (run.finished, run.run_id)).run_id


def _load_evaluated(workspace: Place, folder: Place) -> EvaluatedRun:
    if not (folder / EVALUATION_NAME).exists():
        raise BadUsage(f"{folder.name} is not evaluated yet", hint=f"`backbeam evaluate {folder.name}` does it")
    run = check_run(workspace, folder)
    return EvaluatedRun(workspace, run, check_evaluation(workspace, run))


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
    runs.sort(key=lambda summary: summary.run.run_id)
    runs.sort(key=lambda summary: summary.run.finished, reverse=True)  # times in UTC and of one format
    return RunList(runs, problems)


def show_run(workspace: Place, name: str | None) -> EvaluatedRun:
    """Load an evaluated run by its id or a prefix, None for the only run, and verify its files.

    Raises BadUsage if the name matches no run or several, or the run is not evaluated; and CorruptArtefact.
    """
    return _load_evaluated(workspace, find_run_folder(workspace, name))


def compare_runs(workspace: Place, first: str | None, second: str | None) -> RunComparison:
    """Compare two runs on the examples of the test split; names are as in `show_run`.

    Raises as `show_run`; BadUsage also if both are the same run, and BadInput if their examples differ.
    """
    first_run = show_run(workspace, first)
    second_run = show_run(workspace, second)
    if first_run.run.run_id == second_run.run.run_id:
        raise BadUsage(f"{first} and {second} are the same run, {first_run.run.run_id}: name two")
    settings = find_differences([one.run.config.model_dump(mode="json") for one in (first_run, second_run)])
    return RunComparison(first_run, second_run, compare_outcomes(first_run, second_run), settings)


def compare_outcomes(first: EvaluatedRun, second: EvaluatedRun) -> PairedComparison:
    """Compare two runs on the examples of the test split; raises BadInput if these differ, and CorruptArtefact."""
    return compare_paired(*read_paired_outcomes(first.workspace, first.run.run_id, second.run.run_id, "test"))


def find_differences(settings: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the settings that differ between runs: the value in each run by name, None where a run has it not."""
    names = dict.fromkeys(chain.from_iterable(settings))
    values_by_name = {name: [own.get(name) for own in settings] for name in names}
    return {name: values for name, values in values_by_name.items() if any(value != values[0] for value in values)}


def changed_settings(config: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Return every setting as (value, value in its recipe); the values are equal if this version lacks the recipe."""
    own = config.model_dump(mode="json")
    recipe = RECIPES[config.recipe].config.model_dump(mode="json") if config.recipe in RECIPES else own
    return {name: (value, recipe.get(name)) for name, value in own.items()}
