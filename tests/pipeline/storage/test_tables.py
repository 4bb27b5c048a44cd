"""Size limits of table files, checksums of their pages, and their publication."""

from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput, CorruptArtefact, StorageFailed
from pipeline.storage import tables
from pipeline.storage.files import write_atomically
from pipeline.storage.tables import (
    check_rows,
    decode_table,
    encode_table,
    publish_tables,
    replace_tables,
    staging_folder,
    write_table,
)
from tests.helpers import contents

TABLE = pa.table({"numbers": [[1.0, 2.0], [], [3.0]]})


def num_bytes(data: bytes, row_group: int = 0) -> int:
    return pq.read_metadata(pa.BufferReader(data)).row_group(row_group).total_byte_size


@pytest.mark.parametrize("limit", ["MAX_ROWS", "MAX_TABLE_BYTES"])
def test_a_table_larger_than_the_limits_is_neither_written_nor_read(limit, tmp_path, monkeypatch):
    data = encode_table(TABLE)
    size = {"MAX_ROWS": 3, "MAX_TABLE_BYTES": num_bytes(data)}[limit]
    monkeypatch.setattr(tables, limit, size)
    assert decode_table(encode_table(TABLE), "numbers.parquet").equals(TABLE)
    monkeypatch.setattr(tables, limit, size - 1)
    with pytest.raises(BadInput, match=rf"^numbers\.parquet would have 3 rows and {num_bytes(data)} bytes, at most "):
        write_table(tmp_path / "numbers.parquet", TABLE)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CorruptArtefact, match=rf"^x claims 3 rows and {num_bytes(data)} bytes, at most "):
        decode_table(data, "x")


def test_row_groups_count_together(monkeypatch):
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, row_group_size=1)
    data = sink.getvalue().to_pybytes()
    size = sum(num_bytes(data, index) for index in range(3))
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", size - 1)
    with pytest.raises(CorruptArtefact, match=f"{size} bytes"):
        decode_table(data, "x")


def test_too_many_rows_are_rejected_before_they_are_computed(monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 10)
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 80)
    check_rows(10, 8, "predictions", "use more shards")
    for num_rows, row_bytes in ((11, 0), (10, 9)):
        size = f"{num_rows} rows and {num_rows * row_bytes} bytes"
        with pytest.raises(BadInput, match=f"predictions would have {size} or more in a file, .*: use more shards"):
            check_rows(num_rows, row_bytes, "predictions", "use more shards")


def test_files_are_compressed_and_every_page_is_checked():
    table = pa.table({"numbers": np.arange(1000)})
    data = encode_table(table)
    column = pq.read_metadata(pa.BufferReader(data)).row_group(0).column(0)
    assert column.compression == "ZSTD"
    start = column.dictionary_page_offset or column.data_page_offset
    for position in range(start + 60, start + column.total_compressed_size, 50):  # after the header of the first page
        damaged = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(CorruptArtefact, match=r"^numbers cannot be read: "):
            decode_table(damaged, "numbers")


def test_publishing_tables_again_keeps_the_first(tmp_path):
    staged = staging_folder(tmp_path, "classes", "a")
    for content in (b"first", b"again"):
        write_atomically(staged / "file", content)
        publish_tables(tmp_path, "a", ["classes"])
        publish_tables(tmp_path, "a", ["classes"])  # nothing is left to publish
        assert contents(tmp_path) == {"reports/classes/run=a/file": b"first"}
    with pytest.raises(StorageFailed, match=r"cannot rename .*weights: No such file"):
        publish_tables(tmp_path, "a", ["weights"])


@pytest.mark.parametrize("complete", [True, False])
def test_replaced_tables_are_removed_at_once_and_again_on_failure_without_the_record(complete, tmp_path):
    rows = tmp_path / "reports/classes/run=a/file"
    write_atomically(rows, b"old")
    with suppress(KeyboardInterrupt), replace_tables(tmp_path, "a", ["classes"], tmp_path / "record"):
        assert contents(tmp_path) == {}
        write_atomically(rows, b"new")
        if complete:
            write_atomically(tmp_path / "record", b"{}")
        raise KeyboardInterrupt
    assert rows.exists() == complete
