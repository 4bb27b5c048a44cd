"""Read the tables of runs; every file is verified against the record that names it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from model.errors import BadInput, BadUsage, CorruptArtefact
from pipeline.evaluate.records import EVALUATION_NAME, EvaluationRecord, check_evaluation, load_evaluation
from pipeline.evaluate.significance import Outcomes
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import load_manifest
from pipeline.preprocess.provenance import Origin, load_origin, origin_path
from pipeline.preprocess.shards import number_order
from pipeline.storage.files import list_folders_with
from pipeline.storage.places import Place
from pipeline.storage.tables import EVALUATION_TABLES, TRAINING_TABLES, TableFile, decode_table
from pipeline.train.run_lookup import find_run_folder, load_dataset_of
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run

Evaluated: TypeAlias = EvaluationRecord | str  # an evaluated run: its evaluation, or its id
Row: TypeAlias = dict[str, Any]

KEYS = ["part", "index"]  # identify an example


def read_rows(workspace: Place, table: str, run_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a run's rows of a table.

    Args:
        workspace: holds the run.
        table: one of `tables.EVALUATION_TABLES` or `tables.TRAINING_TABLES`.
        run_id: the full id.
        columns: to read; None for all.

    Returns:
        the rows of every file, in the order of the shards.

    Raises:
        BadUsage: the table or the run does not exist, or the run is not evaluated.
        CorruptArtefact: the files in the run's folder of the table are not those that its records name.
    """
    files = _files_of(workspace, table, run_id)
    folder = files[0].folder(workspace, run_id)
    _check_no_other_files(folder, files)
    return pa.concat_tables(_read(file, folder, columns) for file in files)


def read_paired_outcomes(
    workspace: Place, first: Evaluated, second: Evaluated, split: str
) -> tuple[Outcomes, Outcomes]:
    """Read whether the answers of two runs to the same examples are correct.

    Args:
        workspace: holds both runs.
        first: a run's id, or its evaluation.
        second: likewise of the other run.
        split: of the examples.

    Returns:
        bool[n] of each run, in the order of the examples' parts and indices.

    Raises:
        BadInput: the two were not evaluated on the same examples, or there are none.
        BadUsage: see `read_rows`.
        CorruptArtefact: see `read_rows`.
    """
    run_ids = [run if isinstance(run, str) else run.run_id for run in (first, second)]
    first_rows, second_rows = (_read_predictions(workspace, run_id, split) for run_id in run_ids)
    if not len(first_rows) and not len(second_rows):
        raise BadInput(f"{run_ids[0]} and {run_ids[1]} have no examples in a split {split!r}")
    if not first_rows.select([*KEYS, "label"]).equals(second_rows.select([*KEYS, "label"])):
        raise BadInput(
            f"{run_ids[0]} and {run_ids[1]} were not evaluated on the same {split} examples: {_describe(first_rows)} "
            f"against {_describe(second_rows)}; compare runs of one data set"
        )
    return _correct(first_rows), _correct(second_rows)


def sort_by_example(rows: pa.Table) -> pa.Table:
    """Sort rows by their columns `KEYS`.

    Sorting puts all strings of a column into one array. Arrow's `string` holds at most 2 GiB in an array, about 80
    million ids of data sets, so that `part` becomes a `large_string`.
    """
    part = rows["part"].cast(pa.large_string())
    cast = rows.set_column(rows.column_names.index("part"), "part", part)
    return cast.sort_by([(key, "ascending") for key in KEYS])


def _files_of(workspace: Place, table: str, run_id: str) -> list[TableFile]:
    """Return the files with a run's rows of a table, as its records name them."""
    folder = workspace / "runs" / run_id
    if table not in (*TRAINING_TABLES, *EVALUATION_TABLES):
        raise BadUsage(
            f"no such table of a run: {table!r}; there are: {', '.join(TRAINING_TABLES + EVALUATION_TABLES)}"
        )
    if not (folder / RUN_NAME).exists():
        raise BadUsage(f"no run {run_id} in {folder.parent}")
    run = load_run(folder)
    if table in TRAINING_TABLES:
        named = run.tables
    elif (folder / EVALUATION_NAME).exists():
        named = load_evaluation(workspace, run).tables
    else:
        raise BadUsage(f"{run_id} is not evaluated: `backbeam evaluate {run_id}` does it")
    # by number, not by text: from 100,000 shards on, their numbers have more digits
    files = sorted((file for file in named if file.table == table), key=lambda file: number_order(file.name))
    if not files:
        raise CorruptArtefact(f"{folder} names no file of the table {table}; delete the folder to have it made again")
    return files


def _check_no_other_files(folder: Place, files: Sequence[TableFile]) -> None:
    """Check that readers that match *.parquet and know no records see the same rows; raises CorruptArtefact."""
    others = sorted({path.name for path in folder.glob("*.parquet")} - {file.name for file in files})
    if others:
        raise CorruptArtefact(f"{folder / others[0]} belongs to no run: delete it")


def _read(file: TableFile, folder: Place, columns: Sequence[str] | None) -> pa.Table:
    return decode_table(file.read(folder), str(folder / file.name), columns)


def _read_predictions(workspace: Place, run_id: str, split: str) -> pa.Table:
    rows = read_rows(workspace, "predictions", run_id, ["split", *KEYS, "label", "predicted"])
    return sort_by_example(rows.filter(pc.equal(rows["split"], split)))


def _correct(rows: pa.Table) -> Outcomes:
    correct: Outcomes = pc.equal(rows["label"], rows["predicted"]).to_numpy()
    return correct


def _describe(rows: pa.Table) -> str:
    parts = ", ".join(pc.unique(rows["part"]).to_pylist())
    return f"{len(rows):,} of {parts}" if parts else "none"


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluated run, whose files were verified.

    Attributes:
        workspace: holds the run.
        run: its record.
        evaluation: the record of its evaluation.
        dataset: that it was trained on; shards are verified when they are read.
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


def find_evaluated(workspace: Place, names: Sequence[str]) -> list[EvaluatedRun]:
    """Find evaluated runs and verify their files.

    Args:
        workspace: holds the runs.
        names: ids or prefixes of ids; empty for the evaluated run that finished training last.

    Raises:
        BadUsage: a name matches no run or several, a run is not evaluated, or it is named twice.
        CorruptArtefact: a file does not match its record.
    """
    parent = workspace / "runs"
    folders = [find_run_folder(workspace, name) for name in names] or [_latest(parent)]
    if len(set(folders)) < len(folders):
        raise BadUsage(f"a run is named twice: {', '.join(folder.name for folder in folders)}")
    for folder in folders:
        if not (folder / EVALUATION_NAME).exists():
            raise BadUsage(f"{folder.name} is not evaluated yet: run `backbeam evaluate {folder.name}` first")
    return [_load_evaluated(workspace, folder) for folder in folders]


def _latest(parent: Place) -> Place:
    """Return the folder of the evaluated run that finished training last; raises BadUsage if there is none."""
    evaluated = [load_run(folder) for folder in list_folders_with(parent, EVALUATION_NAME)]
    if not evaluated:
        raise BadUsage(f"no run in {parent} is evaluated: `backbeam run`, or `backbeam evaluate RUN`, does that")
    return parent / max(evaluated, key=lambda run: (run.finished, run.run_id)).run_id


def _load_evaluated(workspace: Place, folder: Place) -> EvaluatedRun:
    run = check_run(workspace, folder)
    evaluation = check_evaluation(workspace, run)
    return EvaluatedRun(workspace, run, evaluation, load_dataset_of(workspace, run, load_manifest))
