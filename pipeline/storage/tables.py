"""Parquet tables: how they are written, put where readers look, and read back. `schemas` says what they hold.

Every file is compressed with zstd and carries a checksum on every page; readers here verify it. A run's rows of a table
are written out of readers' sight and put in place whole; of the tables of an evaluation, `evaluations` comes last.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import BadInput, CorruptArtefact
from pipeline.storage import schemas
from pipeline.storage.cleanup import temporary_folder
from pipeline.storage.files import (
    digest_of,
    publish_folder,
    remove_afterwards,
    remove_tree,
    suppress_storage_errors,
    unpublish_folder,
    write_atomically,
)
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.records import FileInfo, FileName
from pipeline.storage.schemas import ORIGIN, SCHEMA_VERSION
from pipeline.storage.workspace import table_partition

Write: TypeAlias = Callable[[Place, bytes], None]
MOST_ROWS = 2**24  # of a file; the longest have a row for each example of a shard
MOST_TABLE_BYTES = 2**30  # of a file, decompressed

TRAINING_TABLES = ("learning_curve", "gradient_agreement")

# In the order in which they are put in place: a run that stands in the last of them is whole in all.
LAST_TABLE = "evaluations"
EVALUATION_TABLES = ("classes", "confusion", "slices", "calibration", "weights", "predictions", LAST_TABLE)

SCHEMAS = {name: schemas.arrow_schema(name, ORIGIN | table.columns) for name, table in schemas.TABLES.items()}
ANSWERS_SCHEMA = schemas.arrow_schema("answers", schemas.ANSWERS.columns)
REJECTED_SCHEMA = schemas.arrow_schema("rejected", schemas.REJECTED.columns)
VALIDATION_SCHEMA = schemas.arrow_schema("validation", schemas.VALIDATION.columns)


def origin_columns(num_rows: int, run_id: str, dataset_digest: str, model_digest: str) -> dict[str, list[Any]]:
    """Return the columns that every table of a run begins with."""
    values = (run_id, dataset_digest, model_digest, SCHEMA_VERSION)
    return {name: [value] * num_rows for name, value in zip(ORIGIN, values, strict=True)}


def staging_folder(workspace: Place, table: str, run_id: str) -> Place:
    """Return the folder that a run's rows of a table are written to, where no reader of reports/ looks.

    In a store, where no folder can be put in place, that is where they stay.
    """
    if isinstance(workspace, RemotePath):
        return workspace / table_partition(table, run_id)
    return _hidden_folder(workspace, run_id) / table


def publish_tables(workspace: Place, run_id: str, tables: Sequence[str]) -> None:
    """Put a run's rows of tables in place, table by table in that order, each whole.

    Doing it again, as engines may, changes nothing. In a store they are in place.
    """
    if isinstance(workspace, RemotePath):
        return
    for table in tables:
        publish_folder(_hidden_folder(workspace, run_id) / table, workspace / table_partition(table, run_id))


@contextmanager
def replace_tables(workspace: Place, run_id: str, tables: Sequence[str], record: Place) -> Iterator[None]:
    """Take away a run's rows of tables to make them anew, and again if that does not come to its end.

    Args:
        workspace: that holds them.
        run_id: of the run.
        tables: those that are made, and those that mean nothing without them.
        record: what is written last: once it is there, the tables stay.
    """
    with ExitStack() as stack:
        if isinstance(workspace, Path):
            stack.enter_context(remove_afterwards(_hidden_folder(workspace, run_id)))
        _withdraw(workspace, run_id, tables)
        try:
            yield
        except BaseException:
            with suppress_storage_errors():
                if not record.exists():
                    _withdraw(workspace, run_id, tables)
            raise


def write_table(path: Place, table: pa.Table, write: Write = write_atomically) -> FileInfo:
    """Write a table to a file, atomically, and describe the file; raises BadInput as `encode_table` does."""
    data = encode_table(table, path.name)
    write(path, data)
    return FileInfo(name=path.name, num_bytes=len(data), sha256=digest_of(data))


def encode_table(table: pa.Table, name: str = "the table") -> bytes:
    """Return a table as the bytes of a Parquet file; raises BadInput if `decode_table` would refuse its size."""
    sink, about = BytesIO(), list[pq.FileMetaData]()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, metadata_collector=about)
    if problem := _find_excess(about[0]):
        raise BadInput(f"{name} would have {problem}")
    return sink.getvalue()


def check_rows(num_rows: int, row_bytes: int, name: str, remedy: str) -> None:
    """Check that a file of a table can hold so many rows, before they are worked out.

    Args:
        num_rows: of the file.
        row_bytes: of the numbers in a row that will hardly be compressed.
        name: of the table, for an error.
        remedy: what to do about it.

    Raises:
        BadInput: it cannot.
    """
    if num_rows > MOST_ROWS or num_rows * row_bytes > MOST_TABLE_BYTES:
        found = f"{num_rows} rows and {num_rows * row_bytes} bytes or more"
        raise BadInput(f"{name} would have {found} in a file, at most {MOST_ROWS} and {MOST_TABLE_BYTES}: {remedy}")


def read_table(path: Place) -> pa.Table:
    """Read a table back.

    Raises:
        CorruptArtefact: it is no Parquet file, or a page's checksum is wrong.
    """
    return decode_table(path if isinstance(path, Path) else path.read_bytes(), str(path))


def decode_table(file: Path | bytes, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, all columns or some, from a file or its bytes; raises CorruptArtefact as `read_table` does."""
    try:
        parquet = pq.ParquetFile(
            file if isinstance(file, Path) else pa.BufferReader(file), page_checksum_verification=True
        )
        _check_size(parquet.metadata, name)
        return parquet.read(columns and list(columns))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as problem:  # the last of names that are no text
        raise CorruptArtefact(f"{name} cannot be read: {[*str(problem).splitlines(), ''][0]}") from None


def _check_size(about: pq.FileMetaData, name: str) -> None:
    """Refuse what a few bytes may say of a table before it is read whole; raises CorruptArtefact."""
    if problem := _find_excess(about):
        raise CorruptArtefact(f"{name} claims {problem}")


def _find_excess(about: pq.FileMetaData) -> str | None:
    """Say how large a file is whose rows or bytes are more than are read; None if they are not."""
    num_bytes = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if about.num_rows <= MOST_ROWS and num_bytes <= MOST_TABLE_BYTES:
        return None
    return f"{about.num_rows} rows and {num_bytes} bytes, at most {MOST_ROWS} and {MOST_TABLE_BYTES}"


def _withdraw(workspace: Place, run_id: str, tables: Sequence[str]) -> None:
    """Take a run's rows out of tables, each at once, and first out of the one that says that all are whole."""
    for table in sorted(tables, key=lambda name: name != LAST_TABLE):
        if isinstance(workspace, RemotePath):
            remove_tree(workspace / table_partition(table, run_id))
        else:
            unpublish_folder(workspace / table_partition(table, run_id), _hidden_folder(workspace, run_id))


def _hidden_folder(workspace: Path, run_id: str) -> Path:
    return temporary_folder(workspace) / "reports" / run_id


class TableFile(FileInfo):
    """A Parquet file of a run.

    Attributes:
        table: the table whose rows it holds.
    """

    table: FileName

    def folder(self, workspace: Place, run_id: str) -> Place:
        """Return the folder that the file is in."""
        return workspace / table_partition(self.table, run_id)
