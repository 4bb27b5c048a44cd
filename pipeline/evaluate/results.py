"""Reading the tables of runs back, each file checked against the record that names it."""

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

Evaluated: TypeAlias = EvaluationRecord | str  # a run's id, or its evaluation

KEYS = ["part", "index"]  # of an example


def read_rows(workspace: Place, table: str, run_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a run's rows of a table.

    Args:
        workspace: that holds the run.
        table: one of `files.EVALUATION_TABLES` or `files.TRAINING_TABLES`.
        run_id: all of it.
        columns: those to read; None for all.

    Returns:
        the rows of every file, in the order of the shards.

    Raises:
        BadUsage: there is no such table or run, or the run is not evaluated.
        CorruptArtefact: the run's folder of the table does not hold what the run's records say.
    """
    files = _files_of(workspace, table, run_id)
    folder = files[0].folder(workspace, run_id)
    _check_nothing_else(folder, files)
    return pa.concat_tables(_read(file, folder, columns) for file in files)


def paired(workspace: Place, first: Evaluated, second: Evaluated, split: str) -> tuple[Outcomes, Outcomes]:
    """Return what two runs have right of the same examples.

    Args:
        workspace: that holds both runs.
        first: a run's id, or its evaluation.
        second: the same of the other.
        split: whose examples.

    Returns:
        bool[n] of each, in the order of the examples' parts and indices.

    Raises:
        BadInput: the two were not evaluated on the same examples, or there are none.
        BadUsage: as `read_rows`.
        CorruptArtefact: as `read_rows`.
    """
    names = [each if isinstance(each, str) else each.run_id for each in (first, second)]
    ours, theirs = (_answers(workspace, name, split) for name in names)
    if not len(ours) and not len(theirs):
        raise BadInput(f"{names[0]} and {names[1]} have no examples in a split {split!r}")
    if not ours.select([*KEYS, "label"]).equals(theirs.select([*KEYS, "label"])):
        raise BadInput(
            f"{names[0]} and {names[1]} were not evaluated on the same {split} examples: {_describe(ours)} against "
            f"{_describe(theirs)}; compare runs of one data set"
        )
    return _correct(ours), _correct(theirs)


def sort_by_example(rows: pa.Table) -> pa.Table:
    """Return rows in the order of their columns `KEYS`.

    Sorting puts all texts of a column into one array, which for Arrow's string may have no more than 2 GiB: about 80
    million ids of data sets.
    """
    part = rows["part"].cast(pa.large_string())
    wide = rows.set_column(rows.column_names.index("part"), "part", part)
    return wide.sort_by([(key, "ascending") for key in KEYS])


def _files_of(workspace: Place, table: str, run_id: str) -> list[TableFile]:
    """List the files of a run's rows of a table, as its records name them."""
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
    files = sorted((file for file in named if file.table == table), key=lambda file: number_order(file.name))
    if not files:
        raise CorruptArtefact(f"{folder} names no file of the table {table}; delete the folder to have it made again")
    return files


def _check_nothing_else(folder: Place, files: Sequence[TableFile]) -> None:
    """Check that other readers, who know nothing of records, do not find more rows."""
    others = sorted({path.name for path in folder.glob("*.parquet")} - {file.name for file in files})
    if others:
        raise CorruptArtefact(f"{folder / others[0]} belongs to no run: delete it")


def _read(file: TableFile, folder: Place, columns: Sequence[str] | None) -> pa.Table:
    return decode_table(file.read(folder), str(folder / file.name), columns)


def _answers(workspace: Place, run_id: str, split: str) -> pa.Table:
    rows = read_rows(workspace, "predictions", run_id, ["split", *KEYS, "label", "predicted"])
    return sort_by_example(rows.filter(pc.equal(rows["split"], split)))


def _correct(answers: pa.Table) -> Outcomes:
    found: Outcomes = pc.equal(answers["label"], answers["predicted"]).to_numpy()
    return found


def _describe(answers: pa.Table) -> str:
    parts = ", ".join(pc.unique(answers["part"]).to_pylist())
    return f"{len(answers):,} of {parts}" if parts else "none"


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
    evaluated = [load_run(folder) for folder in list_folders_with(parent, EVALUATION_NAME)]
    if not evaluated:
        raise BadUsage(f"no run in {parent} is evaluated: `backbeam run`, or `backbeam evaluate RUN`, does that")
    return parent / max(evaluated, key=lambda run: (run.finished, run.run_id)).run_id


def _check(workspace: Place, folder: Place) -> EvaluatedRun:
    run = check_run(workspace, folder)
    return EvaluatedRun(
        workspace, run, check_evaluation(workspace, run), load_dataset_of(workspace, run, load_manifest)
    )
