"""The commands that read a workspace or none, such as show, inspect and gradcheck. Heavy imports are lazy."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.command_setup import existing_workspace, refuse_beam_options
from pipeline.cli.option_types import (
    DEFAULT_WORKSPACE,
    AsJson,
    ConfigFile,
    DatasetArgument,
    Layers,
    RecipeName,
    RunArgument,
    Seed,
    Workspace,
)
from pipeline.cli.option_values import local_folder
from pipeline.cli.output import print_result

DISAGREEMENT = 1


def inspect(
    context: typer.Context,
    dataset: DatasetArgument = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    to: Annotated[
        Path | None,
        typer.Option(
            parser=local_folder, metavar="FOLDER", help="Where the sheet goes; by default inspect/ID of the workspace."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="The split whose classes the sheet shows.")] = "train",
    per_class: Annotated[int, typer.Option(min=1, max=100, help="Examples of each class on the sheet.")] = 10,
    examples: Annotated[
        list[str] | None,
        typer.Option(help="Show these examples instead, such as train:17,42; may be given again."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a data set's statistics and write a contact sheet of its examples."""
    from pipeline.cli.dataset_output import build_inspection_json, format_inspection
    from pipeline.report.dataset_inspection import inspect_dataset

    refuse_beam_options(context)
    inspection = inspect_dataset(existing_workspace(workspace), dataset, to, split, per_class, examples or [])
    print_result(as_json, build_inspection_json(workspace, inspection), format_inspection(workspace, inspection))


def runs(context: typer.Context, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """List the runs of a workspace, the newest first, and how good they are."""
    from pipeline.cli.overview_output import format_run_list
    from pipeline.cli.run_json import build_run_list_json
    from pipeline.evaluate.evaluated_runs import list_runs

    refuse_beam_options(context)
    listing = list_runs(existing_workspace(workspace))
    print_result(as_json, build_run_list_json(listing), format_run_list(listing))
    if listing.problems:
        raise listing.problems[0]


def show(
    context: typer.Context, run: RunArgument = None, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False
) -> None:
    """Show an evaluated run in full: figures, classes, configuration, digests, versions."""
    from pipeline.cli.overview_output import format_run_details
    from pipeline.cli.run_json import build_run_details_json
    from pipeline.evaluate.evaluated_runs import show_run
    from pipeline.registry.history import resolve_run

    refuse_beam_options(context)
    place = existing_workspace(workspace)
    details = show_run(place, resolve_run(place, run))
    print_result(as_json, build_run_details_json(details), format_run_details(details))


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="A run's id or its beginning, or champion.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another's.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Compare two runs on the test examples: intervals, exact McNemar test, classes, settings."""
    from pipeline.cli.overview_output import format_comparison
    from pipeline.cli.run_json import build_comparison_json
    from pipeline.evaluate.evaluated_runs import compare_runs
    from pipeline.registry.history import resolve_run

    refuse_beam_options(context)
    place = existing_workspace(workspace)
    names = [resolve_run(place, name) for name in (first, second)]
    comparison = compare_runs(place, *names)
    print_result(as_json, build_comparison_json(comparison), format_comparison(comparison))


def report(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="A run's id or its beginning, or champion; by default the evaluated run trained last."
        ),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    to: Annotated[
        Path | None,
        typer.Option(
            parser=local_folder, metavar="FILE", help="Where the page goes; by default reports/pages/RUN.html."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's report as one HTML page with an inspector of back-propagation, or compare several runs."""
    from pipeline.cli.run_json import build_report_json
    from pipeline.cli.run_output import format_report
    from pipeline.registry.history import resolve_run
    from pipeline.report.report import write_report

    refuse_beam_options(context)
    place = existing_workspace(workspace)
    written = write_report(place, [resolve_run(place, run) for run in runs or []], to)
    print_result(as_json, build_report_json(written), format_report(written))


def recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes: what they train, where they were published, what they give."""
    from model.recipes import RECIPES
    from pipeline.cli.run_json import build_recipes_json
    from pipeline.cli.run_output import format_recipes

    refuse_beam_options(context)
    print_result(as_json, build_recipes_json(RECIPES), format_recipes(RECIPES))


def gradcheck(
    context: typer.Context,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    layers: Layers = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Check the manual gradients against autodiff and central differences, in float64; exit code 1 if they differ."""
    from pipeline.cli.config import parse_layers, resolve_training
    from pipeline.cli.run_json import build_gradient_checks_json
    from pipeline.cli.run_output import format_gradient_checks
    from pipeline.context import quiet_imports
    from pipeline.train.memory_check import check_gradient_check_memory

    refuse_beam_options(context)
    training = resolve_training(config, {"recipe": recipe, "layers": parse_layers(layers), "seed": seed})
    check_gradient_check_memory(training)
    with quiet_imports():
        from model.devices import initialise_devices
        from model.gradcheck import check_gradients

        initialise_devices()
    checks = check_gradients(training)
    print_result(as_json, build_gradient_checks_json(training, checks), format_gradient_checks(training, checks))
    if not all(check.holds for check in checks):
        raise typer.Exit(DISAGREEMENT)


def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option(parser=local_folder, metavar="FOLDER", help="A folder that does not exist yet.")],
    run: RunArgument = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write a run's model for other programs: a TensorFlow SavedModel, safetensors and a description."""
    from pipeline.cli.run_json import build_export_json
    from pipeline.cli.run_output import format_export
    from pipeline.registry.history import resolve_run
    from pipeline.train.export import export_model
    from pipeline.train.run_lookup import find_model

    refuse_beam_options(context)
    place = existing_workspace(workspace)
    model = find_model(place, resolve_run(place, run))
    export_model(model, to)
    print_result(as_json, build_export_json(model, to), format_export(model, to))


def predict(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="PNG or JPEG pictures, and IDX images files, gzipped or not.")
    ],
    run: Annotated[
        str | None, typer.Option(help="A run's id or its beginning, or champion; by default the only one.")
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Say what a run's model takes pictures for; nothing is printed unless every file is sound."""
    from pipeline.cli.run_json import build_predictions_json
    from pipeline.cli.run_output import format_predictions
    from pipeline.evaluate.predict import predict_files
    from pipeline.registry.history import resolve_run
    from pipeline.train.run_lookup import find_model

    refuse_beam_options(context)
    place = existing_workspace(workspace)
    model = find_model(place, resolve_run(place, run))
    answers = predict_files(model, files)
    print_result(as_json, build_predictions_json(model, answers), format_predictions(answers))
