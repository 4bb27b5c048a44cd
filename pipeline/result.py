"""What a command answers on standard output: one JSON object, or lines and tables."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pipeline.sheets import Part


def say_result(as_json: bool, result: dict[str, Any], parts: "Sequence[Part]") -> None:
    """Print the result of a command, and nothing else on standard output."""
    if as_json:
        typer.echo(json.dumps(result))
        return
    from pipeline.sheets import show

    show(parts)
