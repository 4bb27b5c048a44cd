"""Find, list and compare the evaluated runs of a workspace."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from model.errors import BadUsage, CorruptArtefact
from model.recipes import RECIPES, TrainingConfig
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, EvaluationRecord, check_evaluation, load_evaluation
from pipeline.evaluate.significance import PairedComparison, compare_paired
from pipeline.evaluate.table_reader import read_paired_outcomes, read_rows
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import load_manifest
from pipeline.preprocess.provenance import Origin, load_origin, origin_path
from pipeline.storage.files import list_folders_with
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run_folder, load_dataset_of
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run

Row: TypeAlias = dict[str, Any]


class EvaluatedRun(NamedTuple):
    """An evaluated run, whose files were verified; the shards of its data set are verified when they are read."""

    workspace: Place
    run: RunRecord
    evaluation: EvaluationRecord
    dataset: Dataset

    @property
    def folder(self) -> Place:
        """The run's folder."""
        return self.workspace / "runs" / self.run.run_id

    def table(self, name: str, columns: Sequence[str] | None = None) -> Any:
        """Read and verify the run's rows of a table as an Arrow table, all columns or some; raises CorruptArtefact."""
        return read_rows(self.workspace, name, self.run.run_id, columns)

    def rows(self, table: str, split: str | None = None) -> list[Row]:
        """Read and verify the run's rows of a table, of all splits or of one; raises CorruptArtefact."""
        rows: list[Row] = self.table(table).to_pylist()
        return [row for row in rows if split is None or row["split"] == split]

    def origin(self) -> Origin | None:
        """Load the origin of the data set, None if it is not recorded; raises CorruptArtefact."""
        if not origin_path(self.workspace, self.run.dataset_id).exists():
            return None
        return load_origin(self.workspace, self.run.dataset_id)


class RunSummary(NamedTuple):
    """A run and, if it is evaluated, its evaluation."""

    run: RunRecord
    evaluation: EvaluationRecord | None


class RunList(NamedTuple):
    """All runs of a workspace, newest first, and the errors of records that cannot be read."""

    runs: list[RunSummary]
    problems: list[CorruptArtefact]


class RunDetails(NamedTuple):
    """An evaluated run: its records, and the rows of its table `classes`."""

    run: RunRecord
    evaluation: EvaluationRecord
    classes: list[Row]


class RunComparison(NamedTuple):
    """Two evaluated runs, and their correct answers to the test split that they share, paired by example."""

    first: RunDetails
    second: RunDetails
    comparison: PairedComparison

    def differing_settings(self) -> dict[str, tuple[Any, Any]]:
        """Return the settings of training that differ: (first, second) by name."""
        first = self.first.run.config.model_dump(mode="json")
        second = self.second.run.config.model_dump(mode="json")
        names = dict.fromkeys((*first, *second))
        return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}


def find_evaluated(workspace: Place, names: Sequence[str]) -> list[EvaluatedRun]:
    """Find evaluated runs by their ids or prefixes of them, by default the one trained last, and verify their files.

    Raises:
        BadUsage: a name matches no run or several, a run is not evaluated, or it is named twice.
        CorruptArtefact: a file does not match its record.
    """
    folders = [find_run_folder(workspace, name) for name in names] or [_find_latest(workspace / "runs")]
    if len(set(folders)) < len(folders):
        raise BadUsage(f"a run is named twice: {', '.join(folder.name for folder in folders)}")
    for folder in folders:
        if not (folder / EVALUATION_NAME).exists():
            raise BadUsage(f"{folder.name} is not evaluated yet: run `backbeam evaluate {folder.name}` first")
    return [_load_evaluated(workspace, folder) for folder in folders]


def _find_latest(parent: Place) -> Place:
    """Return the folder of the evaluated run that finished training last; raises BadUsage if there is none."""
    evaluated = [load_run(folder) for folder in list_folders_with(parent, EVALUATION_NAME)]
    if not evaluated:
        raise BadUsage(f"no run in {parent} is evaluated: `backbeam run`, or `backbeam evaluate RUN`, does that")
    return parent / max(evaluated, key=lambda run: (run.finished, run.run_id)).run_id


def _load_evaluated(workspace: Place, folder: Place) -> EvaluatedRun:
    run = check_run(workspace, folder)
    evaluation = check_evaluation(workspace, run)
    return EvaluatedRun(workspace, run, evaluation, load_dataset_of(workspace, run, load_manifest))


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


def _newest_first(summary: RunSummary) -> tuple[float, str]:
    return -datetime.fromisoformat(summary.run.finished).timestamp(), summary.run.run_id


def show_run(workspace: Place, name: str | None) -> RunDetails:
    """Load an evaluated run by its id or a prefix, None for the only run, and verify its files.

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
