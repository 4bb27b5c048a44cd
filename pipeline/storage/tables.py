"""Writing, publishing and reading Parquet tables; `schemas` describes their columns.

A run's rows of a table are written to a hidden folder and renamed into place; of an evaluation's tables, `evaluations`
comes last.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import BadInput, CorruptArtefact
from pipeline.storage import schemas
from pipeline.storage.cleanup import temporary_folder
from pipeline.storage.files import (
    clean_up_on_failure,
    digest_of,
    remove_afterwards,
    remove_at_once,
    remove_tree,
    write_atomically,
)
from pipeline.storage.local_disk import flush, make_folder, rename
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.records import FileInfo, FileName
from pipeline.storage.schemas import ORIGIN, SCHEMA_VERSION
from pipeline.storage.workspace import local_folder_of, table_partition

MAX_ROWS = 2**24  # of a file; the longest tables have a row for each example of a shard
MAX_TABLE_BYTES = 2**30  # of a file, decompressed

TRAINING_TABLES = ("learning_curve", "gradient_agreement", "layer_statistics")
LATER_TABLES = ("layer_statistics",)  # that runs of earlier versions lack

Write: TypeAlias = Callable[[Place, bytes], None]  # `write_atomically`, or a function that refuses to replace a file

# In the order in which they are published: a run that is in the last table is complete in all of them.
_LAST_TABLE = "evaluations"
EVALUATION_TABLES = ("classes", "confusion", "slices", "calibration", "weights", "predictions", _LAST_TABLE)

SCHEMAS = {name: schemas.arrow_schema(name, ORIGIN | table.columns) for name, table in schemas.TABLES.items()}
ANSWERS_SCHEMA = schemas.arrow_schema("answers", schemas.ANSWERS.columns)
REJECTED_SCHEMA = schemas.arrow_schema("rejected", schemas.REJECTED.columns)
VALIDATION_SCHEMA = schemas.arrow_schema("validation", schemas.VALIDATION.columns)


def build_table(
    columns: Mapping[str, Any], schema: pa.Schema, run_id: str, dataset_digest: str, model_digest: str
) -> pa.Table:
    """Return a table of a run: the columns of `ORIGIN`, whose values are the same in every row, then those given."""
    num_rows = len(next(iter(columns.values())))
    values = (run_id, dataset_digest, model_digest, SCHEMA_VERSION)
    origin = {name: [value] * num_rows for name, value in zip(ORIGIN, values, strict=True)}
    return pa.table(origin | dict(columns), schema=schema)


def transpose(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of rows, at least one, by column."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def staging_folder(workspace: Place, table: str, run_id: str) -> Place:
    """Return the folder that a run's rows of a table are written to, on a disk hidden from readers of reports/.

    In a store, where folders cannot be renamed, it is the final one.
    """
    if isinstance(workspace, RemotePath):
        return workspace / table_partition(table, run_id)
    return _hidden_folder(workspace, run_id) / table


def stage_table(
    workspace: Place, table: str, run_id: str, name: str, rows: pa.Table, write: Write = write_atomically
) -> "TableFile":
    """Write a file of a run's rows of a table to the `staging_folder`; raises BadInput as `encode_table` does."""
    file = write_table(staging_folder(workspace, table, run_id) / name, rows, write)
    return TableFile(table=table, **vars(file))


def publish_tables(workspace: Place, run_id: str, tables: Sequence[str]) -> None:
    """Rename a run's rows of tables, on a disk, into place in the given order; engines may repeat it."""
    if isinstance(workspace, RemotePath):
        return
    for table in tables:
        staged = _hidden_folder(workspace, run_id) / table
        folder = workspace / table_partition(table, run_id)
        if not folder.exists():  # otherwise an earlier attempt at the same work made it
            make_folder(folder.parent)
            rename(staged, folder)
            flush(folder.parent)
        remove_tree(staged)


@contextmanager
def replace_tables(workspace: Place, run_id: str, tables: Sequence[str], record: Place) -> Iterator[None]:
    """Remove a run's rows of tables before they are written anew, and again if the context fails without the record."""
    with ExitStack() as stack:
        if isinstance(workspace, Path):
            stack.enter_context(remove_afterwards(_hidden_folder(workspace, run_id)))
        unpublish = partial(remove_tables, workspace, run_id, tables)
        unpublish()
        stack.enter_context(clean_up_on_failure(unpublish, record))
        yield


def write_table(path: Place, table: pa.Table, write: Write = write_atomically) -> FileInfo:
    """Write a table to a file and return its description; raises BadInput as `encode_table` does."""
    data = encode_table(table, path.name)
    write(path, data)
    return FileInfo(name=path.name, num_bytes=len(data), sha256=digest_of(data))


def encode_table(table: pa.Table, name: str = "the table") -> bytes:
    """Return a table as the bytes of a Parquet file; raises BadInput if `decode_table` would refuse its size."""
    sink = BytesIO()
    metadata: list[pq.FileMetaData] = []
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, metadata_collector=metadata)
    if problem := _describe_excess(metadata[0]):
        raise BadInput(f"{name} would have {problem}")
    return sink.getvalue()


def check_rows(num_rows: int, row_bytes: int, name: str, remedy: str) -> None:
    """Raise BadInput if a file cannot hold num_rows rows of a table, before they are computed.

    row_bytes counts columns that hardly compress; name and remedy are for the message.
    """
    if num_rows > MAX_ROWS or num_rows * row_bytes > MAX_TABLE_BYTES:
        size = f"{num_rows} rows and {num_rows * row_bytes} bytes or more"
        raise BadInput(f"{name} would have {size} in a file, at most {MAX_ROWS} and {MAX_TABLE_BYTES}: {remedy}")


def read_table(path: Place) -> pa.Table:
    """Read a table; raises CorruptArtefact if it is no Parquet file, too large, or a page's checksum is wrong."""
    return decode_table(path if isinstance(path, Path) else path.read_bytes(), str(path))


def decode_table(file: Path | bytes, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, from a file or bytes; raises CorruptArtefact as `read_table` does."""
    try:
        source = file if isinstance(file, Path) else pa.BufferReader(file)
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        # Before the data are read: a few bytes can declare a huge table.
        if excess := _describe_excess(parquet.metadata):
            raise CorruptArtefact(f"{name} claims {excess}")
        return parquet.read(columns and list(columns))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as problem:  # the last: column names that are not UTF-8
        raise CorruptArtefact(f"{name} cannot be read: {[*str(problem).splitlines(), ''][0]}") from None


def _describe_excess(metadata: pq.FileMetaData) -> str | None:
    num_bytes = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if metadata.num_rows <= MAX_ROWS and num_bytes <= MAX_TABLE_BYTES:
        return None
    return f"{metadata.num_rows} rows and {num_bytes} bytes, at most {MAX_ROWS} and {MAX_TABLE_BYTES}"


def remove_tables(workspace: Place, run_id: str, tables: Sequence[str]) -> None:
    """Remove a run's rows from tables, atomically for each; the table that marks the run complete goes first."""
    hidden = _hidden_folder(local_folder_of(workspace), run_id)
    for table in sorted(tables, key=lambda name: name != _LAST_TABLE):
        remove_at_once(workspace / table_partition(table, run_id), hidden)


def _hidden_folder(workspace: Path, run_id: str) -> Path:
    return temporary_folder(workspace) / "reports" / run_id


class TableFile(FileInfo):
    """A Parquet file of a run, and the table that its rows belong to."""

    table: FileName

    def folder(self, workspace: Place, run_id: str) -> Place:
        """Return the folder of the file."""
        return workspace / table_partition(self.table, run_id)
