from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.option_groups import flatten_option_groups


@dataclass(frozen=True)
class SizeOptions:
    HEADING: ClassVar = "Size"
    height: Annotated[int, typer.Option(max=9)] = 1
    names: Annotated[list[str], typer.Option("--name")] = field(default_factory=lambda: ["a", "b"])


@dataclass(frozen=True)
class SeedOptions:
    seed: Annotated[int | None, typer.Option()] = None


def record_call(
    context: typer.Context,
    *,
    source: Annotated[str, typer.Argument()] = "none",
    size: SizeOptions,
    quiet: Annotated[bool, typer.Option("--quiet")] = False,
    seed: SeedOptions,
) -> None:
    """Train."""
    context.obj.append((source, size, quiet, seed))


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ("digits --height 3 --name c --seed 5 --quiet", 0, [("digits", SizeOptions(3, ["c"]), True, SeedOptions(5))]),
        ("", 0, [("none", SizeOptions(1, ["a", "b"]), False, SeedOptions(None))]),
        ("--height 10", 2, []),
    ],
)
def test_groups_are_built_from_options(arguments, code, expected):
    app = typer.Typer()
    app.command()(flatten_option_groups(record_call))
    calls = []
    assert CliRunner().invoke(app, arguments.split(), obj=calls).exit_code == code
    assert calls == expected


def test_two_options_of_one_name_are_rejected():
    def command(first: SeedOptions, second: SeedOptions) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'seed'"):
        flatten_option_groups(command)
