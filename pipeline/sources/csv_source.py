"""CSV and TSV files as a source, gzipped or not: a column of labels, and columns of pixels or one of paths of pictures.

The scan cuts a file at ends of lines and reads the labels of each piece; workers read the pixels of a piece, whose
checksum they compare. The identity of a split of pixels is the digest of its decompressed lines: see `csv_tasks`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import google_crc32c

from model.errors import BadInput
from pipeline.sources import csv_pictures
from pipeline.sources.blocks import (
    Block,
    BlockRange,
    ClassCount,
    ExampleFormat,
    SourceInfo,
    SourceScan,
    SplitScan,
    changed_since_scan,
)
from pipeline.sources.catalog import InapplicableOption
from pipeline.sources.compressed import decompress_files, open_decompressed
from pipeline.sources.csv_columns import (
    INDEX_NAMES,
    CsvColumns,
    HasNoRows,
    detect_csv_columns,
    find_names,
    read_first_lines,
)
from pipeline.sources.csv_files import CSV, CsvSource, holds_csv_files, is_emnist_csv
from pipeline.sources.csv_lines import read_labels, read_pieces, read_pixels, read_splits
from pipeline.sources.csv_tasks import FoundLines, open_file, plan_lines, read_lines
from pipeline.sources.held_out import with_held_out
from pipeline.sources.idx_files import choose_transpose
from pipeline.sources.image_decoding import TRANSPOSED
from pipeline.sources.labels import NUMBERS, LabelCodes, LabelSet
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.pixel_rows import PixelRows, check_not_resized, choose_image_size, to_block, warn_of_order
from pipeline.sources.scan_tasks import Content, MapTasks, map_here, scan_contents
from pipeline.sources.split_column import with_split_column
from pipeline.sources.split_files import find_folder_source, find_named_source, has_no_labels
from pipeline.storage.files import read_range
from pipeline.storage.places import Place


class HoldsPaths(InapplicableOption):
    """Pictures are to be transposed."""

    fields = ("transpose",)
    reason = "it names files of pictures"


@dataclass(frozen=True)
class CsvRange(BlockRange):
    """Whole lines of a file, decompressed if they are read, and the CRC-32C of their bytes."""

    place: Place
    file: str  # name, in reasons of rejections
    columns: CsvColumns
    codes: LabelCodes
    first_row: int  # position in the file
    offset: int
    num_bytes: int
    checksum: int
    conversions: tuple[str, ...] = ()  # of every image

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the one block of a range; raises BadInput if its bytes have changed since the scan."""
        lines = read_range(self.place, self.offset, self.num_bytes)
        if google_crc32c.value(lines) != self.checksum:
            raise changed_since_scan(self.place)
        labels = self.codes.encode(read_labels(lines, self.columns))
        pixels, faults = read_pixels(lines, self.columns)
        rows = PixelRows(self.file, self.first_row, self.start, pixels, labels, faults)
        block = to_block(self.split, rows, target)
        yield replace(block, conversions=self.conversions * len(block.examples.labels))


@dataclass(frozen=True)
class CsvSplitScan(SplitScan):
    """The scan of a split's files of pixels."""

    ranges: tuple[CsvRange, ...]

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Decompress gzip files into scratch and return ranges of the decompressed files; see `SplitScan.open`."""
        files = list(dict.fromkeys(each.place for each in self.ranges))
        copies = decompress_files(files, stack, scratch, f"{self.ranges[0].split}-lines")
        return tuple(replace(each, place=copies[each.place]) for each in self.ranges)


def scan(
    source: CsvSource, num_classes: ClassCount, first_label: int = 0, map_tasks: MapTasks = map_here
) -> SourceScan:
    """Read every line of a source's files; raises as `source_lookup.scan_source`."""
    columns = read_columns(source)
    files_of = {split: tuple(file for file in files if file in columns) for split, files in source.files.items()}
    source = source._replace(files=files_of)
    first = str(source.files["train"][0])
    if next(iter(columns.values())).holds_paths:
        if source.options.transpose:
            raise HoldsPaths(f"--transpose goes with columns of pixels, and {first} has paths of pictures")
        return csv_pictures.scan(source, columns, num_classes, first_label, map_tasks)
    check_not_resized(source.options, first)
    warn_of_order(columns[source.files["train"][0]].image_names, first)
    image_size = choose_image_size(len(columns[source.files["train"][0]].images), source.options.image_size, first)
    is_transposed = choose_transpose(source.options.transpose, is_emnist_csv(source.files["train"][0]), source.name)
    conversions = (TRANSPOSED,) if is_transposed else ()
    if conversions:
        columns = {file: each.transpose(*image_size) for file, each in columns.items()}
    files = {split: tuple(open_file(file, columns[file]) for file in each) for split, each in source.files.items()}
    headers = {split: _describe(each[0].columns, image_size) for split, each in files.items()}
    contents = plan_lines(files, headers, map_tasks)
    labels = LabelSet()
    splits = dict[str, SplitScan]()
    codes = NUMBERS
    found = scan_contents(read_lines, list(contents.values()), FoundLines, map_tasks)
    for (split, content), results in zip(contents.items(), found, strict=True):
        ranges = tuple(_join_ranges(split, content, results))
        if not ranges:
            raise BadInput(f"{source.files[split][0]}: the split is empty: it has no rows")
        if split == "train":
            for each in results:
                labels.update(each.labels)
            codes = labels.codes(first)
        num_bytes = sum(each.num_bytes for each in ranges)
        info = SourceInfo(name=f"{split}-lines", num_bytes=num_bytes, sha256=content.close().hexdigest())
        ranges = tuple(replace(each, codes=codes, conversions=conversions) for each in ranges)
        splits[split] = CsvSplitScan(ranges, image_size, (info,))
    name = source.name if codes.names else first
    return SourceScan(splits, labels.class_names(codes, num_classes, name, first_label), first_label=first_label)


def read_columns(source: CsvSource) -> dict[Place, CsvColumns]:
    """Find the columns of each file that has rows: writers of many parts leave some empty.

    Raises BadInput if the files have different ones, HasNoRows if no file of a split has rows.
    """
    columns = dict[Place, CsvColumns]()
    for files in source.files.values():
        empty = None
        for file in files:
            try:
                lines = _read_first_lines_of(file)
                if columns:
                    _check_has_labels(file, find_names(lines, str(file)), *next(iter(columns.items())))
                columns[file] = detect_csv_columns(lines, source.options, str(file))
            except HasNoRows as error:
                empty = empty or error
                continue
            first_file, first = next(iter(columns.items()))
            if not columns[file].fits(first):
                raise BadInput(f"{file}: its columns are not those of {first_file}")
        if empty and not any(file in columns for file in files):
            raise empty
    return columns


def _read_first_lines_of(file: Place) -> list[str]:
    with open_decompressed(file) as stream:
        return read_first_lines(stream, str(file))[0]


def _check_has_labels(file: Place, names: tuple[str, ...], first_file: Place, first: CsvColumns) -> None:
    """Raise BadInput if a file has the columns of the first one but that of labels, as the test files of contests."""
    label = first.names[first.label or 0]
    if first.has_header:
        is_without = label not in names and {*names} <= {*first.names, *INDEX_NAMES}
    else:
        is_without = len(names) == len(first.names) - 1
    if is_without:
        raise has_no_labels(file, label, first_file)


def _join_ranges(split: str, content: Content, found: list[FoundLines]) -> Iterator[CsvRange]:
    """Yield the ranges of rows of a split, from the pieces that its tasks found."""
    start = 0
    num_rows = Counter[Place]()  # before the next piece of a file
    for task, each in zip(content.tasks, found, strict=True):
        for number, offset, num_bytes, num_examples, checksum in each.pieces:
            place, columns, *_ = task.files[number]
            position = (num_rows[place], offset, num_bytes, checksum)
            yield CsvRange(split, start, num_examples, place, place.name, columns, NUMBERS, *position)
            start += num_examples
            num_rows[place] += num_examples


def _read_split_column(source: CsvSource) -> Iterator[str | None]:
    for file, columns in read_columns(source).items():
        for piece in read_pieces(file, columns):
            yield from read_splits(piece.lines, columns, str(file))


def _describe(columns: CsvColumns, image_size: tuple[int, int]) -> bytes:
    """Return what else decides the examples that lines give: which columns are read, and the size."""
    return json.dumps([columns.delimiter, columns.label, columns.images, image_size]).encode()


LAYOUT = SourceLayout(
    kind=CsvSource,
    title="CSV files",
    example="one of train*.csv and test*.csv, a label and pixels on each line, or a label and the path of a picture",
    options=frozenset(
        {"image_column", "label_column", "image_size", "resize", "resize_mode", "split_by", "test_share", "transpose"}
    ),
    holds=holds_csv_files,
    find=partial(find_folder_source, CsvSource, CSV),
    scan=with_split_column(with_held_out(scan), _read_split_column),
    file_name=CSV.pattern,
    find_files=partial(find_named_source, CsvSource, CSV),
)
