"""The command line: its commands and exit codes. Heavy imports are lazy: --help imports neither TensorFlow nor Beam."""

import atexit
import gc
import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from model.errors import NothingRun
from pipeline.cli import (
    learn_command,
    maintenance_commands,
    mlflow_command,
    model_commands,
    overview_commands,
    registry_commands,
    retention_commands,
    run_commands,
    schedule_command,
)
from pipeline.cli.arguments import refuse_long_arguments, refuse_secrets, split_arguments
from pipeline.cli.error_output import report_errors
from pipeline.cli.log_format import add_log_format, asks_for_json_lines
from pipeline.cli.option_groups import flatten_option_groups
from pipeline.cli.options import WORKSPACE_VARIABLE
from pipeline.cli.output import print_result
from pipeline.cli.standard_streams import protect_standard_streams
from pipeline.cli.unknown_options import Command
from pipeline.processes import handle_signals
from pipeline.progress import write_json_lines

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="backbeam",
    epilog="Exit codes: 0 done; 1 `gradcheck` or `reproduce` found a difference, `promote` refused, or `schedule "
    "--check` found no scheduler; 2 wrong usage; 3 bad input; 4 corrupt artefact; 5 storage; 6 locked by another "
    "process; 7 Beam engine; 8 a record of an unknown format; 130 interrupted; 141 the reader of standard output "
    "ended; 143 terminated.",
    no_args_is_help=True,
    context_settings=CONTEXT_SETTINGS,
    pretty_exceptions_enable=False,
)


def main() -> NoReturn:
    """Run the command line and exit with its documented code."""
    atexit.register(gc.freeze)  # or Python's last collection would go through all that was imported: 0.05 to 1 s
    arguments, beam_arguments = split_arguments(sys.argv[1:])
    protect_standard_streams()
    write_json_lines(asks_for_json_lines(arguments))
    received = handle_signals()
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)  # report_errors prints the error, once
    with report_errors("--json" in arguments, received):
        refuse_secrets([*sys.argv[1:], os.environ.get(WORKSPACE_VARIABLE, "")])
        refuse_long_arguments(arguments)
        sys.exit(_run_command(arguments, beam_arguments))


def _run_command(arguments: list[str], beam_arguments: list[str]) -> int:
    """Run a command and return its exit code.

    Outside of its standalone mode Typer raises usage errors, which it would print in a box of its own.
    """
    try:
        code = app(args=arguments, prog_name="backbeam", obj=tuple(beam_arguments), standalone_mode=False)
        return code if isinstance(code, int) else 0
    except NothingRun as reason:
        print_result("--json" in arguments, {"nothing_run": str(reason)}, [str(reason)])
        return 0


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        typer.echo(f"backbeam {version('backbeam')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Train small networks with back-propagation written out by hand, as a batch job of Beam and TensorFlow.

    Options after -- go to Beam.
    """


_COMMANDS = {  # by the headings of `backbeam --help`, in its order
    "Job": run_commands.COMMANDS,
    "Results and models": (
        *overview_commands.COMMANDS,
        learn_command.learn,
        *model_commands.COMMANDS,
        mlflow_command.mlflow,
    ),
    "Champion": (*registry_commands.COMMANDS, schedule_command.schedule),
    "Maintenance": (*maintenance_commands.COMMANDS, *retention_commands.COMMANDS),
}
for heading, commands in _COMMANDS.items():
    for command in commands:
        settings = schedule_command.PASSES_OPTIONS_ON if command is schedule_command.schedule else None
        app.command(cls=Command, rich_help_panel=heading, context_settings=settings)(
            add_log_format(flatten_option_groups(command))
        )
