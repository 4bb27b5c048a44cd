"""The lines of a CSV file, in pieces, and what they hold; the scan and the workers read the same pieces."""

import csv as python_csv
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from model.errors import BadInput
from pipeline.sources.compressed import open_decompressed
from pipeline.sources.csv_columns import MAX_LINE_BYTES, CsvColumns, read_first_lines
from pipeline.sources.labels import Label, read_label
from pipeline.sources.pixel_rows import WHOLE_PIXEL, round_pixels
from pipeline.storage.places import Place

PIECE_BYTES = 2**23  # of lines: a pixel takes two bytes or more, so at most 4 MiB of pixels
_SHOWN = 200  # characters of what pyarrow says


class LinesPiece(NamedTuple):
    """Whole lines of a file, and the position of their first byte in it, decompressed."""

    offset: int
    lines: bytes

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but blank lines."""
        return not self.lines or self.lines.isspace()


def read_pieces(place: Place, columns: CsvColumns) -> Iterator[LinesPiece]:
    """Yield the lines after the header in pieces of about PIECE_BYTES; raises BadInput if a line is too long.

    Pieces of blank lines are left out.
    """
    pieces = cut_pieces(place, find_first_byte(place, columns), PIECE_BYTES)
    return (piece for piece in pieces if not piece.is_blank)


def find_first_byte(place: Place, columns: CsvColumns) -> int:
    """Return the position in a file, decompressed, of the first line after the header."""
    if not columns.has_header:
        return 0
    with open_decompressed(place) as stream:
        return read_first_lines(stream, str(place))[1]


def cut_pieces(place: Place, first_byte: int, piece_bytes: int, num_before: int = 0) -> Iterator[LinesPiece]:
    """Yield the lines of a file from first_byte on in pieces; raises BadInput if a line is too long.

    A piece ends with the last line that ends within the next multiple of piece_bytes, so it can be found without the
    pieces before it: the first num_before ones are left out. Pieces may be of blank lines.
    """
    with open_decompressed(place) as stream:
        offset, rest = _read_begun_line(stream, first_byte, first_byte + num_before * piece_bytes, place)
        while chunk := stream.read(piece_bytes):
            lines = rest + chunk
            end = lines.rfind(b"\n") + 1
            if end:
                yield LinesPiece(offset, lines[:end])
            offset += end
            rest = lines[end:]
            _check_line(rest, place)
        if rest:
            yield LinesPiece(offset, rest)


def _read_begun_line(stream: BinaryIO, first_byte: int, end: int, place: Place) -> tuple[int, bytes]:
    """Go to a position, `end`, and return where the line began that goes on there, and its bytes up to there."""
    start = max(first_byte, end - MAX_LINE_BYTES - 1)
    stream.seek(start)
    before = stream.read(end - start)
    line = before[before.rfind(b"\n") + 1 :]
    _check_line(line, place)
    return end - len(line), line


def _check_line(line: bytes, place: Place) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise BadInput(f"{place}: a line of more than {MAX_LINE_BYTES} bytes")


def read_labels(lines: bytes, columns: CsvColumns, name: str = "") -> list[Label]:
    """Return the labels of lines of a file that has some.

    Raises BadInput, if the file's name is given, for lines of another number of columns.
    """
    return [read_label(label) for label in _read_words(lines, columns, columns.label or 0, name)]


def check_lines(lines: bytes, columns: CsvColumns, name: str) -> None:
    """Raise BadInput if a line has another number of columns."""
    _parse(lines, columns, columns.images[:1], pa.binary(), name)


def read_paths(lines: bytes, columns: CsvColumns, name: str) -> list[str]:
    """Return the paths of lines, with slashes, empty where there is none; raises as `read_labels`."""
    [image] = columns.images
    return [(path or "").strip().replace("\\", "/") for path in _read_words(lines, columns, image, name)]


def read_splits(lines: bytes, columns: CsvColumns, name: str) -> list[str | None]:
    """Return the words in the column of splits of lines of a file that has one; raises as `read_labels`."""
    return _read_words(lines, columns, columns.split or 0, name)


def _read_words(lines: bytes, columns: CsvColumns, number: int, name: str) -> list[str | None]:
    """Return the words in a column; raises BadInput for one with a line break, which hides rows if a quote is stray."""
    words: list[str | None] = _parse(lines, columns, (number,), pa.string(), name).column(0).to_pylist()
    if name and b'"' in lines:
        broken = next((word for word in words if word and "\n" in word), None)
        if broken is not None:
            where = f"a field of column {columns.names[number]!r}"
            raise BadInput(f"{name}: {where} has a line break after {broken.splitlines()[0][:_SHOWN]!r}")
    return words


def read_pixels(lines: bytes, columns: CsvColumns) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
    """Return uint8[rows, pixels] of sound lines, and why rows are unusable, by position."""
    names = columns.image_names
    try:
        table = _parse(lines, columns, columns.images, pa.uint8())
        if not any(column.null_count for column in table.columns):
            return _stack(table), {}
    except pa.ArrowInvalid:
        pass  # not all are whole numbers up to 255
    try:
        return round_pixels(_stack(_parse(lines, columns, columns.images, pa.float64())), names)
    except pa.ArrowInvalid:
        return _read_texts(_parse(lines, columns, columns.images, pa.binary()), names)


def _stack(table: pa.Table) -> npt.NDArray[Any]:
    columns = [column.combine_chunks().to_numpy(zero_copy_only=False) for column in table.columns]
    return np.ascontiguousarray(np.stack(columns).T)


def _read_texts(table: pa.Table, names: list[str]) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
    values = np.full((table.num_rows, table.num_columns), np.nan)
    texts = dict[int, str]()
    for number, column in enumerate(table.columns):
        for row, text in enumerate(column.to_pylist()):
            try:
                values[row, number] = float(text) if text else np.nan
            except ValueError:
                shown = text[:20].decode(errors="replace")
                texts.setdefault(row, f"the pixel {names[number]!r} is {shown!r}, {WHOLE_PIXEL}")
    pixels, faults = round_pixels(values, names)
    return pixels, faults | texts


def _parse(lines: bytes, columns: CsvColumns, chosen: tuple[int, ...], kind: pa.DataType, name: str = "") -> pa.Table:
    """Parse columns of lines as one type; raises BadInput for what is no CSV of these columns if there is a name.

    Raises ArrowInvalid if a value is not of the type.
    """
    keys = [str(number) for number in range(len(columns.names))]
    included = [keys[number] for number in chosen]
    try:
        table = csv.read_csv(
            io.BytesIO(lines),
            csv.ReadOptions(use_threads=False, block_size=max(2**20, len(lines) + 1), column_names=keys),
            csv.ParseOptions(delimiter=columns.delimiter),
            csv.ConvertOptions(
                column_types=dict.fromkeys(included, kind),
                include_columns=included,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        if name and b'"' in lines and table.num_rows < sum(map(bool, map(bytes.strip, lines.splitlines()))):
            _check_quotes(lines, columns.delimiter, name)
        return table
    except pa.ArrowInvalid as error:
        if not name:
            raise
        # pyarrow counts the rows of these lines only, so its number is left out; it quotes the line.
        problem = re.sub(r"^CSV parse error: (Row #[0-9]+: )?", "", str(error).splitlines()[0])
        if "invalid UTF8" in problem:
            raise BadInput(f"{name}: text that is no UTF-8: save it as UTF-8") from None
        raise BadInput(f"{name}: no sound CSV: {problem[:_SHOWN]}") from None


def _check_quotes(lines: bytes, delimiter: str, name: str) -> None:
    """Raise BadInput if a quote is not closed, or closed by that of another field, which hides the rows between."""
    try:
        for _ in python_csv.reader(
            io.StringIO(lines.decode(errors="replace"), newline=""), delimiter=delimiter, strict=True
        ):
            pass
    except python_csv.Error as problem:
        raise BadInput(f"{name}: no sound CSV: a quote that is not closed hides rows: {problem}") from None
