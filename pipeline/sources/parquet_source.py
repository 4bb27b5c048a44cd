"""Parquet files as a source: a column of PNG or JPEG files and a column of integer labels, read a batch at a time.

A split's identity is the digest of its rows in order (label, length and bytes of the picture), not of the files: data
that was compressed anew, or cut into other files or row groups, is the same data. Checksums of pages are verified
where the files carry any.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.errors import BadInput, BadUsage
from pipeline.sources.blocks import BLOCK_BYTES, Block, BlockRange, ExampleFormat, SourceInfo, SourceScan
from pipeline.sources.catalog import PictureOptions, RowsSource
from pipeline.sources.classes import name_classes
from pipeline.sources.image_decoding import Encoded, SizeFinder, decode_blocks
from pipeline.storage.files import open_binary
from pipeline.storage.places import Place

BATCH_ROWS = 1024  # at most
MAX_CLASSES = 256  # where the file does not name them, as --num-classes allows
_BUFFER_BYTES = 2**20  # read at a time; with pre_buffer, a whole row group would be


class ParquetColumns(NamedTuple):
    """Which columns to read.

    Attributes:
        image: name of the column of pictures.
        nested: whether it is a struct of bytes and path.
        label: name of the column of labels.
    """

    image: str
    nested: bool
    label: str

    @property
    def paths(self) -> list[str]:
        """The columns as Parquet names them."""
        return [f"{self.image}.bytes" if self.nested else self.image, self.label]


class ParquetRow(NamedTuple):
    """A row: the bytes of a picture and a label; None stands for null."""

    data: bytes | None
    label: int | None

    @property
    def head(self) -> bytes:
        """What stands before the picture in what is digested, so that no two lists of rows look the same."""
        return f"{self.label} {None if self.data is None else len(self.data)}\n".encode()


@dataclass(frozen=True)
class RowsRange(BlockRange):
    """A row group: its file, its number and first row there, rows of a batch, and the CRC-32C of all its rows."""

    file: Place
    group: int
    first_row: int
    batch_rows: int
    checksum: int


class RowsScan(NamedTuple):
    """A split whose files were read.

    Attributes:
        columns: that were read.
        groups: its row groups, in order.
        image_size: height and width.
        info: its identity.
    """

    columns: ParquetColumns
    groups: tuple[RowsRange, ...]
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

    def ranges(self, _: str) -> Iterator[RowsRange]:
        """List the row groups."""
        yield from self.groups

    def open(self, _: ExitStack, target: ExampleFormat, __: Place) -> "RowsReader":
        """Make a reader; nothing need be kept open."""
        return RowsReader(self.columns, target)


@dataclass(frozen=True)
class RowsReader:
    """Reads row groups."""

    columns: ParquetColumns
    target: ExampleFormat

    def read(self, block: RowsRange) -> Iterator[Block]:
        """Yield the blocks of a row group; raises BadInput at its end if it is not what was scanned."""
        checksum, done, file = 0, 0, block.file.name
        with opened(block.file, self.columns) as parquet:
            for batch in read_batches(parquet, block.group, self.columns, block.batch_rows):
                pictures = list[Encoded]()
                for number, row in enumerate(batch, done):
                    checksum = _extend(checksum, row)
                    name = f"row {block.first_row + number}"
                    pictures.append(Encoded(block.start + number, file, name, row.data, row.label))
                done += len(batch)
                yield from decode_blocks(block.split, pictures, self.target)
        if checksum != block.checksum:
            raise BadInput(f"{block.file} changed while it was read: run again once nothing writes to it")


class _Findings:
    """What a scan of one split learns row by row."""

    def __init__(self, finder: SizeFinder) -> None:
        self.digest = hashlib.sha256()
        self.labels = set[int]()
        self.num_bytes = 0
        self._finder = finder

    def add(self, row: ParquetRow, place: str) -> None:
        self.digest.update(row.head)
        self.digest.update(row.data or b"")
        self.num_bytes += len(row.head) + len(row.data or b"")
        self._finder.offer(row.data, place)
        if row.label is not None and 0 <= row.label < MAX_CLASSES:
            self.labels.add(row.label)


def scan(source: RowsSource, num_classes: int | None) -> SourceScan:
    """Read every row of a source's files.

    Raises:
        BadInput: a file is damaged or has not the columns it should have, or no picture of train can be decoded.
        BadUsage: a column that the user names is not there, or num_classes is not the number of the file's own names.
    """
    first = source.files["train"][0]
    with opened(first) as parquet:
        columns = detect_columns(parquet.schema_arrow, source.options, str(first))
    own = _own_names(source, columns)
    finder, groups, found = SizeFinder(source.options.image_size), dict[str, tuple[RowsRange, ...]](), {}
    for split, files in source.files.items():
        found[split] = _Findings(finder)
        groups[split] = tuple(_scan_files(split, files, columns, found[split]))
        if not sum(group.num_examples for group in groups[split]):
            raise BadInput(f"{files[0]}: the split is empty: it has no rows")
        size = finder.size(str(first))  # known or refused once the first split, train, was read
    splits = {split: RowsScan(columns, groups[split], size, _info(split, found[split], size)) for split in source.files}
    return SourceScan(
        dict(splits), name_classes(own, found["train"].labels, num_classes, source.name if own else str(first))
    )


@contextmanager
def opened(place: Place, columns: ParquetColumns | None = None) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for reading with little memory; whatever is wrong with it is BadInput.

    Args:
        place: the file.
        columns: that are to be read; a picture that the file repeats is then held once.
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
    except (pa.ArrowException, OSError, UnicodeDecodeError) as problem:  # the last of names that are no text
        if isinstance(problem, OSError) and problem.errno is not None:  # of the file system
            raise
        raise BadInput(f"{place}: no sound Parquet file: {[*str(problem).splitlines(), ''][0]}") from None


def read_batches(
    parquet: pq.ParquetFile, group: int, columns: ParquetColumns, batch_rows: int
) -> Iterator[list[ParquetRow]]:
    """Yield the rows of a row group, at most batch_rows and about BLOCK_BYTES of pictures at a time."""
    batches = parquet.iter_batches(batch_rows, row_groups=[group], columns=columns.paths, use_threads=False)
    for batch in batches:
        images = batch.column(columns.image)
        images = pc.struct_field(images, "bytes") if columns.nested else images
        for start, stop in _pieces(images):
            pictures = images[start:stop]
            pictures = pictures.dictionary_decode() if pa.types.is_dictionary(images.type) else pictures
            yield list(map(ParquetRow, pictures.to_pylist(), batch.column(columns.label)[start:stop].to_pylist()))


def _pieces(images: pa.Array) -> Iterator[tuple[int, int]]:
    """Cut a batch: a file of a few thousand bytes may repeat a large picture for every row."""
    if pa.types.is_dictionary(images.type):
        lengths = pc.take(pc.binary_length(images.dictionary), images.indices)
    else:
        lengths = pc.binary_length(images)
    ends = np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64))
    cuts = np.flatnonzero(np.diff(ends // BLOCK_BYTES)) + 1
    yield from pairwise([0, *cuts.tolist(), len(images)])


def detect_columns(schema: pa.Schema, options: PictureOptions, name: str) -> ParquetColumns:
    """Find the column of pictures and that of labels: as named, else `image` and `label`, else the only fitting ones.

    Args:
        schema: of the file.
        options: may name either.
        name: what to call the file in an error.

    Raises:
        BadUsage: a named column is not there or does not fit.
        BadInput: there is none that fits, or there are several.
    """
    image = _choose(schema, options.image_column, "image", "of pictures (bytes, or a struct with bytes)", _has_pictures)
    label = _choose(schema, options.label_column, "label", "of integer labels", pa.types.is_integer)
    listed = ", ".join(f"{field.name} ({field.type})" for field in schema)
    for found in (image, label):
        if found.problem:
            kind = BadUsage if found.named else BadInput
            raise kind(f"{name}: {found.problem}; its columns: {listed}")
    return ParquetColumns(image.name, pa.types.is_struct(schema.field(image.name).type), label.name)


class _Choice(NamedTuple):
    name: str
    named: bool
    problem: str


def _choose(schema: pa.Schema, named: str | None, preferred: str, what: str, fits: Any) -> _Choice:
    fitting = [field.name for field in schema if fits(field.type)]
    if named is not None:
        problem = "" if fitting.count(named) == 1 else f"no column {named!r} {what}"
        return _Choice(named, True, problem)
    chosen = [name for name in fitting if name == preferred] or fitting
    if len(chosen) == 1:
        return _Choice(chosen[0], False, "")
    number = "several columns" if chosen else "no column"
    return _Choice("", False, f"{number} {what}: name one with --{preferred}-column")


def _has_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def class_names(schema: pa.Schema, label: str, name: str) -> tuple[str, ...] | None:
    """Return the names that the metadata of dataset hubs gives the labels (a feature ClassLabel), if there are any.

    Raises:
        BadInput: the metadata is there but damaged.
    """
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = about.get("info", {}).get("features", {}).get(label, {})
        names = feature.get("names")
    except (ValueError, AttributeError, RecursionError):
        raise BadInput(f"{name}: the metadata `huggingface` of its schema is damaged") from None
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        raise BadInput(
            f"{name}: the metadata `huggingface` of its schema does not name the classes of {label!r} soundly"
        )
    if len(set(names)) < len(names):
        raise BadInput(f"{name}: the metadata `huggingface` of its schema names two classes of {label!r} alike")
    return tuple(names)


def _own_names(source: RowsSource, columns: ParquetColumns) -> tuple[str, ...] | None:
    """Check the columns of every file and return the class names, which must be the same wherever there are any."""
    wanted, found = PictureOptions(columns.image, columns.label), dict[tuple[str, ...], Place]()
    for file in (file for files in source.files.values() for file in files):
        with opened(file) as parquet:
            schema = parquet.schema_arrow
        try:
            other = detect_columns(schema, wanted, str(file))
        except BadUsage as problem:
            raise BadInput(str(problem)) from None
        if other != columns:
            raise BadInput(f"{file}: the column {columns.image!r} is of another type than in the first file")
        names = class_names(schema, columns.label, str(file))
        if names is not None:
            found[names] = file
    if len(found) > 1:
        raise BadInput(f"{' and '.join(map(str, list(found.values())[:2]))} name their classes differently")
    return next(iter(found), None)


def _scan_files(
    split: str, files: tuple[Place, ...], columns: ParquetColumns, findings: _Findings
) -> Iterator[RowsRange]:
    start = 0
    for file in files:
        first_row = 0
        with opened(file, columns) as parquet:
            for group in range(parquet.metadata.num_row_groups):
                batch_rows, num_rows, checksum = _batch_rows(parquet.metadata.row_group(group)), 0, 0
                for batch in read_batches(parquet, group, columns, batch_rows):
                    for number, row in enumerate(batch, first_row + num_rows):
                        findings.add(row, f"{file}, row {number}")
                        checksum = _extend(checksum, row)
                    num_rows += len(batch)
                yield RowsRange(split, start, num_rows, file, group, first_row, batch_rows, checksum)
                start, first_row = start + num_rows, first_row + num_rows


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Return how many rows take about BLOCK_BYTES on average."""
    rows: int = BLOCK_BYTES * group.num_rows // max(1, group.total_byte_size)
    return max(1, min(BATCH_ROWS, rows))


def _info(split: str, findings: _Findings, size: tuple[int, int]) -> SourceInfo:
    findings.digest.update(json.dumps(size).encode())
    return SourceInfo(name=f"{split}-rows", num_bytes=findings.num_bytes, sha256=findings.digest.hexdigest())


def _extend(checksum: int, row: ParquetRow) -> int:
    extended: int = google_crc32c.extend(google_crc32c.extend(checksum, row.head), row.data or b"")
    return extended
