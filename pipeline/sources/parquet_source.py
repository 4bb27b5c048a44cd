"""Parquet files as a source: a column of PNG or JPEG files and a column of integer labels, read in small batches.

The identity of a split is the digest of its rows in order (label, length and bytes of the image), not of the files:
other compression, files or row groups do not change it. Page checksums are verified where the files have them.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.errors import BadInput, BadUsage
from pipeline.sources.blocks import BLOCK_BYTES, Block, BlockRange, ExampleFormat, SourceInfo, SourceScan
from pipeline.sources.catalog import ParquetSource, PictureOptions
from pipeline.sources.classes import name_classes
from pipeline.sources.image_decoding import EncodedImage, SizeFinder, decode_blocks
from pipeline.sources.parquet_columns import ParquetColumns, detect_columns, read_class_names
from pipeline.storage.files import open_binary
from pipeline.storage.places import Place

MAX_BATCH_ROWS = 1024
MAX_CLASSES = 256  # where the file does not name them; the limit of --num-classes
_BUFFER_BYTES = 2**20  # bytes read at a time; with pre_buffer, pyarrow would read a whole row group


class ParquetRow(NamedTuple):
    """A row: the bytes of an encoded image and a label; None stands for null."""

    data: bytes | None
    label: int | None

    @property
    def prefix(self) -> bytes:
        """Label and length, hashed before the image so that different rows never hash the same bytes."""
        return f"{self.label} {None if self.data is None else len(self.data)}\n".encode()


@dataclass(frozen=True)
class RowGroupRange(BlockRange):
    """A row group.

    Attributes:
        file: the file.
        group: number of the row group in the file.
        first_row: position of its first row in the file.
        batch_rows: rows to read at a time.
        checksum: CRC-32C of all its rows.
    """

    file: Place
    group: int
    first_row: int
    batch_rows: int
    checksum: int


class ParquetSplitScan(NamedTuple):
    """The scan of a split's files.

    Attributes:
        columns: the columns to read.
        groups: the row groups of all files, in order.
        image_size: height and width.
        info: identity of the split.
    """

    columns: ParquetColumns
    groups: tuple[RowGroupRange, ...]
    image_size: tuple[int, int]
    info: SourceInfo

    @property
    def num_examples(self) -> int:
        """Rows of the split."""
        return sum(group.num_examples for group in self.groups)

    @property
    def infos(self) -> tuple[SourceInfo, ...]:
        """The identity of the split."""
        return (self.info,)

    def ranges(self, _: str) -> Iterator[RowGroupRange]:
        """Yield the row groups."""
        yield from self.groups

    def open(self, _: ExitStack, target: ExampleFormat, __: Place) -> "ParquetReader":
        """Make a reader, which needs no cleanup and no temporary files."""
        return ParquetReader(self.columns, target)


@dataclass(frozen=True)
class ParquetReader:
    """Reads row groups."""

    columns: ParquetColumns
    target: ExampleFormat

    def read(self, block: RowGroupRange) -> Iterator[Block]:
        """Yield the blocks of a row group; raises BadInput after the last if the rows have changed since the scan."""
        checksum = 0
        num_read = 0
        with open_parquet(block.file, self.columns) as parquet:
            for batch in read_batches(parquet, block.group, self.columns, block.batch_rows):
                images = list[EncodedImage]()
                for number, row in enumerate(batch, num_read):
                    checksum = _extend_checksum(checksum, row)
                    name = f"row {block.first_row + number}"
                    images.append(EncodedImage(block.start + number, block.file.name, name, row.data, row.label))
                num_read += len(batch)
                yield from decode_blocks(block.split, images, self.target)
        if checksum != block.checksum:
            raise BadInput(f"{block.file} changed while it was read: run again once nothing writes to it")


class _SplitSummary:
    """The digest, size and labels of a split, updated row by row."""

    def __init__(self, finder: SizeFinder) -> None:
        self.digest = hashlib.sha256()
        self.labels = set[int]()
        self.num_bytes = 0
        self._finder = finder

    def add(self, row: ParquetRow, name: str) -> None:
        self.digest.update(row.prefix)
        self.digest.update(row.data or b"")
        self.num_bytes += len(row.prefix) + len(row.data or b"")
        self._finder.offer(row.data, name)
        if row.label is not None and 0 <= row.label < MAX_CLASSES:
            self.labels.add(row.label)

    def info(self, split: str, image_size: tuple[int, int]) -> SourceInfo:
        # The size is part of the identity: it decides which rows are rejected.
        self.digest.update(json.dumps(image_size).encode())
        return SourceInfo(name=f"{split}-rows", num_bytes=self.num_bytes, sha256=self.digest.hexdigest())


def scan(source: ParquetSource, num_classes: int | None) -> SourceScan:
    """Read every row of a source's files; `num_classes` as for `pipeline.sources.scan.scan_source`.

    Raises:
        BadInput: a file is damaged or lacks a column, or no image of the train split can be decoded.
        BadUsage: a requested column does not exist, or num_classes is not the number of the file's own class names.
    """
    first = source.files["train"][0]
    with open_parquet(first) as parquet:
        columns = detect_columns(parquet.schema_arrow, source.options, str(first))
    source_names = _read_class_names(source, columns)
    finder = SizeFinder(source.options.image_size)
    labels = dict[str, set[int]]()
    splits = dict[str, ParquetSplitScan]()
    for split, files in source.files.items():
        summary = _SplitSummary(finder)
        groups = tuple(_scan_files(split, files, columns, summary))
        if not sum(group.num_examples for group in groups):
            raise BadInput(f"{files[0]}: the split is empty: it has no rows")
        image_size = finder.size(str(first))  # the train split is the first, so its images decide
        splits[split] = ParquetSplitScan(columns, groups, image_size, summary.info(split, image_size))
        labels[split] = summary.labels
    name = source.name if source_names else str(first)
    return SourceScan(dict(splits), name_classes(source_names, labels["train"], num_classes, name))


@contextmanager
def open_parquet(place: Place, columns: ParquetColumns | None = None) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for reading with little memory.

    Args:
        place: the file.
        columns: the columns that will be read; images that the file repeats are then held in memory once.

    Raises:
        BadInput: the file is damaged, found when it is opened or while it is read.
    """
    try:
        with (
            open_binary(place) as stream,
            pq.ParquetFile(
                stream,
                page_checksum_verification=True,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                read_dictionary=columns.paths[:1] if columns else None,
            ) as parquet,
        ):
            yield parquet
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: column names
        if isinstance(error, OSError) and error.errno is not None:  # of the file system; pyarrow's own have no errno
            raise
        raise BadInput(f"{place}: no sound Parquet file: {[*str(error).splitlines(), ''][0]}") from None


def read_batches(
    parquet: pq.ParquetFile, group: int, columns: ParquetColumns, batch_rows: int
) -> Iterator[list[ParquetRow]]:
    """Yield the rows of a row group, at most batch_rows and about BLOCK_BYTES of images at a time."""
    batches = parquet.iter_batches(batch_rows, row_groups=[group], columns=columns.paths, use_threads=False)
    for batch in batches:
        images = batch.column(columns.image)
        images = pc.struct_field(images, "bytes") if columns.nested else images
        labels = batch.column(columns.label)
        for start, stop in _cut_by_bytes(images):
            piece = images[start:stop]
            piece = piece.dictionary_decode() if pa.types.is_dictionary(images.type) else piece
            yield list(map(ParquetRow, piece.to_pylist(), labels[start:stop].to_pylist()))


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


def _read_class_names(source: ParquetSource, columns: ParquetColumns) -> tuple[str, ...] | None:
    """Check the columns of every file and return the class names, which must agree between the files that have any."""
    requested = PictureOptions(columns.image, columns.label)
    files_by_names = dict[tuple[str, ...], Place]()
    for file in chain.from_iterable(source.files.values()):
        with open_parquet(file) as parquet:
            schema = parquet.schema_arrow
        try:
            file_columns = detect_columns(schema, requested, str(file))
        except BadUsage as error:  # the columns were detected in the first file, so the user's options are not at fault
            raise BadInput(str(error)) from None
        if file_columns != columns:
            raise BadInput(f"{file}: the column {columns.image!r} is of another type than in the first file")
        names = read_class_names(schema, columns.label, str(file))
        if names is not None:
            files_by_names[names] = file
    if len(files_by_names) > 1:
        raise BadInput(f"{' and '.join(map(str, list(files_by_names.values())[:2]))} name their classes differently")
    return next(iter(files_by_names), None)


def _scan_files(
    split: str, files: tuple[Place, ...], columns: ParquetColumns, summary: _SplitSummary
) -> Iterator[RowGroupRange]:
    """Read every row of a split's files into the summary and yield the row groups."""
    start = 0
    for file in files:
        first_row = 0
        with open_parquet(file, columns) as parquet:
            for group in range(parquet.metadata.num_row_groups):
                batch_rows = _choose_batch_rows(parquet.metadata.row_group(group))
                num_rows = 0
                checksum = 0
                for batch in read_batches(parquet, group, columns, batch_rows):
                    for number, row in enumerate(batch, first_row + num_rows):
                        summary.add(row, f"{file}, row {number}")
                        checksum = _extend_checksum(checksum, row)
                    num_rows += len(batch)
                yield RowGroupRange(split, start, num_rows, file, group, first_row, batch_rows, checksum)
                start += num_rows
                first_row += num_rows


def _choose_batch_rows(group: pq.RowGroupMetaData) -> int:
    """Return how many rows take about BLOCK_BYTES on average."""
    rows: int = BLOCK_BYTES * group.num_rows // max(1, group.total_byte_size)
    return max(1, min(MAX_BATCH_ROWS, rows))


def _extend_checksum(checksum: int, row: ParquetRow) -> int:
    extended: int = google_crc32c.extend(google_crc32c.extend(checksum, row.prefix), row.data or b"")
    return extended
