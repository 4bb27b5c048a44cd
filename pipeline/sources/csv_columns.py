"""Columns of a CSV or TSV file, from its first lines: labels, and pixels or paths of pictures."""

import csv
import re
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.picture_headers import ENDINGS

MAX_LINE_BYTES = 2**22
_MAX_BLANK_BYTES = 2**16  # before the second line that is not blank: they are read into memory
MAX_COLUMNS = 2**16 + 64  # of pixels of 256 x 256, and some more; each takes memory of its own
_DELIMITERS = ",\t;"
_LABEL_NAMES = ("label", "labels", "class", "target", "digit", "character", "y")
_PATH_NAMES = (
    "image",
    "path",
    "file_name",
    "filename",
    "file",
    "filepath",
    "file_path",
    "image_path",
    "image_id",
    "img",
)
INDEX_NAMES = ("", "id", "index", "unnamed: 0")  # columns of row numbers
_EXCEL = re.compile(r"sep=.")  # a first line by which Excel is told the delimiter, which is found without it
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*", re.IGNORECASE)
_PICTURE = re.compile(rf".*\.({'|'.join(ENDINGS)})\s*", re.IGNORECASE)


class HasNoRows(BadInput):
    """A CSV file is empty, or has nothing after its header."""


class CsvColumns(NamedTuple):
    """The columns of a file by position; images has one column of paths, or those of pixels if there are several."""

    delimiter: str
    names: tuple[str, ...]  # of all columns, their numbers from 1 on if there is no header
    has_header: bool
    label: int | None  # None: there are no labels, as in files to predict
    images: tuple[int, ...]
    split: int | None = None  # of the words of splits, if the user names it

    @property
    def holds_paths(self) -> bool:
        """Whether pictures are files of their own."""
        return len(self.images) == 1

    def transpose(self, height: int, width: int) -> "CsvColumns":
        """Return the columns of pixels in the order of the upright images, if they are of transposed ones."""
        order = [column * height + row for row in range(height) for column in range(width)]
        return self._replace(images=tuple(self.images[position] for position in order))

    def fits(self, other: "CsvColumns") -> bool:
        """Return whether another file has the same columns; a file without a header has no names to differ."""
        same_names = self.names == other.names or not (self.has_header and other.has_header)
        positions = (len(self.names), self.label, self.images, self.split)
        return same_names and positions == (len(other.names), other.label, other.images, other.split)


def read_first_lines(stream: BinaryIO, name: str) -> tuple[list[str], int]:
    """Return the first two lines that are not blank nor for Excel alone, and the number of bytes before the second one.

    Raises BadInput if a line is too long or no UTF-8, or too many are blank, HasNoRows if there is none.
    """
    lines = list[str]()
    num_bytes = 0
    num_blank = 0
    while len(lines) < 2 and (line := stream.readline(MAX_LINE_BYTES + 1)):
        text = _decode_line(line, "utf-8" if num_bytes else "utf-8-sig", name)
        if text.strip() and not _EXCEL.fullmatch(text.strip()):
            lines.append(text)
        else:
            num_blank += len(line)
        if num_blank > _MAX_BLANK_BYTES:
            raise BadInput(f"{name}: more than {_MAX_BLANK_BYTES} bytes of blank lines; expected an example on each")
        if len(lines) < 2:
            num_bytes += len(line)
    if not lines:
        raise HasNoRows(f"{name}: the file is empty; expected CSV, an example on each line")
    return lines, num_bytes


def _decode_line(line: bytes, encoding: str, name: str) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise BadInput(f"{name}: a line of more than {MAX_LINE_BYTES} bytes; expected CSV, an example on each line")
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError:
        raise BadInput(f"{name}: no UTF-8 text; expected CSV, an example on each line") from None
    if "\0" in text:
        raise BadInput(f"{name}: a zero byte in a line; expected CSV in UTF-8, an example on each line")
    return text


def detect_csv_columns(lines: list[str], options: PictureOptions, name: str, labelled: bool = True) -> CsvColumns:
    """Find the columns from the first two lines: the requested ones, else those of customary names and content.

    Raises BadUsage if a requested column does not exist, BadInput if there are no labels or no pictures, HasNoRows if
    there is nothing after the header.
    """
    delimiter = max(_DELIMITERS, key=lines[0].count)
    rows = [_split(line, delimiter, name) for line in lines]
    has_header, names = _find_names(rows[0], name)
    if has_header and len(rows) < 2:
        raise HasNoRows(f"{name}: the split is empty: there is nothing after the header")
    split = None if options.split_by is None else _find_requested(names, options.split_by, "--split-by", name)
    label = _find_label(names, rows[-1], has_header, options.label_column, split, name) if labelled else None
    used = (label, split)
    others = [number for number in range(len(names)) if number not in used and not _is_index(names[number], has_header)]
    paths = _find_paths(names, rows[-1], others, options.image_column, name)
    if paths is None and len(others) < 2:
        raise BadInput(
            f"{name}: no columns of pixels and none of paths, such as cat/1.png; its columns: {_list(names)}"
        )
    return CsvColumns(delimiter, names, has_header, label, tuple(others) if paths is None else (paths,), split)


def find_names(lines: list[str], name: str) -> tuple[str, ...]:
    """Return the names of the columns, from the first line: their numbers from 1 on if there is no header."""
    return _find_names(_split(lines[0], max(_DELIMITERS, key=lines[0].count), name), name)[1]


def _find_names(fields: list[str], name: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether the fields of the first line are a header, and the names of the columns."""
    if not 1 < len(fields) <= MAX_COLUMNS:
        raise BadInput(
            f"{name}: {len(fields)} columns, expected 2 to {MAX_COLUMNS}: a label and pixels, or a label and the path "
            f"of a picture, with {', '.join(map(repr, _DELIMITERS))} between them"
        )
    has_header = _is_header(fields)
    return has_header, tuple(fields) if has_header else tuple(str(number + 1) for number in range(len(fields)))


def _split(line: str, delimiter: str, name: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error as error:
        if "\r" in line.rstrip():
            raise BadInput(
                f"{name}: lines that end in a carriage return alone, as those of old Macs: save it with the ends of "
                "lines of Unix or Windows"
            ) from None
        raise BadInput(f"{name}: no sound CSV in its first lines: {error}") from None


def _is_header(fields: list[str]) -> bool:
    """Return whether these are names of columns: none, or few, are numbers, or the numbers count the columns."""
    numbers = [field for field in fields if _NUMBER.fullmatch(field)]
    if any(_PICTURE.fullmatch(field) for field in fields):
        return False
    if len(set(fields)) < len(fields) and not any(field.lower() in _LABEL_NAMES for field in fields):
        return False  # rows repeat values, names of columns are repeated rarely
    if 2 * len(numbers) < len(fields):
        return True
    # pandas names columns of arrays 0, 1, 2, ...; the label's may have a name.
    counts = len(numbers) > 8 and all(field.isdigit() for field in numbers) and int(numbers[0]) in (0, 1)
    return counts and all(int(after) == int(before) + 1 for before, after in pairwise(numbers))


def _find_label(
    names: tuple[str, ...], fields: list[str], has_header: bool, requested: str | None, split: int | None, name: str
) -> int:
    if requested is not None:
        return _find_requested(names, requested, "--label-column", name)
    if not has_header:  # as all customary files have it: before the pixels, or beside the path
        others = (number for number, field in enumerate(fields) if number != split and not _PICTURE.fullmatch(field))
        return next(others, 0)
    lower = [column.lower() for column in names]
    found = next((lower.index(usual) for usual in _LABEL_NAMES if usual in lower), None)
    if found is None:
        raise BadInput(
            f"{name}: no column {', '.join(_LABEL_NAMES)}: name that of the labels with --label-column; its columns: "
            f"{_list(names)}"
        )
    return found


def _find_requested(names: tuple[str, ...], requested: str, option: str, name: str) -> int:
    if requested not in names:
        raise BadUsage(f"{option} {requested}: {name} has no such column; its columns: {_list(names)}")
    return names.index(requested)


def _find_paths(
    names: tuple[str, ...], fields: list[str], others: list[int], requested: str | None, name: str
) -> int | None:
    """Return the column of paths; None if the columns are pixels, because their first row has numbers."""
    if requested is not None:
        return _find_requested(names, requested, "--image-column", name)
    texts = [number for number in others if number < len(fields) and _PICTURE.fullmatch(fields[number])]
    lower = {names[number].lower(): number for number in texts}
    return next((lower[usual] for usual in _PATH_NAMES if usual in lower), texts[0] if texts else None)


def _is_index(name: str, has_header: bool) -> bool:
    return has_header and name.lower() in INDEX_NAMES


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names)})" if len(names) > 10 else "")
