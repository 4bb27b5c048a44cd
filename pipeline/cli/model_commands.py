"""The commands that use a trained model, or none: predict, export, recipes and gradcheck. Heavy imports are lazy."""

from pathlib import Path
from typing import Annotated

import typer

from model.recipes import RECIPES, find_recipe
from pipeline.cli import options
from pipeline.cli.command_setup import open_workspace, refuse_beam_options
from pipeline.cli.config import parse_layers, resolve_training
from pipeline.cli.output import print_result
from pipeline.context import quiet_imports
from pipeline.progress import warn
from pipeline.sources.picture_headers import TITLES
from pipeline.train.memory_check import check_gradient_check_memory

DISAGREEMENT = 1


def predict(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help=f"Pictures ({TITLES}), or IDX, NumPy, CSV, Parquet or TFRecord files of images."
        ),
    ],
    run: Annotated[str | None, typer.Option(help=f"{options.RUN_HELP}; by default the only one.")] = None,
    image_column: Annotated[
        str | None,
        typer.Option(help="Tables, TFRecord, .npz: the column, feature or array of images; by default found out."),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(help="Tables: the column of labels, which is left out; by default that of the data set."),
    ] = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Classify pictures with a run's model; print nothing unless every file is sound."""
    from pipeline.cli.model_output import build_predictions_output, format_remarks
    from pipeline.evaluate.predict import predict_files
    from pipeline.registry.history import resolve_run
    from pipeline.train.run_lookup import find_model

    place = open_workspace(context, workspace)
    model = find_model(place, resolve_run(place, run))
    predictions = predict_files(place, model, files, image_column, label_column)
    for line in format_remarks(predictions):
        warn(line)
    print_result(as_json, *build_predictions_output(model, predictions))


def export(
    context: typer.Context,
    to: Annotated[Path, options.local_option("FOLDER", "A folder that does not exist yet.")],
    run: options.RunArgument = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Write a run's model for other programs: a TensorFlow SavedModel, safetensors and a description."""
    from pipeline.cli.model_output import build_export_output
    from pipeline.registry.history import resolve_run
    from pipeline.train.export import export_model
    from pipeline.train.run_lookup import find_model

    place = open_workspace(context, workspace)
    model = find_model(place, resolve_run(place, run))
    export_model(model, to)
    print_result(as_json, *build_export_output(model, to))


def recipes(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Print this recipe alone, as a file for --config.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the recipes with their sources, accuracies and settings, or print one as TOML."""
    from pipeline.cli.model_output import build_recipe_output, build_recipes_output

    refuse_beam_options(context)
    print_result(as_json, *(build_recipe_output(find_recipe(name)) if name else build_recipes_output(RECIPES)))


def gradcheck(
    context: typer.Context,
    recipe: options.RecipeName = None,
    config: options.ConfigFile = None,
    layers: options.LayersOption = None,
    seed: options.Seed = None,
    as_json: options.AsJson = False,
) -> None:
    """Check the manual gradients against autodiff and central differences, in float64; exit code 1 if they differ."""
    from pipeline.cli.model_output import build_gradient_checks_output

    refuse_beam_options(context)
    flags = {"recipe": recipe, "layers": parse_layers(layers), "seed": seed}
    training = resolve_training(config, flags, {"layers": "--layers"})
    check_gradient_check_memory(training)
    with quiet_imports():
        from model.devices import initialise_devices
        from model.gradcheck import check_gradients

        initialise_devices()
    checks = check_gradients(training)
    print_result(as_json, *build_gradient_checks_output(training, checks))
    if not all(check.holds for check in checks):
        raise typer.Exit(DISAGREEMENT)


COMMANDS = (predict, export, recipes, gradcheck)
