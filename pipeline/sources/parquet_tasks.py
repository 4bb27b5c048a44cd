"""The scan of Parquet files in tasks of consecutive rows, cut by what the metadata of the files say."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import pyarrow.parquet as pq

from model.errors import BadInput
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.image_blocks import FoundFormat
from pipeline.sources.parquet_columns import ParquetColumns
from pipeline.sources.parquet_files import open_parquet
from pipeline.sources.scan_tasks import Span, cut_span
from pipeline.storage.places import Place

_LEAST_GROUPS = 4  # of the largest row groups that a task holds: one at its beginning may be read by two tasks


class RowGroup(NamedTuple):
    """A row group of a file that has rows, and the position of its first row in the file and in the split."""

    file: Place
    number: int
    first_row: int
    start: int
    num_rows: int

    @property
    def stop(self) -> int:
        """The position in the split after its last row."""
        return self.start + self.num_rows


class RowsTask(NamedTuple):
    """A part of the scan of a split: the row groups that hold the rows of the span.

    The first one may begin before the span, and the last end after it.
    """

    groups: tuple[RowGroup, ...]
    span: Span
    columns: ParquetColumns
    options: PictureOptions

    def own_groups(self) -> list[RowGroup]:
        """Return the row groups that begin in the span, whose checksums the task finds."""
        return [group for group in self.groups if group.start >= self.span.start]


class FoundRows(NamedTuple):
    """What a task found: bytes of the rows of its span, the CRC-32C of each row group that begins there, and labels."""

    num_bytes: int
    checksums: tuple[int, ...]
    format: FoundFormat
    labels: tuple[int | str, ...]


def list_groups(files: tuple[Place, ...]) -> list[RowGroup]:
    """List the row groups of a split's files, which have rows; raises BadInput if a file is damaged."""
    groups = list[RowGroup]()
    start = 0
    for file in files:
        first = start
        with open_parquet(file) as parquet:
            for number in range(parquet.metadata.num_row_groups):
                num_rows = parquet.metadata.row_group(number).num_rows
                if num_rows > 0:
                    groups.append(RowGroup(file, number, start - first, start, num_rows))
                    start += num_rows
    return groups


def cut_tasks(groups: list[RowGroup], columns: ParquetColumns, options: PictureOptions) -> list[RowsTask]:
    """Cut the rows of a split into tasks."""
    if not groups:
        return []
    starts = [group.start for group in groups]
    stops = [group.stop for group in groups]
    tasks = list[RowsTask]()
    for span in cut_span(stops[-1], _LEAST_GROUPS * max(group.num_rows for group in groups)):
        chosen = groups[bisect_right(stops, span.start) : bisect_left(starts, span.stop)]
        tasks.append(RowsTask(tuple(chosen), span, columns, options))
    return tasks


def read_groups(
    task: RowsTask, columns: ParquetColumns | None, read_group: Callable[[pq.ParquetFile, RowGroup], int]
) -> tuple[int, ...]:
    """Call a function with each row group of a task and the open file, and return the checksums that it returns.

    Those of row groups that begin before the task's span are left out. columns are as for `open_parquet`.
    """
    checksums = list[int]()
    for file, groups in groupby(task.groups, attrgetter("file")):
        with open_parquet(file, columns) as parquet:
            for group in groups:
                checksum = read_group(parquet, group)
                if group.start >= task.span.start:
                    checksums.append(checksum)
    return tuple(checksums)


def check_num_rows(group: RowGroup, num_rows: int) -> None:
    """Raise BadInput if a row group had another number of rows than the metadata says, by which tasks are cut."""
    if num_rows != group.num_rows:
        raise BadInput(
            f"{group.file}: no sound Parquet file: row group {group.number} has {num_rows} rows, expected "
            f"{group.num_rows} as its metadata says"
        )
