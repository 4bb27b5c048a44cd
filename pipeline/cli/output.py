"""Print results on standard output: drawn tables on a terminal, aligned plain text elsewhere, or JSON."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from pipeline.message_lines import dump_json
from pipeline.progress import escape_control_characters, escape_to_one_line, print_wrapped

EDGES = 2  # characters beside a drawn table
GAP = 3  # characters between two of its columns
LEAST_WRAPPED = 20  # characters of a column whose text is wrapped


class Sheet(NamedTuple):
    """A table of results."""

    headings: Sequence[str]  # a # before one is not printed, and aligns the column to the right, for numbers
    rows: Sequence[Sequence[str | int]]  # integers are printed with commas between thousands
    title: str = ""  # printed above the table
    row_is_line: bool = False  # a row is always one line: a terminal too narrow for it leaves out the last columns


OutputPart: TypeAlias = str | Sheet
CommandOutput: TypeAlias = tuple[dict[str, Any], list[OutputPart]]  # the result of a command as JSON and as text


@dataclass
class _OutputState:
    is_json_printed: bool = False


_state = _OutputState()


def print_result(as_json: bool, result: dict[str, Any], parts: Sequence[OutputPart]) -> None:
    """Print the result of a command on standard output: the object as JSON, else the parts."""
    if as_json:
        print_json(result)
    else:
        print_parts(parts)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    _state.is_json_printed = True
    typer.echo(dump_json(result))


def start_output() -> None:
    """Begin the output of a command."""
    _state.is_json_printed = False


def is_json_printed() -> bool:
    """Return whether the command has printed its JSON object, or tried to."""
    return _state.is_json_printed


def print_parts(parts: Iterable[OutputPart]) -> None:
    """Print lines and tables on standard output: drawn if it is a terminal, else as plain text."""
    if not sys.stdout.isatty():
        print("\n".join(map(format_plain_text, parts)))  # noqa: T201
        return
    console = Console(highlight=False, emoji=False)
    for part in parts:
        if isinstance(part, str):
            print_wrapped(console, escape_control_characters(part))
            continue
        if part.title:  # rich would wrap the title of a Table to the table's width
            console.print(Text(escape_control_characters(part.title), "bold"))
        sheets = fit_to_width(part, console.width)
        for sheet in sheets:
            console.print(_build_rich_table(sheet))
        left_out = part.headings[len(sheets[0].headings) :] if part.row_is_line else ()
        if left_out:
            names = ", ".join(heading.removeprefix("#") for heading in left_out)
            print_wrapped(console, f"a wider terminal, a pipe and --json show more: {names}")


def format_plain_text(part: OutputPart) -> str:
    """Return a line, or a table as aligned text without colours or rules."""
    if isinstance(part, str):
        return escape_control_characters(part)
    columns = _list_columns(part)
    aligns = [str.rjust if heading.startswith("#") else str.ljust for heading in part.headings]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(align(cell, width) for align, cell, width in zip(aligns, row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([escape_to_one_line(part.title), *lines] if part.title else lines)


def fit_to_width(sheet: Sheet, width: int) -> list[Sheet]:
    """Return tables for a terminal of a width, in characters, in which no text but that of the last column is wrapped.

    A table that is too wide is cut into several below each other, each with the first column, or loses its last columns
    if a row must be one line. A column that is too wide by itself stays too wide.
    """
    columns = _list_columns(sheet)
    widths = [max(map(cell_len, column)) for column in columns]
    if not sheet.row_is_line:  # the last column may be wrapped, between words
        words = [word for cell in columns[-1] for word in cell.split()]
        widths[-1] = min(widths[-1], max([LEAST_WRAPPED, *map(cell_len, words)]))
    blocks = [[0]]
    for position in range(1, len(widths)):
        needed = EDGES + sum(widths[chosen] + GAP for chosen in blocks[-1]) + widths[position]
        if needed > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(position)
    return [_choose_columns(sheet, block) for block in (blocks[:1] if sheet.row_is_line else blocks)]


def _choose_columns(sheet: Sheet, positions: Sequence[int]) -> Sheet:
    headings = [sheet.headings[position] for position in positions]
    return sheet._replace(headings=headings, rows=[[row[position] for position in positions] for row in sheet.rows])


def _list_columns(sheet: Sheet) -> list[tuple[str, ...]]:
    """Return the texts of each column, its heading first."""
    rows = [list(map(_format_cell, row)) for row in sheet.rows]
    return list(zip([heading.removeprefix("#") for heading in sheet.headings], *rows, strict=True))


def _build_rich_table(sheet: Sheet) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in sheet.headings:
        justify: JustifyMethod = "right" if heading.startswith("#") else "left"
        is_last = len(table.columns) == len(sheet.headings) - 1
        table.add_column(Text(heading.removeprefix("#")), justify=justify, overflow="fold", no_wrap=not is_last)
    for row in sheet.rows:
        table.add_row(*(Text(_format_cell(cell)) for cell in row))
    return table


def _format_cell(cell: str | int) -> str:
    return escape_to_one_line(cell) if isinstance(cell, str) else f"{cell:,}"
