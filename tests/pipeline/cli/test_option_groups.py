import inspect
from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.option_groups import flatten_option_groups


@dataclass(frozen=True)
class SizeOptions:
    height: Annotated[int, typer.Option(max=9)] = 1
    names: Annotated[list[str], typer.Option("--name")] = field(default_factory=lambda: ["a", "b"])


@dataclass(frozen=True)
class SeedOptions:
    seed: Annotated[int | None, typer.Option()] = None


@dataclass(frozen=True)
class OtherSeedOptions(SeedOptions):
    pass


def build_app():
    calls = []

    def command(
        context: typer.Context,
        *,
        source: Annotated[str, typer.Argument()] = "none",
        size: SizeOptions,
        quiet: Annotated[bool, typer.Option("--quiet")] = False,
        seed: SeedOptions,
    ) -> None:
        """Train."""
        calls.append((context.obj, source, size, quiet, seed))

    app = typer.Typer()
    flat = flatten_option_groups(command)
    app.command()(flat)
    return app, flat, calls


def test_options_stand_in_the_order_of_the_parameters():
    _, flat, _ = build_app()
    assert list(inspect.signature(flat).parameters) == ["context", "source", "height", "names", "quiet", "seed"]
    assert (flat.__name__, flat.__doc__) == ("command", "Train.")


def test_groups_are_built_from_options():
    app, _, calls = build_app()
    arguments = ["digits", "--height", "3", "--name", "c", "--seed", "5", "--quiet"]
    assert CliRunner().invoke(app, arguments, obj="beam").exit_code == 0
    assert calls == [("beam", "digits", SizeOptions(3, ["c"]), True, SeedOptions(5))]


def test_defaults_are_those_of_the_fields():
    app, _, calls = build_app()
    assert CliRunner().invoke(app, [], obj=()).exit_code == 0
    assert calls == [((), "none", SizeOptions(1, ["a", "b"]), False, SeedOptions(None))]


def test_limits_of_a_field_are_checked():
    app, _, calls = build_app()
    assert CliRunner().invoke(app, ["--height", "10"]).exit_code == 2
    assert calls == []


def test_two_options_of_one_name_are_rejected():
    def command(first: SeedOptions, second: OtherSeedOptions) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'seed'"):
        flatten_option_groups(command)
