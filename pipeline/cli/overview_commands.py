"""The commands runs, show, compare, report and inspect. Heavy imports are lazy."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import options
from pipeline.cli.command_setup import open_workspace
from pipeline.cli.output import print_result
from pipeline.cli.stage_options import DatasetChoice


def runs(
    context: typer.Context, workspace: options.Workspace = options.DEFAULT_WORKSPACE, as_json: options.AsJson = False
) -> None:
    """List the runs of a workspace, the newest first, and how good they are."""
    from pipeline.cli.overview_output import build_run_list_output, terminal_columns
    from pipeline.evaluate.evaluated_runs import list_runs

    listing = list_runs(open_workspace(context, workspace))
    print_result(as_json, *build_run_list_output(listing, terminal_columns()))
    if listing.problems:
        raise listing.problems[0]


def show(
    context: typer.Context,
    run: options.RunArgument = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Show an evaluated run in full: figures, classes, configuration, digests, versions."""
    from pipeline.cli.overview_output import build_run_details_output
    from pipeline.evaluate.evaluated_runs import show_run
    from pipeline.registry.history import resolve_run

    place = open_workspace(context, workspace)
    details = show_run(place, resolve_run(place, run))
    print_result(as_json, *build_run_details_output(details))


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help=f"{options.RUN_HELP}.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other run, in the same way.")],
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Compare two runs on the test examples: intervals, exact McNemar test, classes, settings."""
    from pipeline.cli.overview_output import build_comparison_output
    from pipeline.evaluate.evaluated_runs import compare_runs
    from pipeline.registry.history import resolve_run

    place = open_workspace(context, workspace)
    comparison = compare_runs(place, resolve_run(place, first), resolve_run(place, second))
    print_result(as_json, *build_comparison_output(comparison))


def report(
    context: typer.Context,
    runs: options.RunsArgument = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    to: Annotated[
        Path | None, options.local_option("FILE", "Where the page goes; by default reports/pages/RUN.html.")
    ] = None,
    every_run: Annotated[
        bool, typer.Option("--all", help="Write an index page of all runs and of the champion's history instead.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a run's report as one HTML page with an inspector of back-propagation, or compare several runs."""
    from pipeline.cli.open_page import check_can_open, open_page
    from pipeline.cli.overview_output import build_index_output, build_report_output
    from pipeline.cli.registry_output import describe_registry
    from pipeline.registry.history import resolve_run
    from pipeline.report.report import write_index, write_report

    if every_run and (runs or to):
        raise typer.BadParameter("--all is of all runs, beside whose pages its page is: leave out RUN and --to")
    place = open_workspace(context, workspace)
    if open_it:
        check_can_open(to or place)
    if every_run:
        written = write_index(place, describe_registry(place))
        print_result(as_json, *build_index_output(written))
    else:
        written = write_report(place, [resolve_run(place, run) for run in runs or []], to)
        print_result(as_json, *build_report_output(written))
    if open_it:
        open_page(written.path)


def inspect(
    context: typer.Context,
    dataset: DatasetChoice,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    to: Annotated[
        Path | None, options.local_option("FOLDER", "Where the sheet goes; by default inspect/ID of the workspace.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split whose classes the sheet shows.")] = "train",
    per_class: Annotated[int, typer.Option(min=1, max=100, help="Examples of each class on the sheet.")] = 10,
    examples: Annotated[
        list[str] | None, typer.Option(help="Show these examples instead, such as train:17,42; may be given again.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a data set's statistics and write a contact sheet of its examples."""
    from pipeline.cli.dataset_output import build_inspection_output
    from pipeline.report.dataset_inspection import inspect_dataset

    inspection = inspect_dataset(open_workspace(context, workspace), dataset.name, to, split, per_class, examples or [])
    print_result(as_json, *build_inspection_output(workspace, inspection))


COMMANDS = (runs, show, compare, report, inspect)
