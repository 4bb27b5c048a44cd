"""Dataclasses of options as parameters of a command, for Typer, which reads separate parameters only."""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any

from typer.models import OptionInfo


def flatten_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of dataclasses of options, in their order, in place of the dataclasses.

    Each field is an `Annotated[..., typer.Option(...)]` with a default; the help shows the options of a dataclass with
    an attribute HEADING below it. Raises ValueError if two options have the same name.
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {
        parameter.name: parameter.annotation for parameter in parameters if is_dataclass(parameter.annotation)
    }

    @wraps(command)
    def call(**values: object) -> None:
        built = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **built)

    options = [option for parameter in parameters for option in _flatten(parameter)]
    call.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # what Typer reads
    return call


def _flatten(parameter: Parameter) -> list[Parameter]:
    if not is_dataclass(parameter.annotation):
        return [parameter.replace(kind=Parameter.KEYWORD_ONLY)]
    options = []
    for field in fields(parameter.annotation):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        annotation = _add_heading(field.type, getattr(parameter.annotation, "HEADING", None))
        options.append(Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    return options


def _add_heading(annotation: Any, heading: str | None) -> Any:
    option = copy(annotation.__metadata__[0])  # other commands may have the same option below no heading
    if isinstance(option, OptionInfo):
        option.rich_help_panel = heading
    return Annotated[annotation.__origin__, option]
