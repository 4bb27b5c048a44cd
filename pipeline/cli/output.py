"""Print results on standard output: drawn tables on a terminal, aligned plain text elsewhere, or JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from pipeline.progress import escape_control_characters, escape_to_one_line


class SheetColumn(NamedTuple):
    """A column of a sheet: its heading, and whether it holds numbers, which are aligned to the right."""

    name: str
    number: bool = False


class Sheet(NamedTuple):
    """A table of results.

    Attributes:
        columns: from left to right.
        rows: a cell for each column.
        title: printed above the table; empty for none.
    """

    columns: tuple[SheetColumn, ...]
    rows: Sequence[Sequence[str]]
    title: str = ""


OutputPart: TypeAlias = str | Sheet


def parse_columns(*names: str) -> tuple[SheetColumn, ...]:
    """Return columns of these headings; a heading that begins with # is of a column of numbers."""
    return tuple(SheetColumn(name.removeprefix("#"), name.startswith("#")) for name in names)


def print_parts(parts: Iterable[OutputPart]) -> None:
    """Print lines and tables on standard output: drawn if it is a terminal, else as plain text."""
    if not sys.stdout.isatty():
        print("\n".join(map(format_plain_text, parts)))  # noqa: T201
        return
    console = Console(highlight=False, emoji=False)
    for part in parts:
        if isinstance(part, str):
            console.print(Text(escape_control_characters(part)), soft_wrap=True)
            continue
        if part.title:  # rich would wrap the title of a Table to the table's width
            console.print(Text(escape_control_characters(part.title), "bold"))
        console.print(_build_rich_table(part))


def format_plain_text(part: OutputPart) -> str:
    """Return a line, or a table as aligned text without colours or rules."""
    if isinstance(part, str):
        return escape_control_characters(part)
    grid = [[column.name for column in part.columns], *([*map(escape_to_one_line, row)] for row in part.rows)]
    widths = [max(map(len, cells)) for cells in zip(*grid, strict=True)]
    lines = ["  ".join(map(_align_cell, part.columns, row, widths)).rstrip() for row in grid]
    return "\n".join([escape_to_one_line(part.title), *lines] if part.title else lines)


def _align_cell(column: SheetColumn, cell: str, width: int) -> str:
    return cell.rjust(width) if column.number else cell.ljust(width)


def _build_rich_table(sheet: Sheet) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(sheet.columns):
        justify: JustifyMethod = "right" if column.number else "left"
        table.add_column(
            Text(column.name), justify=justify, overflow="fold", no_wrap=not number
        )  # a name in the first column can be copied whole
    for row in sheet.rows:
        table.add_row(*(Text(escape_to_one_line(cell)) for cell in row))
    return table


def print_result(as_json: bool, result: dict[str, Any], parts: Sequence[OutputPart]) -> None:
    """Print the result of a command on standard output: the object as JSON, else the parts."""
    if as_json:
        typer.echo(json.dumps(result))
    else:
        print_parts(parts)
