"""The command line. Heavy imports are lazy: asking for help imports neither TensorFlow nor Beam."""

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from model.errors import BackbeamError, NothingRun, StorageFailed
from pipeline import signals
from pipeline.console import configure, note
from pipeline.options import (
    DEFAULT_DATASETS,
    DEFAULT_WORKSPACE,
    AsJson,
    Baseline,
    CacheDir,
    CheckpointEvery,
    ConfigFile,
    DataDir,
    DatasetNames,
    Device,
    ImageColumn,
    ImageSize,
    KeepCheckpoints,
    LabelColumn,
    Layers,
    LogFile,
    MaxRejected,
    NumClasses,
    NumShards,
    NumSteps,
    Quiet,
    RecipeName,
    Replicas,
    Seed,
    Seeds,
    ShuffleSeed,
    SliceOptions,
    StepName,
    TensorBoard,
    WantedDataset,
    WantedRun,
    WindowMib,
    Workers,
    Workspace,
    cluster_for,
    dataset_options,
    evaluation_slicings,
    existing,
    local_folder,
    picture_options,
    refuse_beam_options,
    refuse_cluster,
    refuse_remote_logs,
    stage_settings,
    training_config,
    training_configs,
)
from pipeline.saving import Saving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.sheets import Part

app = typer.Typer(
    name="backbeam",
    help="Train a glass-box network as a real batch pipeline. Options after -- go to Beam.",
    epilog="Exit codes: 0 done, 1 gradients disagree, 2 usage, 3 bad input, 4 corrupt artefact, 5 storage, 6 locked, "
    "7 engine failed, 130 interrupted, 143 terminated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


DISAGREEMENT = 1


def main() -> NoReturn:
    """Run the command line and exit with its documented code."""
    arguments, beam_arguments = split_arguments(sys.argv[1:])
    received = signals.listen()
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)  # what went wrong is said once, by _fail
    try:
        app(args=arguments, prog_name="backbeam", obj=tuple(beam_arguments))
    except NothingRun as reason:
        _say("--json" in arguments, {"nothing_run": str(reason)}, str(reason))
    except BackbeamError as problem:
        if received:  # an engine that works in this process makes a failed bundle of the exit
            sys.exit(128 + received[0])
        _fail(problem.exit_code, str(problem))
    except OSError as problem:
        _fail(StorageFailed.exit_code, f"storage: {problem}")
    sys.exit(0)


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split the command line at its first --: ours before, Beam's after."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


@app.command()
def run(
    context: typer.Context,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dataset: DatasetNames = DEFAULT_DATASETS,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    num_classes: NumClasses = None,
    num_shards: NumShards = None,
    shuffle_seed: ShuffleSeed = 1,
    max_rejected: MaxRejected = 0,
    baseline: Baseline = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    image_size: ImageSize = None,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    layers: Layers = None,
    step: StepName = None,
    seed: Seed = None,
    seeds: Seeds = None,
    num_steps: NumSteps = None,
    window_mib: WindowMib = None,
    replicas: Replicas = None,
    device: Device = "auto",
    tensorboard: TensorBoard = False,
    checkpoint_every: CheckpointEvery = None,
    keep_checkpoints: KeepCheckpoints = 2,
    workers: Workers = None,
    slices: SliceOptions = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Preprocess, validate, train and evaluate; what is done already is checked and skipped."""
    from pipeline import describe, local_side, lookup, preprocess_stage, stages, summary, work
    from pipeline.configuration import resolve_validation
    from pipeline.seeds import write_seeds

    configure(quiet, log_file)
    pictures = picture_options(image_column, label_column, image_size)
    options = dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = training_configs(config, seeds, seed=seed, layers=layers, **flags)
    checks, slicings = resolve_validation(config), evaluation_slicings(config, slices)
    settings, log = stage_settings(context, workspace, device, workers=workers), work.Log()
    refuse_cluster()
    refuse_remote_logs(workspace, tensorboard)
    stages.look_for_gpus(settings, configs[0])
    with local_side.locked(workspace):
        earlier = lookup.find_baseline(settings.workspace, baseline)
        data = preprocess_stage.preprocess_stage(settings, options, log)
        validation = stages.validate_stage(settings, data, checks, earlier, log)
        trained = stages.train_stage(
            settings, data, configs, tensorboard, Saving(checkpoint_every, keep_checkpoints), log
        )
        evaluations = stages.evaluate_stage(settings, data, trained, slicings, log)
        rows = write_seeds(workspace, trained, evaluations) if seeds else []
    if seeds:
        result = describe.seeds_json(workspace, trained, evaluations, rows, log)
        parts = summary.seeds_parts(workspace, data.manifest, trained, rows, log)
    else:
        result = describe.evaluation_json(workspace, trained[0], evaluations[0], log)
        parts = summary.evaluation_parts(workspace, data.manifest, trained[0], evaluations[0], log)
    result |= describe.validation_json(workspace, validation)
    steps = [] if quiet else summary.next_steps(split_arguments(sys.argv[1:])[0], trained[0])
    _say(as_json, result, [*parts, summary.validation_line(workspace, validation), *steps])


@app.command()
def preprocess(
    context: typer.Context,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dataset: DatasetNames = DEFAULT_DATASETS,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    num_classes: NumClasses = None,
    num_shards: NumShards = None,
    shuffle_seed: ShuffleSeed = 1,
    max_rejected: MaxRejected = 0,
    baseline: Baseline = None,
    config: ConfigFile = None,
    workers: Workers = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    image_size: ImageSize = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Turn IDX files, Parquet files or folders of images into TFRecord shards, and validate what came out."""
    from pipeline import describe, local_side, lookup, preprocess_stage, stages, summary, work
    from pipeline.configuration import resolve_validation

    configure(quiet, log_file)
    pictures = picture_options(image_column, label_column, image_size)
    options = dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    checks = resolve_validation(config)
    settings, log = stage_settings(context, workspace, workers=workers), work.Log()
    with local_side.locked(workspace):
        earlier = lookup.find_baseline(settings.workspace, baseline)
        data = preprocess_stage.preprocess_stage(settings, options, log)
        validation = stages.validate_stage(settings, data, checks, earlier, log)
    result = describe.dataset_json(workspace, data, log) | describe.validation_json(workspace, validation)
    _say(as_json, result, [*summary.dataset_parts(data, log), summary.validation_line(workspace, validation)])


@app.command()
def validate(
    context: typer.Context,
    dataset: WantedDataset = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    baseline: Baseline = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Check a data set that `preprocess` built; exit code 3 if a check of severity error fails."""
    from pipeline import describe, local_side, lookup, stages, summary, work
    from pipeline.configuration import resolve_validation

    configure(quiet, log_file)
    refuse_beam_options(context)
    checks = resolve_validation(config)
    settings, log = stage_settings(context, existing(workspace)), work.Log()
    with local_side.locked(workspace):
        earlier = lookup.find_baseline(settings.workspace, baseline)
        data = lookup.find_dataset(settings.workspace, dataset)
        validation = stages.validate_stage(settings, data, checks, earlier, log)
    result = describe.dataset_json(workspace, data, log) | describe.validation_json(workspace, validation)
    _say(as_json, result, summary.validation_sheet(workspace, validation))


@app.command()
def inspect(
    context: typer.Context,
    dataset: WantedDataset = None,
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
    from pipeline import describe, summary, uses

    refuse_beam_options(context)
    found = uses.inspect_dataset(existing(workspace), dataset, to, split, per_class, examples or [])
    _say(as_json, describe.inspection_json(workspace, found), summary.inspection_parts(workspace, found))


@app.command()
def train(
    context: typer.Context,
    dataset: WantedDataset = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    layers: Layers = None,
    step: StepName = None,
    seed: Seed = None,
    seeds: Seeds = None,
    num_steps: NumSteps = None,
    window_mib: WindowMib = None,
    replicas: Replicas = None,
    device: Device = "auto",
    tensorboard: TensorBoard = False,
    checkpoint_every: CheckpointEvery = None,
    keep_checkpoints: KeepCheckpoints = 2,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Train on a data set that `preprocess` built."""
    from pipeline import describe, local_side, lookup, stages, summary, work

    configure(quiet, log_file)
    if context.obj:
        raise typer.BadParameter(
            f"train runs no Beam pipeline, so it takes no options after --: {' '.join(context.obj)}"
        )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = training_configs(config, seeds, seed=seed, layers=layers, **flags)
    refuse_remote_logs(workspace, tensorboard)
    settings, log = stage_settings(context, workspace, device, cluster_for(configs)), work.Log()
    if settings.cluster and not settings.cluster.is_chief:  # the workspace and its lock are the chief's
        assisted = stages.assist_stage(settings, lookup.find_dataset(existing(workspace), dataset), configs[0], log)
        _say(as_json, describe.assistance_json(assisted, settings, log), summary.assistance_parts(assisted, settings))
        return
    if not settings.cluster:
        stages.look_for_gpus(settings, configs[0])
    with local_side.locked(existing(workspace)):
        data, saving = lookup.find_dataset(workspace, dataset), Saving(checkpoint_every, keep_checkpoints)
        trained = stages.train_stage(settings, data, configs, tensorboard, saving, log)
    result = describe.runs_json(workspace, trained, log) if seeds else describe.run_json(workspace, trained[0], log)
    _say(as_json, result, summary.runs_parts(workspace, trained, log))


@app.command()
def evaluate(
    context: typer.Context,
    run: WantedRun = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    config: ConfigFile = None,
    slices: SliceOptions = None,
    workers: Workers = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run that `train` made on every split of its data set."""
    from pipeline import describe, local_side, lookup, stages, summary, work

    configure(quiet, log_file)
    slicings = evaluation_slicings(config, slices)
    settings, log = stage_settings(context, workspace, workers=workers), work.Log()
    with local_side.locked(existing(workspace)):
        trained, data = lookup.find_run(workspace, run)
        (evaluation,) = stages.evaluate_stage(settings, data, [trained], slicings, log)
    result = describe.evaluation_json(workspace, trained, evaluation, log)
    _say(as_json, result, summary.evaluation_parts(workspace, data.manifest, trained, evaluation, log))


@app.command()
def runs(context: typer.Context, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """List the runs of a workspace, the newest first, and how good they are."""
    from pipeline import describe, overview, run_sheets

    refuse_beam_options(context)
    listing = overview.list_runs(existing(workspace))
    _say(as_json, describe.listing_json(listing), run_sheets.listing_parts(listing))
    if listing.problems:
        raise listing.problems[0]


@app.command()
def show(
    context: typer.Context, run: WantedRun = None, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False
) -> None:
    """Show an evaluated run in full: figures, classes, configuration, digests, versions."""
    from pipeline import describe, overview, run_sheets

    refuse_beam_options(context)
    shown = overview.show_run(existing(workspace), run)
    _say(as_json, describe.shown_json(shown), run_sheets.shown_parts(shown))


@app.command()
def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="A run's id or its beginning.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another's.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Compare two runs on the test examples: intervals, exact McNemar test, classes, settings."""
    from pipeline import describe, overview, run_sheets

    refuse_beam_options(context)
    compared = overview.compare_runs(existing(workspace), first, second)
    _say(as_json, describe.compared_json(compared), run_sheets.compared_parts(compared))


@app.command()
def recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes: what they train, where they were published, what they give."""
    refuse_beam_options(context)
    from model.recipes import RECIPES
    from pipeline import describe, summary

    _say(as_json, describe.recipes_json(RECIPES), summary.recipes_parts(RECIPES))


@app.command()
def gradcheck(
    context: typer.Context,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    layers: Layers = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Check the manual gradients against autodiff and central differences, in float64; exit code 1 if they differ."""
    from pipeline import describe, summary, work

    refuse_beam_options(context)
    resolved = training_config(config, recipe=recipe, layers=layers, seed=seed)
    with work.quiet_imports():
        from model.devices import initialise_devices
        from model.gradcheck import check_gradients

        initialise_devices()
    found = check_gradients(resolved)
    _say(as_json, describe.agreement_json(resolved, found), summary.agreement_parts(resolved, found))
    if not all(agreement.holds for agreement in found):
        raise typer.Exit(DISAGREEMENT)


@app.command()
def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option(parser=local_folder, metavar="FOLDER", help="A folder that does not exist yet.")],
    run: WantedRun = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write a run's model for other programs: a TensorFlow SavedModel, safetensors and a description."""
    from pipeline import describe, lookup, summary, uses

    refuse_beam_options(context)
    model = lookup.find_model(existing(workspace), run)
    uses.export_model(model, to)
    _say(as_json, describe.export_json(model, to), summary.export_parts(model, to))


@app.command()
def predict(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="PNG or JPEG pictures, and IDX images files, gzipped or not.")
    ],
    run: Annotated[str | None, typer.Option(help="A run's id or its beginning; by default the only one.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Say what a run's model takes pictures for; nothing is printed unless every file is sound."""
    from pipeline import describe, lookup, summary, uses

    refuse_beam_options(context)
    model = lookup.find_model(existing(workspace), run)
    answers = uses.predict_files(model, files)
    _say(as_json, describe.answers_json(model, answers), summary.answers_parts(answers))


@app.command()
def report(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="A run's id or its beginning; by default the evaluated run trained last."),
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
    from pipeline import describe, report, summary

    refuse_beam_options(context)
    written = report.write_report(existing(workspace), runs or [], to)
    _say(as_json, describe.report_json(written), summary.report_parts(written))


def _say(as_json: bool, result: dict[str, Any], parts: "Sequence[Part]") -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    from pipeline.sheets import show

    show(parts)


def _fail(code: int, message: str) -> NoReturn:
    note(f"error: {message}")
    typer.echo(f"backbeam: {message}", err=True)
    sys.exit(code)
