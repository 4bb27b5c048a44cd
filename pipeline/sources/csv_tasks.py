"""The scan of the lines of CSV files in tasks of consecutive bytes, which are counted without those of headers.

Lines are digested in pieces of bytes, not of rows: the bytes of a file are known before it is read, and its rows are
not.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from os import SEEK_END
from typing import NamedTuple

import google_crc32c

from pipeline.sources import csv_lines
from pipeline.sources.blocks import changed_since_scan
from pipeline.sources.compressed import is_compressed, open_decompressed
from pipeline.sources.csv_columns import CsvColumns
from pipeline.sources.csv_lines import LinesPiece, cut_pieces, find_first_byte, read_labels
from pipeline.sources.labels import LabelSet
from pipeline.sources.scan_tasks import (
    Content,
    DigestsOf,
    MapTasks,
    PieceSize,
    Span,
    choose_runner,
    cut_span,
    map_here,
    plan_contents,
)
from pipeline.storage.files import file_size
from pipeline.storage.places import Place

_LEAST_PIECES = 4  # of those that are digested, in a task


class CsvFile(NamedTuple):
    """A file that has rows, its columns, the position of the first line after its header, and the bytes from there on.

    num_bytes is None if the file is read to its end, whatever it is.
    """

    place: Place
    columns: CsvColumns
    first_byte: int
    num_bytes: int | None = None


class LinesTask(NamedTuple):
    """A part of the scan of a split: the files that have the bytes of the span.

    The lines of the first file are at `start` of the split. They are read in pieces of about piece_bytes, of which the
    first num_before are of earlier tasks.
    """

    files: tuple[CsvFile, ...]
    start: int
    piece_bytes: int
    num_before: int
    span: Span


class FoundPiece(NamedTuple):
    """Lines of a file of a task, by its number there: where they are, how many rows they have, and their CRC-32C."""

    file: int
    offset: int
    num_bytes: int
    num_rows: int
    checksum: int


class FoundLines(NamedTuple):
    """The result of a task: the pieces that begin in its span and have rows, and the labels of the rows."""

    pieces: tuple[FoundPiece, ...]
    labels: tuple[int | str, ...]


def open_file(place: Place, columns: CsvColumns) -> CsvFile:
    """Return a file that is read to its end."""
    return CsvFile(place, columns, find_first_byte(place, columns))


def plan_lines(
    files: dict[str, tuple[CsvFile, ...]], headers: dict[str, bytes], map_tasks: MapTasks
) -> dict[str, Content]:
    """Return the content of each split of a source, given its files and its header; map_tasks runs large ones."""
    every_file = [file for each in files.values() for file in each]
    run = choose_runner(sum(file_size(file.place) for file in every_file), map_tasks, is_parsed=True)
    compressed = [file for file in every_file if is_compressed(file.place)]
    places = {file.place for file in compressed}

    def cut() -> dict[str, list[LinesTask]]:
        sizes = dict(zip(compressed, run(_measure, compressed, int), strict=True))
        return {
            split: _cut_tasks([file._replace(num_bytes=sizes.get(file) or _measure(file)) for file in each], places)
            for split, each in files.items()
        }

    def read_whole(split: str, span: Span) -> LinesTask:
        return LinesTask(files[split], 0, csv_lines.PIECE_BYTES, 0, span)

    pays = run is not map_here or not compressed  # other files are measured without reading them
    return plan_contents(headers, PieceSize.of_bytes(), cut if pays else None, read_whole)


def _measure(file: CsvFile) -> int:
    with open_decompressed(file.place) as stream:
        return stream.seek(0, SEEK_END) - file.first_byte


def _cut_tasks(files: list[CsvFile], compressed: set[Place]) -> list[LinesTask]:
    """Cut a split, whose files are measured, into tasks; compressed are the files of the source that are.

    Where two tasks meet, both read a piece of lines. A gzip file is read from its beginning on, so tasks have as many
    bytes as the largest, and two of them read it.
    """
    largest = max((file.num_bytes or 0 for file in files if file.place in compressed), default=0)
    size = PieceSize.of_bytes()
    least = max(_LEAST_PIECES * size.piece, largest)
    starts = list(accumulate((file.num_bytes or 0 for file in files), initial=0))
    tasks = list[LinesTask]()
    for span in cut_span(starts[-1], least, size):
        first = bisect_right(starts, span.start) - 1
        start = starts[first]
        num_before = (span.start - start) // csv_lines.PIECE_BYTES
        chosen = tuple(files[first : bisect_left(starts, span.stop)])
        tasks.append(LinesTask(chosen, start, csv_lines.PIECE_BYTES, num_before, span))
    return tasks


def read_lines(task: LinesTask, digests_of: DigestsOf) -> FoundLines:
    """Read the pieces of a task, and add the bytes of its span to the only digest of their piece.

    Raises BadInput if a file is damaged, has lines of other columns, or has changed since it was measured.
    """
    pieces = list[FoundPiece]()
    labels = LabelSet()
    for number, position, piece in _read_pieces(task):
        for part, chosen in task.span.overlaps(position, len(piece.lines)):
            [digest] = digests_of(part)
            digest.update(b"" if piece.is_blank else memoryview(piece.lines)[chosen])
        if position < task.span.start or piece.is_blank:
            continue
        file = task.files[number]
        found = read_labels(piece.lines, file.columns, str(file.place))
        labels.update(found)
        if found:
            checksum = google_crc32c.value(piece.lines)
            pieces.append(FoundPiece(number, piece.offset, len(piece.lines), len(found), checksum))
    return FoundLines(tuple(pieces), labels.found)


def _read_pieces(task: LinesTask) -> Iterator[tuple[int, int, LinesPiece]]:
    """Yield the number of the file in the task, the position in the split, and each piece that has bytes of the span.

    Raises BadInput if a file does not end where it did when it was measured.
    """
    start = task.start
    num_before = task.num_before
    for number, file in enumerate(task.files):
        end = start
        for piece in cut_pieces(file.place, file.first_byte, task.piece_bytes, num_before):
            position = start + piece.offset - file.first_byte
            if position >= task.span.stop:
                return
            yield number, position, piece
            end = position + len(piece.lines)
        if file.num_bytes not in (None, end - start):
            raise changed_since_scan(file.place)
        start = end
        num_before = 0
