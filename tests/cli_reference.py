"""Generate docs/cli.md from the commands: `python -m tests.cli_reference`."""

import html
from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from pipeline.cli.main import app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
NOTE = "Made from the code by `python -m tests.cli_reference`; a test checks that it is current.\n"


def build_page() -> str:
    command = get_command(app)
    context = typer.Context(command, info_name="backbeam", **command.context_settings)
    text = get_docs_for_click(obj=command, ctx=context, name="backbeam")
    for name, each in command.commands.items():  # typer cuts these sentences
        text = text.replace(
            f"* `{name}`: {each.get_short_help_str()}\n", f"* `{name}`: {each.get_short_help_str(200)}\n"
        )
    title, rest = html.unescape(text).split("\n", 1)
    return f"{title}\n\n{NOTE}{rest.rstrip()}\n"


if __name__ == "__main__":
    PAGE.write_text(build_page())
