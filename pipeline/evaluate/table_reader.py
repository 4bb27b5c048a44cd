"""Read the tables of runs; every file is verified against the record that names it."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from model.errors import BadInput, BadUsage, CorruptArtefact
from model.recipes import check_names
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, load_evaluation
from pipeline.evaluate.significance import Outcomes
from pipeline.preprocess.shards import number_order
from pipeline.storage.places import Place
from pipeline.storage.tables import EVALUATION_TABLES, LATER_TABLES, TRAINING_TABLES, TableFile, decode_table
from pipeline.train.run_record import RUN_NAME, load_run

KEYS = ["part", "index"]  # identify an example
ANSWER_COLUMNS = [*KEYS, "label", "predicted"]


def read_rows(workspace: Place, table: str, run_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read all or some columns of a run's rows of a table, in the order of the shards.

    The table is one of `tables.EVALUATION_TABLES` or `tables.TRAINING_TABLES`, and the id is the full one. Raises
    BadUsage if there is no such table or run, if the run is of a version without the table or is not evaluated, and
    CorruptArtefact if the files in the run's folder of the table are not those that its records name.
    """
    files = _files_of(workspace, table, run_id)
    folder = files[0].folder(workspace, run_id)
    # readers that match *.parquet and know no records must see the same rows
    others = sorted({path.name for path in folder.glob("*.parquet")} - {file.name for file in files})
    if others:
        raise CorruptArtefact(f"{folder / others[0]} belongs to no run: delete it")
    return pa.concat_tables(decode_table(file.read(folder), str(folder / file.name), columns) for file in files)


def read_paired_outcomes(workspace: Place, first: str, second: str, split: str) -> tuple[Outcomes, Outcomes]:
    """Read whether the answers of two runs to the same examples of a split are correct, bool[n] of each run.

    The examples are in the order of their parts and indices. Raises as `read_rows`, and BadInput if the two were not
    evaluated on the same examples, or there are none.
    """
    first_rows = read_answers(workspace, first, split)
    second_rows = read_answers(workspace, second, split)
    if not len(first_rows) and not len(second_rows):
        raise BadInput(f"{first} and {second} have no examples in a split {split!r}")
    if not first_rows.select([*KEYS, "label"]).equals(second_rows.select([*KEYS, "label"])):
        raise BadInput(
            f"{first} and {second} were not evaluated on the same {split} examples: {_describe(first_rows)} "
            f"against {_describe(second_rows)}; compare runs of one data set"
        )
    return _correct(first_rows), _correct(second_rows)


def read_split(workspace: Place, run_id: str, split: str, columns: Sequence[str]) -> pa.Table:
    """Read columns of a run's rows of the table `predictions` of a split; raises as `read_rows`."""
    rows = read_rows(workspace, "predictions", run_id, ["split", *columns])
    return rows.filter(pc.equal(rows["split"], split)).drop_columns(["split"])


def read_answers(workspace: Place, run_id: str, split: str) -> pa.Table:
    """Read the columns `ANSWER_COLUMNS` of a run's predictions of a split, sorted by example; raises as `read_rows`."""
    return sort_by_example(read_split(workspace, run_id, split, ANSWER_COLUMNS))


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
    check_names([table], TRAINING_TABLES + EVALUATION_TABLES, "no such table of a run")
    if not (folder / RUN_NAME).exists():
        raise BadUsage(f"no run {run_id} in {folder.parent}")
    run = load_run(folder)
    if table in TRAINING_TABLES:
        named = run.tables
    elif (folder / EVALUATION_NAME).exists():
        named = load_evaluation(workspace, run).tables
    else:
        raise BadUsage(f"{run_id} is not evaluated", hint=f"`backbeam evaluate {run_id}` does it")
    # by number, not by text: from 100,000 shards on, their numbers have more digits
    files = sorted((file for file in named if file.table == table), key=lambda file: number_order(file.name))
    if not files and table in LATER_TABLES:
        raise BadUsage(f"{run_id} has no table {table}, since an earlier version of backbeam trained it")
    if not files:
        raise CorruptArtefact(f"{folder} names no file of the table {table}; delete the folder to have it made again")
    return files


def _correct(rows: pa.Table) -> Outcomes:
    correct: Outcomes = pc.equal(rows["label"], rows["predicted"]).to_numpy()
    return correct


def _describe(rows: pa.Table) -> str:
    parts = ", ".join(pc.unique(rows["part"]).to_pylist())
    return f"{len(rows):,} of {parts}" if parts else "none"
