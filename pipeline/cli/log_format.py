"""The option --log-format, which every command has."""

import inspect
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import wraps
from inspect import Parameter
from itertools import pairwise
from typing import Annotated

import typer

from pipeline.progress import write_json_lines, writes_json_lines

_OPTION = "--log-format"


class LogFormat(StrEnum):
    """How messages and errors are written on standard error and in the log file."""

    text = "text"
    json = "json"


def add_log_format(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has the option too, as its last one."""
    option = typer.Option(_OPTION, rich_help_panel="Process", help="Messages: text, or one JSON object a line.")
    parameter = Parameter(
        "log_format", Parameter.KEYWORD_ONLY, default=LogFormat.text, annotation=Annotated[LogFormat, option]
    )

    @wraps(command)
    def call(log_format: LogFormat, **values: object) -> None:
        write_json_lines(log_format is LogFormat.json)
        command(**values)

    parameters = [*inspect.signature(command).parameters.values(), parameter]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    return call


def asks_for_json_lines(arguments: Sequence[str]) -> bool:
    """Return whether arguments ask for JSON, before they are parsed: errors of parsing are messages too."""
    return f"{_OPTION}={LogFormat.json}" in arguments or (_OPTION, LogFormat.json) in pairwise(arguments)


def log_format_arguments() -> list[str]:
    """Return the arguments that give another command the format of this one."""
    return [_OPTION, LogFormat.json.value] if writes_json_lines() else []
