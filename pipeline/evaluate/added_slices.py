"""Add slicings to a complete evaluation: new rows of the table `slices`, and a new record. Imports no Beam.

The file of `slices` and the record cannot be replaced in one step. So the new record is first written beside the old
one, as `evaluation-next.json`. It counts from the moment in which its file of `slices` is in place: see
`load_evaluation`. `finish_interrupted_addition` then gives it the name of the record.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.evaluate.evaluation_record import NEXT_NAME, finish_interrupted_addition, load_evaluation
from pipeline.evaluate.group_counts import GroupCounts
from pipeline.evaluate.shard_predictions import EvaluationJob
from pipeline.evaluate.slice_config import describe_slicings, load_slicing, order_slicings
from pipeline.evaluate.slices import slice_rows
from pipeline.evaluate.table_reader import read_rows
from pipeline.storage.files import digest_of, write_atomically
from pipeline.storage.schemas import ORIGIN
from pipeline.storage.tables import SCHEMAS, TableFile, build_table, encode_table
from pipeline.train.run_record import RunRecord

_TABLE = "slices"


def add_slices(counts: Mapping[tuple[str, str], GroupCounts], job: EvaluationJob) -> None:
    """Replace the table `slices` by one with the rows of the job's slicings too, then the record.

    Engines may repeat it. Raises BadInput if a user's slices fail, CorruptArtefact if the table does not verify.
    """
    workspace = job.workspace
    run = job.run
    finish_interrupted_addition(workspace, run)
    record = load_evaluation(workspace, run)
    rows = [row for row in read_rows(workspace, _TABLE, run.run_id).to_pylist() if row["slicing"] not in job.slicings]
    for name, slicing in job.slicings.items():
        by_split = {result.split: counts[name, result.split] for result in record.results}
        rows += slice_rows(name, load_slicing(name, slicing), by_split, job.names)
    places = record.slicings | describe_slicings(job.slicings)
    order = list(order_slicings(places))
    rows.sort(key=lambda row: order.index(row["slicing"]))
    data = encode_table(_to_table(rows, run), _TABLE)
    file = TableFile(table=_TABLE, name=f"{_TABLE}.parquet", num_bytes=len(data), sha256=digest_of(data))
    tables = tuple(file if each.table == _TABLE else each for each in record.tables)
    changed = record.model_copy(update={"slicings": places, "tables": tables})
    write_atomically(job.run_folder / NEXT_NAME, changed.to_json())
    write_atomically(file.folder(workspace, run.run_id) / file.name, data)
    finish_interrupted_addition(workspace, run)


def _to_table(rows: list[dict[str, Any]], run: RunRecord) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in SCHEMAS[_TABLE].names if name not in ORIGIN}
    return build_table(columns, SCHEMAS[_TABLE], run.run_id, run.dataset_digest, run.parameters.sha256)
