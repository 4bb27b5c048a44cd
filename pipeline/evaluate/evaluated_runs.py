"""Find, list and compare the evaluated runs of a workspace."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from model.errors import BadUsage, CorruptArtefact
from pipeline.evaluate.evaluation_record import (
    EVALUATION_NAME,
    EvaluationRecord,
    SplitResult,
    check_evaluation,
    load_evaluation,
)
from pipeline.evaluate.significance import PairedComparison, compare_paired
from pipeline.evaluate.table_reader import read_paired_outcomes, read_rows
from pipeline.progress import format_percent
from pipeline.storage.files import list_folders_with
from pipeline.storage.places import Place
from pipeline.train.run_lookup import changed_settings, count_train_examples, find_run_folder
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run
from pipeline.train.run_settings import changed_from_recipe, find_differences

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

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that differ from the run's recipe, as `run_settings.changed_from_recipe`."""
        return changed_settings(self.workspace, self.run)

    def has_table(self, table: str) -> bool:
        """Return whether training wrote a table, which runs of earlier versions may lack."""
        return any(file.table == table for file in self.run.tables)

    def rows(self, table: str, split: str | None = None) -> list[Row]:
        """Read and verify the run's rows of a table, of all splits or of one; raises CorruptArtefact."""
        rows: list[Row] = read_rows(self.workspace, table, self.run.run_id).to_pylist()
        return [row for row in rows if split is None or row["split"] == split]


class RunSummary(NamedTuple):
    """A run, if it is evaluated its evaluation, and its settings that differ from the recipe."""

    run: RunRecord
    evaluation: EvaluationRecord | None
    changed: dict[str, Any]  # as `run_settings.changed_from_recipe`

    @property
    def test(self) -> SplitResult:
        """The test split's result; raises ValueError if the run is not evaluated."""
        if self.evaluation is None:
            raise ValueError(f"{self.run.run_id} is not evaluated")
        return self.evaluation.test_result()


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


def has_evaluated_run(workspace: Place) -> bool:
    """Return whether a workspace, which may not exist, has an evaluated run."""
    return bool(list_folders_with(workspace / "runs", EVALUATION_NAME))


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
    num_examples: dict[str, int | None] = {}  # of the train split, by the digest of the data set's manifest
    for path in (workspace / "runs").glob(f"*/{RUN_NAME}"):
        try:
            run = load_run(path.parent)
            evaluated = (path.parent / EVALUATION_NAME).exists()
            evaluation = load_evaluation(workspace, run) if evaluated else None
            if run.dataset_digest not in num_examples:
                num_examples[run.dataset_digest] = count_train_examples(workspace, run)
            changed = changed_from_recipe(run.config, num_examples[run.dataset_digest])
            runs.append(RunSummary(run, evaluation, changed))
        except (CorruptArtefact, FileNotFoundError) as problem:
            if not path.exists():  # another process has deleted the run meanwhile
                continue
            if isinstance(problem, FileNotFoundError):
                raise
            problems.append(problem)
    runs.sort(key=lambda summary: summary.run.run_id)
    runs.sort(key=lambda summary: summary.run.finished, reverse=True)  # times in UTC and of one format
    return RunList(runs, problems)


def find_latest_run(workspace: Place) -> RunRecord:
    """Return the complete run that finished training last; raises BadUsage if there is none, and CorruptArtefact."""
    return _list_readable(workspace)[0].run


def find_best_run(workspace: Place) -> RunRecord:
    """Return the evaluated run with the most correct answers to the test split.

    Of equals it is the one with the lower loss, then the one trained last. Raises BadUsage if no run is evaluated, or
    if evaluated runs are of several data sets, whose accuracies are not comparable; and CorruptArtefact.
    """
    evaluated = [(run, evaluation) for run, evaluation, _ in _list_readable(workspace) if evaluation]
    if not evaluated:
        raise BadUsage(f"no run in {workspace / 'runs'} is evaluated: `backbeam evaluate RUN` does that")
    best: dict[str, tuple[RunRecord, SplitResult]] = {}  # by data set
    for run, evaluation in evaluated:  # the newest first, which stays among equals
        result = evaluation.test_result()
        leader = best.setdefault(run.dataset_id, (run, result))[1]
        if (result.accuracy, -result.loss) > (leader.accuracy, -leader.loss):
            best[run.dataset_id] = (run, result)
    if len(best) > 1:
        lines = [f"\n  {run.run_id}  {format_percent(result.accuracy)} of {key}" for key, (run, result) in best.items()]
        raise BadUsage(f"'best' matches a run of each of several data sets; name one of:{''.join(lines)}")
    return next(iter(best.values()))[0]


def _list_readable(workspace: Place) -> list[RunSummary]:
    """Return all complete runs, the newest first; raises BadUsage if there is none, CorruptArtefact for a record."""
    listing = list_runs(workspace)
    if listing.problems:
        raise listing.problems[0]
    if not listing.runs:
        raise BadUsage(f"found no run in {workspace / 'runs'}: `backbeam run` makes one")
    return listing.runs


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
