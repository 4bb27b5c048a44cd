"""Pixels in Parquet files: a column of lists of numbers, or a column for each pixel, read in small batches.

The identity of a split is the digest of its labels and pixels in order, whatever the type of the numbers.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.errors import BadInput, BadUsage
from pipeline.sources.blocks import (
    BLOCK_BYTES,
    Block,
    BlockRange,
    ExampleFormat,
    SourceInfo,
    SplitScan,
    changed_since_scan,
)
from pipeline.sources.idx_format import MAX_EXAMPLE_BYTES
from pipeline.sources.image_blocks import NO_FORMAT
from pipeline.sources.labels import NUMBERS, Label, LabelCodes, LabelSet
from pipeline.sources.parquet_columns import ParquetColumns, is_list, read_labels
from pipeline.sources.parquet_files import open_parquet
from pipeline.sources.parquet_tasks import FoundRows, RowGroup, RowsTask, check_num_rows, read_groups
from pipeline.sources.pixel_rows import PixelRows, choose_image_size, round_pixels, to_block
from pipeline.sources.scan_tasks import Content, DigestsOf
from pipeline.storage.places import Place

MAX_BATCH_ROWS = 1024
_MAX_EXCESS = 4  # lists may be so many times as long as images on average; few bytes may stand for long ones


class PixelBatch(NamedTuple):
    """Consecutive rows: uint8[rows, pixels], labels, and why rows are unusable, by position."""

    pixels: npt.NDArray[np.uint8]
    labels: list[Label]
    faults: dict[int, str]

    @property
    def parts(self) -> tuple[bytes, bytes]:
        """Labels and faults, and pixels, as bytes: those of two batches follow each other as those of one do."""
        lines = [json.dumps([label, self.faults.get(row)]) + "\n" for row, label in enumerate(self.labels)]
        return "".join(lines).encode(), self.pixels.tobytes()

    def take(self, chosen: slice) -> "PixelBatch":
        """Return consecutive rows."""
        faults = {row - chosen.start: fault for row, fault in self.faults.items() if chosen.start <= row < chosen.stop}
        return PixelBatch(self.pixels[chosen], self.labels[chosen], faults)


@dataclass(frozen=True)
class PixelGroupRange(BlockRange):
    """A row group of a file, the position of its first row in the file, and the CRC-32C of its content."""

    file: Place
    columns: ParquetColumns
    image_size: tuple[int, int]
    group: int
    first_row: int
    checksum: int
    codes: LabelCodes = NUMBERS

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the blocks of a range; raises BadInput after the last if the rows have changed since the scan."""
        checksum = 0
        num_read = 0
        with open_parquet(self.file, self.columns.labels) as parquet:
            for batch in read_batches(parquet, self.group, self.columns, self.image_size, str(self.file)):
                checksum = _extend_checksum(checksum, batch)
                labels = self.codes.encode(batch.labels)
                first_row = self.first_row + num_read
                start = self.start + num_read
                yield to_block(
                    self.split, PixelRows(self.file.name, first_row, start, batch.pixels, labels, batch.faults), target
                )
                num_read += len(labels)
        if checksum != self.checksum or num_read != self.num_examples:
            raise changed_since_scan(self.file)


def find_image_size(files: tuple[Place, ...], columns: ParquetColumns, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width of the images: the user's, else those of the first row's lists, else of a square.

    Raises BadUsage or BadInput if the first image does not fit.
    """
    if len(columns.pixels) > 1:
        return choose_image_size(len(columns.pixels), size, str(files[0]))
    found = (_find_size_in(file, columns, size) for file in files)  # the first files may have no rows
    image_size = next((each for each in found if each), None)
    if image_size is None:
        raise BadInput(f"{files[0]}: the split is empty: it has no rows with an image in {columns.image!r}")
    return image_size


def _find_size_in(file: Place, columns: ParquetColumns, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the size that the first list in a file gives; None if the file has none."""
    with open_parquet(file) as parquet:
        for group in range(parquet.metadata.num_row_groups):
            _check_lengths(parquet, group, columns, MAX_EXAMPLE_BYTES, str(file))
            for batch in parquet.iter_batches(1, row_groups=[group], columns=[columns.image], use_threads=False):
                shape = _shape_of(batch.column(0))
                if prod(shape) and prod(shape) <= MAX_EXAMPLE_BYTES:
                    return _choose_size(shape, size, str(file))
    return None


def _shape_of(image: pa.Array) -> tuple[int, ...]:
    """Return the dimensions of the only list of an array; zeros if it has none: null, or lists of different lengths."""
    [length] = pc.list_value_length(image).fill_null(0).to_pylist()
    if not is_list(image.type.value_type):
        return (length,)
    widths = pc.unique(pc.list_value_length(pc.list_flatten(image)).fill_null(0)).to_pylist()
    return (length, widths[0]) if len(widths) == 1 else (0, 0)


def _choose_size(shape: tuple[int, ...], size: tuple[int, int] | None, name: str) -> tuple[int, int]:
    if len(shape) == 1:
        return choose_image_size(shape[0], size, name)
    height, width = shape
    if size is not None and size != (height, width):
        raise BadUsage(f"--image-size {size[0]}x{size[1]}: {name} has lists of {height} x {width} pixels")
    return height, width


def read_pixels(task: RowsTask, digests_of: DigestsOf, image_size: tuple[int, int]) -> FoundRows:
    """Read the row groups of a task, and add the rows of its span to the two digests of their piece."""
    labels = LabelSet()
    num_bytes = 0

    def read_group(parquet: pq.ParquetFile, group: RowGroup) -> int:
        nonlocal num_bytes
        checksum = 0
        stop = group.start
        for batch in read_batches(parquet, group.number, task.columns, image_size, str(group.file)):
            checksum = _extend_checksum(checksum, batch)
            for piece, chosen in task.span.overlaps(stop, len(batch.labels)):
                rows = batch.take(chosen)
                labels.update(rows.labels)
                for digest, data in zip(digests_of(piece), rows.parts, strict=True):
                    digest.update(data)
                    num_bytes += len(data)
            stop += len(batch.labels)
        check_num_rows(group, stop - group.start)
        return checksum

    checksums = read_groups(task, task.columns.labels, read_group)
    return FoundRows(num_bytes, checksums, NO_FORMAT, labels.found)


def join_pixels(split: str, content: Content, found: list[FoundRows], image_size: tuple[int, int]) -> SplitScan:
    """Return the scan of a split, given what its tasks have found."""
    columns = content.tasks[0].columns
    groups = [group for task in content.tasks for group in task.own_groups()]
    checksums = (checksum for each in found for checksum in each.checksums)
    ranges = tuple(
        PixelGroupRange(
            split, group.start, group.num_rows, group.file, columns, image_size, group.number, group.first_row, checksum
        )
        for group, checksum in zip(groups, checksums, strict=True)
    )
    digests = [digest.hexdigest() for digest in content.digests]  # of rows and of pixels
    identity = hashlib.sha256(json.dumps([*digests, image_size]).encode()).hexdigest()
    num_bytes = sum(each.num_bytes for each in found)
    return SplitScan(ranges, image_size, (SourceInfo(name=f"{split}-rows", num_bytes=num_bytes, sha256=identity),))


def with_codes(scan: SplitScan, codes: LabelCodes) -> SplitScan:
    """Return a scan whose ranges, which all have labels to encode, encode them so."""
    return replace(scan, ranges=tuple(replace(each, codes=codes) for each in scan.ranges))  # type: ignore[call-arg]


def _extend_checksum(checksum: int, batch: PixelBatch) -> int:
    for part in batch.parts:
        checksum = google_crc32c.extend(checksum, part)
    return checksum


def read_batches(
    parquet: pq.ParquetFile, group: int, columns: ParquetColumns, image_size: tuple[int, int], name: str
) -> Iterator[PixelBatch]:
    """Yield the rows of a row group of a file of that name, of about BLOCK_BYTES of pixels at a time.

    Raises BadInput if lists or labels are too long.
    """
    num_pixels = image_size[0] * image_size[1]
    mean_length = _check_lengths(parquet, group, columns, _MAX_EXCESS * num_pixels, name)
    batch_rows = max(1, min(MAX_BATCH_ROWS, BLOCK_BYTES // max(num_pixels, mean_length)))
    names = [*columns.pixels, *columns.labels]
    for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=names, use_threads=False):
        labels = read_labels(batch, columns, name)
        if len(columns.pixels) > 1:
            values = [batch.column(name).to_numpy(zero_copy_only=False) for name in columns.pixels]
            pixels, faults = round_pixels(np.stack(values).T, list(columns.pixels))
        else:
            pixels, faults = _read_lists(batch.column(columns.image), image_size)
        yield PixelBatch(np.ascontiguousarray(pixels), labels, faults)


def _check_lengths(parquet: pq.ParquetFile, group: int, columns: ParquetColumns, max_length: int, name: str) -> int:
    """Return the mean length of a group's lists; raises BadInput if it is too large, before one is read."""
    about = parquet.metadata.row_group(group)
    chunks = (about.column(number) for number in range(about.num_columns))
    counts = (each.num_values for each in chunks if each.path_in_schema.split(".")[0] in columns.pixels)
    num_values = max(counts, default=0)
    mean_length: int = -(-num_values // max(1, about.num_rows))
    if mean_length > max_length:
        raise BadInput(f"{name}: images of {mean_length} pixels on average, expected at most {max_length}")
    return mean_length


def _read_lists(lists: pa.Array, image_size: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
    """Return uint8[rows, pixels] of lists of numbers, or of lists of lists, and why rows are unusable, by position."""
    num_pixels = image_size[0] * image_size[1]
    lengths, has_shape, values = _flatten(lists, image_size)
    faults = {
        row: _describe_length(int(lengths[row]), image_size)
        for row in np.flatnonzero((lengths != num_pixels) | ~has_shape).tolist()
    }
    sound = np.flatnonzero((lengths == num_pixels) & has_shape)
    starts = np.cumsum(np.maximum(lengths, 0)) - np.maximum(lengths, 0)
    chosen = values[(starts[sound][:, None] + np.arange(num_pixels)).reshape(-1)].reshape(-1, num_pixels)
    names = [str(number) for number in range(num_pixels)]
    found, more_faults = round_pixels(chosen, names)
    pixels = np.zeros((len(lengths), num_pixels), np.uint8)
    pixels[sound] = found
    return pixels, faults | {int(sound[row]): fault for row, fault in more_faults.items()}


def _describe_length(length: int, image_size: tuple[int, int]) -> str:
    height, width = image_size
    if length < 0:
        return "there is no image"
    if length != height * width:
        return f"an image of {length} pixels, expected {height * width}"
    return f"the lists of the image are not {height} of {width} pixels each"


def _flatten(
    lists: pa.Array, image_size: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Return how many numbers each list has, -1 for null, whether the lists in it fit the size, and all numbers."""
    lengths = pc.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    has_shape = np.ones(len(lists), np.bool_)
    values = pc.list_flatten(lists)
    if is_list(values.type):
        height, width = image_size
        inner = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        parents = pc.list_parent_indices(lists).to_numpy()
        num_fitting = np.bincount(parents, weights=inner == width, minlength=len(lists))
        has_shape = (lengths == height) & (num_fitting == height)
        totals = np.bincount(parents, weights=inner, minlength=len(lists)).astype(np.int64)
        lengths = np.where(lengths < 0, lengths, totals)
        values = pc.list_flatten(values)
    return lengths, has_shape, values.to_numpy(zero_copy_only=False)
