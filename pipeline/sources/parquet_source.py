"""Parquet files as a source: a column of files of pictures, or pixels, and a column of labels, read in small batches.

The identity of a split is the digest of its rows in order (label, length and bytes of the image), not of the files:
other compression, files or row groups do not change it. Page checksums are verified where the files have them.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.errors import BadInput, BadUsage
from pipeline.sources.blocks import (
    BLOCK_BYTES,
    ClassCount,
    SourceInfo,
    SourceScan,
    SplitScan,
    changed_since_scan,
    choose_class_names,
)
from pipeline.sources.catalog import PARQUET_NAME, ParquetSource, PictureOptions
from pipeline.sources.held_out import with_held_out
from pipeline.sources.image_blocks import EncodedImage, EncodedRange, FormatFinder
from pipeline.sources.labels import NUMBERS, Label, LabelCodes, LabelSet
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.parquet_columns import (
    ParquetColumns,
    detect_columns,
    holds_text,
    read_class_names,
    read_labels,
    read_values,
)
from pipeline.sources.parquet_files import open_parquet
from pipeline.sources.parquet_pixels import find_image_size, join_pixels, read_pixels, with_codes
from pipeline.sources.parquet_tasks import (
    FoundRows,
    RowGroup,
    RowsTask,
    check_num_rows,
    cut_tasks,
    list_groups,
    read_groups,
)
from pipeline.sources.pixel_rows import check_not_resized, warn_of_order
from pipeline.sources.scan_tasks import Content, DigestsOf, Hash, MapTasks, map_here, scan_contents
from pipeline.sources.split_column import with_split_column
from pipeline.sources.split_files import (
    FileKind,
    find_folder_source,
    find_named_source,
    has_no_labels,
    holds_split_files,
)
from pipeline.storage.places import Place

MAX_BATCH_ROWS = 1024
_PARQUET = FileKind("Parquet", ".parquet", PARQUET_NAME)


class ParquetRow(NamedTuple):
    """A row: the bytes of an encoded image and a label; None stands for null."""

    data: bytes | None
    label: Label

    @property
    def prefix(self) -> bytes:
        """Label and length, hashed before the image so that different rows never hash the same bytes."""
        label = json.dumps(self.label) if isinstance(self.label, str) else self.label
        return f"{label} {None if self.data is None else len(self.data)}\n".encode()


@dataclass(frozen=True)
class RowGroupRange(EncodedRange):
    """A row group of a file, the position of its first row in the file, and the CRC-32C of all its rows."""

    file: Place
    columns: ParquetColumns
    group: int
    first_row: int
    checksum: int
    codes: LabelCodes = NUMBERS

    def read_images(self) -> Iterator[list[EncodedImage]]:
        """Yield the images in batches; raises BadInput after the last if the rows have changed since the scan."""
        checksum = 0
        num_read = 0
        with open_parquet(self.file, self.columns.paths) as parquet:
            for batch in read_batches(parquet, self.group, self.columns, str(self.file)):
                images = list[EncodedImage]()
                labels = self.codes.encode([row.label for row in batch])
                for number, (row, label) in enumerate(zip(batch, labels, strict=True), num_read):
                    checksum = _extend_checksum(checksum, row)
                    name = f"row {self.first_row + number}"
                    position = (self.start + number, self.file.name, name)
                    images.append(EncodedImage(*position, row.data, label.number, label_fault=label.fault))
                num_read += len(batch)
                yield images
        if checksum != self.checksum:
            raise changed_since_scan(self.file)


def scan(
    source: ParquetSource, num_classes: ClassCount, first_label: int = 0, map_tasks: MapTasks = map_here
) -> SourceScan:
    """Read every row of a source's files; raises as `source_lookup.scan_source`."""
    first = source.files["train"][0]
    columns, source_names, is_text = _read_schemas(source)
    finder = FormatFinder(source.options)
    if columns.pixels:
        check_not_resized(source.options, str(first))
        warn_of_order(columns.pixels, str(first))
    size = source.options.image_size
    pixel_size = find_image_size(source.files["train"], columns, size) if columns.pixels else None
    contents = {}
    for split, files in source.files.items():
        tasks = cut_tasks(list_groups(files), columns, source.options)
        if not tasks:
            raise BadInput(f"{files[0]}: the split is empty: it has no rows")
        contents[split] = Content(tasks, tuple(hashlib.sha256() for _ in range(2 if pixel_size else 1)))
    read = partial(read_pixels, image_size=pixel_size) if pixel_size else _read_pictures
    labels = {split: LabelSet() for split in source.files}
    splits = dict[str, SplitScan]()
    found = scan_contents(read, list(contents.values()), FoundRows, map_tasks)
    for (split, content), results in zip(contents.items(), found, strict=True):
        for each in results:
            labels[split].update(each.labels)
        if pixel_size:
            splits[split] = join_pixels(split, content, results, pixel_size)
        else:
            splits[split] = _join_pictures(split, content, results, finder)
    codes = labels["train"].codes(str(first))
    names = source_names or codes.names  # the schema may name the classes whose names are the labels
    # Text is a name even where it is a number: the schema may name the classes 2, 1, 0, in this order.
    codes = LabelCodes(names) if names and (is_text or codes.names) else NUMBERS
    name = source.name if names else str(first)
    class_names = choose_class_names(names, labels["train"].numbers, num_classes, name, first_label)
    coded = {split: with_codes(each, codes) for split, each in splits.items()}
    return SourceScan(coded, class_names, finder.channel, first_label, finder.resize)


def _read_pictures(task: RowsTask, digests_of: DigestsOf) -> FoundRows:
    """Read the row groups of a task, and add the rows of its span to the only digest of their piece."""
    summary = _TaskSummary(task, digests_of)
    checksums = read_groups(task, task.columns.paths, summary.read_group)
    return FoundRows(summary.num_bytes, checksums, summary.finder.found, summary.labels.found)


class _TaskSummary:
    """What is found in the rows of a task, updated row by row."""

    def __init__(self, task: RowsTask, digests_of: DigestsOf) -> None:
        self.num_bytes = 0
        self.finder = FormatFinder(task.options)
        self.labels = LabelSet()
        self._task = task
        self._digests_of = digests_of

    def read_group(self, parquet: pq.ParquetFile, group: RowGroup) -> int:
        """Take up the rows of a row group that are in the task's span; return the checksum of all its rows."""
        checksum = 0
        stop = group.start
        for batch in read_batches(parquet, group.number, self._task.columns, str(group.file)):
            for row in batch:
                checksum = _extend_checksum(checksum, row)
            for piece, chosen in self._task.span.overlaps(stop, len(batch)):
                first_row = group.first_row + stop - group.start + chosen.start
                self._add(batch[chosen], self._digests_of(piece), first_row, group.file)
            stop += len(batch)
        check_num_rows(group, stop - group.start)
        return checksum

    def _add(self, rows: list[ParquetRow], digests: tuple[Hash, ...], first_row: int, file: Place) -> None:
        [digest] = digests
        for number, row in enumerate(rows, first_row):
            for part in (row.prefix, row.data or b""):
                digest.update(part)
                self.num_bytes += len(part)
            if not self.finder.is_found:
                self.finder.offer(row.data, f"{file}, row {number}")
        self.labels.update(row.label for row in rows)


def _join_pictures(split: str, content: Content, found: list[FoundRows], finder: FormatFinder) -> SplitScan:
    """Return the scan of a split, given what its tasks have found; finder has seen the earlier splits."""
    for each in found:
        finder.add(each.format)
    groups = [group for task in content.tasks for group in task.own_groups()]
    image_size = finder.size(str(groups[0].file))  # the train split is the first, so its images decide
    columns = content.tasks[0].columns
    checksums = (checksum for each in found for checksum in each.checksums)
    ranges = tuple(
        RowGroupRange(split, group.start, group.num_rows, group.file, columns, group.number, group.first_row, checksum)
        for group, checksum in zip(groups, checksums, strict=True)
    )
    [digest] = content.digests
    digest.update(finder.identity.encode())  # which decides what rows are rejected
    num_bytes = sum(each.num_bytes for each in found)
    return SplitScan(
        ranges, image_size, (SourceInfo(name=f"{split}-rows", num_bytes=num_bytes, sha256=digest.hexdigest()),)
    )


def read_batches(parquet: pq.ParquetFile, group: int, columns: ParquetColumns, name: str) -> Iterator[list[ParquetRow]]:
    """Yield the rows of a row group of a file of that name, at most MAX_BATCH_ROWS and about BLOCK_BYTES at a time."""
    about = parquet.metadata.row_group(group)
    mean_rows = BLOCK_BYTES * about.num_rows // max(1, about.total_byte_size)
    batch_rows = max(1, min(MAX_BATCH_ROWS, mean_rows))
    for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=columns.paths, use_threads=False):
        images = batch.column(columns.image)
        images = pc.struct_field(images, "bytes") if columns.nested else images
        labels = read_labels(batch, columns, name)
        for start, stop in _cut_by_bytes(images):
            piece = images[start:stop]
            piece = piece.dictionary_decode() if pa.types.is_dictionary(images.type) else piece
            yield list(map(ParquetRow, piece.to_pylist(), labels[start:stop]))


def _cut_by_bytes(images: pa.Array) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of pieces of about BLOCK_BYTES.

    Dictionary encoding makes this necessary: a file of a few thousand bytes may repeat a large image in every row.
    """
    if pa.types.is_dictionary(images.type):
        lengths = pc.take(pc.binary_length(images.dictionary), images.indices)
    else:
        lengths = pc.binary_length(images)
    ends = np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64))
    cuts = np.flatnonzero(np.diff(ends // BLOCK_BYTES)) + 1
    yield from pairwise([0, *cuts.tolist(), len(images)])


def _read_schemas(source: ParquetSource) -> tuple[ParquetColumns, tuple[str, ...] | None, bool]:
    """Find the columns in the first file, which all files must have, and the class names, on which they must agree.

    Also return whether the labels of the first file are text.
    """
    first, *others = chain.from_iterable(source.files.values())
    schema = _read_schema(first)
    columns = detect_columns(schema, source.options, str(first))
    names = {*schema.names}
    is_text = holds_text(schema, columns.label)
    files_by_names = {read_class_names(schema, columns.label, str(first)): first}
    for file in others:
        schema = _read_schema(file)
        if columns.label is not None and names - {*schema.names} == {columns.label}:
            raise has_no_labels(file, columns.label, first)
        try:
            found = PictureOptions(columns.requested_image, columns.label, split_by=source.options.split_by)
            file_columns = detect_columns(schema, found, str(file))
        except BadUsage as error:  # the first file has the columns, so the user's options are not at fault
            raise BadInput(str(error)) from None
        if file_columns != columns:
            raise BadInput(f"{file}: the column {columns.image!r} is of another type than in the first file")
        files_by_names.setdefault(read_class_names(schema, columns.label, str(file)), file)
    files_by_names.pop(None, None)  # a file need not name the classes
    if len(files_by_names) > 1:
        raise BadInput(f"{' and '.join(map(str, list(files_by_names.values())[:2]))} name their classes differently")
    return columns, next(iter(files_by_names), None), is_text


def _read_schema(file: Place) -> pa.Schema:
    with open_parquet(file) as parquet:
        return parquet.schema_arrow


def _read_split_column(source: ParquetSource) -> Iterator[object]:
    column = source.options.split_by or ""
    for file in source.files["train"]:
        with open_parquet(file, [column]) as parquet:
            for batch in parquet.iter_batches(MAX_BATCH_ROWS, columns=[column], use_threads=False):
                for value in read_values(batch.column(0), str(file)):
                    yield value.decode(errors="replace") if isinstance(value, bytes) else value


def _extend_checksum(checksum: int, row: ParquetRow) -> int:
    extended: int = google_crc32c.extend(google_crc32c.extend(checksum, row.prefix), row.data or b"")
    return extended


LAYOUT = SourceLayout(
    kind=ParquetSource,
    title="Parquet files",
    example="a folder of train*.parquet and test*.parquet",
    options=frozenset(
        {"image_column", "label_column", "image_size", "resize", "resize_mode", "split_by", "test_share"}
    ),
    holds=partial(holds_split_files, kind=_PARQUET),
    find=partial(find_folder_source, ParquetSource, _PARQUET),
    scan=with_split_column(with_held_out(scan), _read_split_column),
    file_name=_PARQUET.pattern,
    find_files=partial(find_named_source, ParquetSource, _PARQUET),
)
