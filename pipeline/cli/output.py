"""Print results on standard output: drawn tables on a terminal, aligned plain text elsewhere, or JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from pipeline.progress import escape_control_characters, escape_to_one_line


class Sheet(NamedTuple):
    """A table of results."""

    headings: Sequence[str]  # a # before one is not printed, and aligns the column to the right, for numbers
    rows: Sequence[Sequence[str | int]]  # integers are printed with commas between thousands
    title: str = ""  # printed above the table


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
    typer.echo(json.dumps(result))


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
            console.print(Text(escape_control_characters(part)), soft_wrap=True)
            continue
        if part.title:  # rich would wrap the title of a Table to the table's width
            console.print(Text(escape_control_characters(part.title), "bold"))
        console.print(_build_rich_table(part))


def format_plain_text(part: OutputPart) -> str:
    """Return a line, or a table as aligned text without colours or rules."""
    if isinstance(part, str):
        return escape_control_characters(part)
    rows = [list(map(_format_cell, row)) for row in part.rows]
    columns = list(zip([heading.removeprefix("#") for heading in part.headings], *rows, strict=True))
    aligns = [str.rjust if heading.startswith("#") else str.ljust for heading in part.headings]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(align(cell, width) for align, cell, width in zip(aligns, row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([escape_to_one_line(part.title), *lines] if part.title else lines)


def _build_rich_table(sheet: Sheet) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in sheet.headings:
        justify: JustifyMethod = "right" if heading.startswith("#") else "left"
        # a name in the first column can be copied whole
        is_first = not table.columns
        table.add_column(Text(heading.removeprefix("#")), justify=justify, overflow="fold", no_wrap=is_first)
    for row in sheet.rows:
        table.add_row(*(Text(_format_cell(cell)) for cell in row))
    return table


def _format_cell(cell: str | int) -> str:
    return escape_to_one_line(cell) if isinstance(cell, str) else f"{cell:,}"
