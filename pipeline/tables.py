"""Parquet tables: their schemas, and how they are written and read back.

Every file is compressed with zstd and carries a checksum on every page; readers here verify it.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import CorruptArtefact
from pipeline import storage
from pipeline.manifest import FileInfo
from pipeline.places import Place

SCHEMA_VERSION = 1

# What each evaluation row says of its origin: the run, the digest of the data set's manifest, the digest of the
# parameters' file, and the version of these schemas.
_ORIGIN = [
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("dataset_digest", pa.string(), nullable=False),
    pa.field("model_digest", pa.string(), nullable=False),
    pa.field("schema_version", pa.int32(), nullable=False),
]


def _schema(**fields: pa.DataType) -> pa.Schema:
    return pa.schema([*_ORIGIN, *(pa.field(name, kind, nullable=False) for name, kind in fields.items())])


TRAINING_TABLES = ("learning_curve", "gradient_agreement")

SCHEMAS = {
    # one row a split; accuracy_low and accuracy_high bound the 95 % Wilson interval; loss is the mean of an example;
    # never_predicted names classes that the model never answered though the split has examples of them
    "evaluations": _schema(
        split=pa.string(),
        num_examples=pa.int64(),
        num_correct=pa.int64(),
        accuracy=pa.float64(),
        accuracy_low=pa.float64(),
        accuracy_high=pa.float64(),
        loss=pa.float64(),
        first_1000_examples=pa.int64(),
        first_1000_correct=pa.int64(),
        never_predicted=pa.list_(pa.string()),
    ),
    # one row a split, of several runs that differ in their seeds only; run_id names the group, model_digest is of all
    # the models' digests; lists go by seed; never_predicted names classes that a run never answered though the split
    # has examples of them
    "seeds": _schema(
        recipe=pa.string(),
        split=pa.string(),
        seeds=pa.list_(pa.int64()),
        run_ids=pa.list_(pa.string()),
        accuracies=pa.list_(pa.float64()),
        accuracy_median=pa.float64(),
        accuracy_lowest=pa.float64(),
        accuracy_highest=pa.float64(),
        first_1000_correct=pa.list_(pa.int64()),
        first_1000_median=pa.float64(),
        never_predicted=pa.list_(pa.struct([("seed", pa.int64()), ("class_name", pa.string())])),
    ),
    # one row a split and class; support is the number of examples of the class; 0 stands where a ratio has no base
    "classes": _schema(
        split=pa.string(),
        label=pa.int64(),
        class_name=pa.string(),
        precision=pa.float64(),
        recall=pa.float64(),
        f1=pa.float64(),
        support=pa.int64(),
        num_predicted=pa.int64(),
    ),
    # one row a split, label and predicted class, zeros included
    "confusion": _schema(split=pa.string(), label=pa.int64(), predicted=pa.int64(), count=pa.int64()),
    # one row an example; part is the id of the data set that its shard is in, which is a part of a joint data set or
    # the data set itself; probabilities are the network's outputs, which add up to 1 only if its last layer makes them;
    # confidence is the largest
    "predictions": _schema(
        split=pa.string(),
        part=pa.string(),
        index=pa.int64(),
        label=pa.int64(),
        predicted=pa.int64(),
        confidence=pa.float32(),
        probabilities=pa.list_(pa.float32()),
    ),
    # one row a report of the trainer; loss is the mean over the batches since the last one (NaN at step 0)
    "learning_curve": _schema(
        step=pa.int64(),
        examples_seen=pa.int64(),
        loss=pa.float64(),
        num_correct=pa.int64(),
        num_monitored=pa.int64(),
        seconds=pa.float64(),
    ),
    # one row a chunk of a run in lockstep: see model.lockstep.Agreement
    "gradient_agreement": _schema(
        step=pa.int64(),
        largest_difference=pa.float64(),
        drift=pa.float64(),
        largest_parameter=pa.float64(),
    ),
}

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

# one row a check and split; columns as in pipeline.validation.CheckResult; the origin is a data set, not a run, and the
# digest of the manifest that it was compared with, if any
VALIDATION_SCHEMA = pa.schema(
    [
        pa.field("dataset_id", pa.string(), nullable=False),
        pa.field("dataset_digest", pa.string(), nullable=False),
        pa.field("baseline_digest", pa.string()),
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("check", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("warning_threshold", pa.float64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("passed", pa.bool_(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("num_examples", pa.int64(), nullable=False),
        pa.field("indices", pa.list_(pa.int64()), nullable=False),
        pa.field("twin_indices", pa.list_(pa.int64()), nullable=False),
    ]
)


def origin_columns(num_rows: int, run_id: str, dataset_digest: str, model_digest: str) -> dict[str, list[Any]]:
    """Return the columns that every table of a run begins with."""
    values = (run_id, dataset_digest, model_digest, SCHEMA_VERSION)
    return {field.name: [value] * num_rows for field, value in zip(_ORIGIN, values, strict=True)}


def partition(table: str, run_id: str) -> str:
    """Return the folder of a run's rows of a table, below the workspace: reports/TABLE/run=RUN_ID."""
    return f"reports/{table}/run={run_id}"


def dataset_partition(table: str, dataset_id: str) -> str:
    """Return the folder of a data set's rows of a table, below the workspace: reports/TABLE/dataset=DATASET_ID."""
    return f"reports/{table}/dataset={dataset_id}"


def write_table(path: Place, table: pa.Table) -> FileInfo:
    """Write a table to a file, atomically, and describe the file."""
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    data = sink.getvalue()
    storage.write_atomically(path, data)
    return FileInfo(name=path.name, num_bytes=len(data), sha256=storage.digest_of(data))


def read_table(path: Place) -> pa.Table:
    """Read a table back.

    Raises:
        CorruptArtefact: it is no Parquet file, or a page's checksum is wrong.
    """
    try:
        file = path if isinstance(path, Path) else pa.BufferReader(path.read_bytes())
        return pq.ParquetFile(file, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as problem:
        raise CorruptArtefact(f"{path} cannot be read: {str(problem).splitlines()[0]}") from None
