"""Evaluated runs of a workspace, verified, with the rows of their tables: what a report is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model.errors import BadUsage
from pipeline import storage
from pipeline.care.origin import Origin, load_origin, origin_path
from pipeline.lookup import Dataset, dataset_of
from pipeline.manifest import load_manifest
from pipeline.places import Place
from pipeline.runs import (
    EVALUATION_NAME,
    EvaluationRecord,
    RunRecord,
    check_evaluation,
    check_run,
    find_run_folder,
    load_run,
)
from pipeline.tables.warehouse import read_rows

Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluatedRun:
    """A run that was evaluated; every file that its records name was checked.

    Attributes:
        workspace: that holds it.
        run: its record.
        evaluation: its evaluation's record.
        dataset: what it was trained on; its shards are checked when they are read.
    """

    workspace: Place
    run: RunRecord
    evaluation: EvaluationRecord
    dataset: Dataset

    @property
    def folder(self) -> Place:
        """The run's folder."""
        return self.workspace / "runs" / self.run.run_id

    def table(self, name: str, columns: Sequence[str] | None = None) -> Any:
        """Read the run's rows of a table, all columns or some, verified, as an Arrow table; raises CorruptArtefact."""
        return read_rows(self.workspace, name, self.run.run_id, columns)

    def rows(self, table: str, split: str | None = None) -> list[Row]:
        """Read the run's rows of a table, of one split if that is asked for; raises CorruptArtefact."""
        rows: list[Row] = self.table(table).to_pylist()
        return [row for row in rows if split is None or row["split"] == split]

    def origin(self) -> Origin | None:
        """Load where the data set came from; None if nothing says so; raises CorruptArtefact if that is not sound."""
        if not origin_path(self.workspace, self.run.dataset_id).exists():
            return None
        return load_origin(self.workspace, self.run.dataset_id)


def find_evaluated(workspace: Place, wanted: Sequence[str]) -> list[EvaluatedRun]:
    """Find evaluated runs and check their files.

    Args:
        workspace: that holds them.
        wanted: ids or beginnings of ids; none for the evaluated run that was trained last.

    Raises:
        BadUsage: none or several fit, one was not evaluated, or one is named twice.
        CorruptArtefact: a file is not what its record says.
    """
    parent = workspace / "runs"
    folders = [find_run_folder(workspace, name) for name in wanted] or [_latest(parent)]
    if len(set(folders)) < len(folders):
        raise BadUsage(f"a run is named twice: {', '.join(folder.name for folder in folders)}")
    for folder in folders:
        if not (folder / EVALUATION_NAME).exists():
            raise BadUsage(f"{folder.name} is not evaluated yet: run `backbeam evaluate {folder.name}` first")
    return [_check(workspace, folder) for folder in folders]


def _latest(parent: Place) -> Place:
    """Return the evaluated run that was trained last; raises BadUsage if there is none."""
    evaluated = [load_run(folder) for folder in storage.folders_with(parent, EVALUATION_NAME)]
    if not evaluated:
        raise BadUsage(f"no run in {parent} is evaluated: `backbeam run`, or `backbeam evaluate RUN`, does that")
    return parent / max(evaluated, key=lambda run: (run.finished, run.run_id)).run_id


def _check(workspace: Place, folder: Place) -> EvaluatedRun:
    run = check_run(workspace, folder)
    return EvaluatedRun(workspace, run, check_evaluation(workspace, run), dataset_of(workspace, run, load_manifest))
