"""The command line. Heavy imports are lazy: asking for help imports neither TensorFlow nor Beam."""

import json
import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from model.errors import BackbeamError, StorageFailed
from pipeline.options import (
    DEFAULT_DATASETS,
    DEFAULT_WORKSPACE,
    AsJson,
    Baseline,
    CacheDir,
    ConfigFile,
    DataDir,
    DatasetNames,
    Device,
    ImageColumn,
    ImageSize,
    LabelColumn,
    Layers,
    MaxRejected,
    NumClasses,
    NumShards,
    NumSteps,
    RecipeName,
    Replicas,
    Seed,
    Seeds,
    ShuffleSeed,
    SliceOptions,
    StepName,
    TensorBoard,
    WantedDataset,
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
    stage_settings,
    training_config,
    training_configs,
)

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
    received = _listen_for_signals()
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)  # what went wrong is said once, by _fail
    try:
        app(args=arguments, prog_name="backbeam", obj=tuple(beam_arguments))
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
    workers: Workers = None,
    slices: SliceOptions = None,
    as_json: AsJson = False,
) -> None:
    """Preprocess, validate, train and evaluate; what is done already is checked and skipped."""
    from pipeline import lookup, preprocess_stage, stages, storage, summary, work
    from pipeline.configuration import resolve_validation
    from pipeline.seeds import write_seeds

    pictures = picture_options(image_column, label_column, image_size)
    options = dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = training_configs(config, seeds, seed=seed, layers=layers, **flags)
    checks, slicings = resolve_validation(config), evaluation_slicings(config, slices)
    settings, log = stage_settings(context, workspace, device, workers=workers), work.Log()
    refuse_cluster()
    stages.look_for_gpus(settings, configs[0])
    with storage.locked(workspace):
        earlier = lookup.find_baseline(settings.workspace, baseline)
        data = preprocess_stage.preprocess_stage(settings, options, log)
        validation = stages.validate_stage(settings, data, checks, earlier, log)
        trained = stages.train_stage(settings, data, configs, tensorboard, log)
        evaluations = stages.evaluate_stage(settings, data, trained, slicings, log)
        rows = write_seeds(workspace, trained, evaluations) if seeds else []
    if seeds:
        result = summary.describe_seeds(workspace, trained, evaluations, rows, log)
        text = summary.seeds_text(workspace, data.manifest, trained, rows, log)
    else:
        result = summary.describe_evaluation(workspace, trained[0], evaluations[0], log)
        text = summary.evaluation_text(workspace, data.manifest, trained[0], evaluations[0], log)
    result |= summary.describe_validation(workspace, validation)
    text = f"{text}\n{summary.validation_text(workspace, validation)}"
    _say(as_json, result, text + "\n" + summary.next_steps(split_arguments(sys.argv[1:])[0], trained[0]))


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
    as_json: AsJson = False,
) -> None:
    """Turn IDX files, Parquet files or folders of images into TFRecord shards, and validate what came out."""
    from pipeline import lookup, preprocess_stage, stages, storage, summary, work
    from pipeline.configuration import resolve_validation

    pictures = picture_options(image_column, label_column, image_size)
    options = dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    checks = resolve_validation(config)
    settings, log = stage_settings(context, workspace, workers=workers), work.Log()
    with storage.locked(workspace):
        earlier = lookup.find_baseline(settings.workspace, baseline)
        data = preprocess_stage.preprocess_stage(settings, options, log)
        validation = stages.validate_stage(settings, data, checks, earlier, log)
    result = summary.describe_dataset(workspace, data, log) | summary.describe_validation(workspace, validation)
    _say(as_json, result, f"{summary.dataset_text(data, log)}\n{summary.validation_text(workspace, validation)}")


@app.command()
def validate(
    context: typer.Context,
    dataset: WantedDataset = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    baseline: Baseline = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Check a data set that `preprocess` built; exit code 3 if a check of severity error fails."""
    from pipeline import lookup, stages, storage, summary, work
    from pipeline.configuration import resolve_validation

    refuse_beam_options(context)
    checks = resolve_validation(config)
    settings, log = stage_settings(context, existing(workspace)), work.Log()
    with storage.locked(workspace):
        earlier = lookup.find_baseline(settings.workspace, baseline)
        data = lookup.find_dataset(settings.workspace, dataset)
        validation = stages.validate_stage(settings, data, checks, earlier, log)
    result = summary.describe_dataset(workspace, data, log) | summary.describe_validation(workspace, validation)
    _say(as_json, result, summary.validation_table(workspace, validation))


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
    from pipeline import summary, uses

    refuse_beam_options(context)
    found = uses.inspect_dataset(existing(workspace), dataset, to, split, per_class, examples or [])
    _say(as_json, summary.describe_inspection(workspace, found), summary.inspection_text(workspace, found))


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
    as_json: AsJson = False,
) -> None:
    """Train on a data set that `preprocess` built."""
    from pipeline import lookup, stages, storage, summary, work

    if context.obj:
        raise typer.BadParameter(
            f"train runs no Beam pipeline, so it takes no options after --: {' '.join(context.obj)}"
        )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = training_configs(config, seeds, seed=seed, layers=layers, **flags)
    settings, log = stage_settings(context, workspace, device, cluster_for(configs)), work.Log()
    if settings.cluster and not settings.cluster.is_chief:  # the workspace and its lock are the chief's
        assisted = stages.assist_stage(settings, lookup.find_dataset(existing(workspace), dataset), configs[0], log)
        _say(as_json, summary.describe_assistance(assisted, settings, log), summary.assistance_text(assisted, settings))
        return
    if not settings.cluster:
        stages.look_for_gpus(settings, configs[0])
    with storage.locked(existing(workspace)):
        trained = stages.train_stage(settings, lookup.find_dataset(workspace, dataset), configs, tensorboard, log)
    result = (
        summary.describe_runs(workspace, trained, log) if seeds else summary.describe_run(workspace, trained[0], log)
    )
    _say(as_json, result, summary.runs_text(workspace, trained, log))


@app.command()
def evaluate(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(help="A run's id or its beginning; by default the only one.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    config: ConfigFile = None,
    slices: SliceOptions = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run that `train` made on every split of its data set."""
    from pipeline import lookup, stages, storage, summary, work

    slicings = evaluation_slicings(config, slices)
    settings, log = stage_settings(context, workspace, workers=workers), work.Log()
    with storage.locked(existing(workspace)):
        trained, data = lookup.find_run(workspace, run)
        (evaluation,) = stages.evaluate_stage(settings, data, [trained], slicings, log)
    result = summary.describe_evaluation(workspace, trained, evaluation, log)
    _say(as_json, result, summary.evaluation_text(workspace, data.manifest, trained, evaluation, log))


@app.command()
def recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes: what they train, where they were published, what they give."""
    refuse_beam_options(context)
    from model.recipes import RECIPES
    from pipeline import summary

    _say(as_json, summary.describe_recipes(RECIPES), summary.recipes_text(RECIPES))


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
    from pipeline import summary, work

    refuse_beam_options(context)
    resolved = training_config(config, recipe=recipe, layers=layers, seed=seed)
    with work.quiet_imports():
        from model.devices import initialise_devices
        from model.gradcheck import check_gradients

        initialise_devices()
    found = check_gradients(resolved)
    _say(as_json, summary.describe_agreement(resolved, found), summary.agreement_text(resolved, found))
    if not all(agreement.holds for agreement in found):
        raise typer.Exit(DISAGREEMENT)


@app.command()
def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option(parser=local_folder, metavar="FOLDER", help="A folder that does not exist yet.")],
    run: Annotated[str | None, typer.Argument(help="A run's id or its beginning; by default the only one.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write a run's model for other programs: a TensorFlow SavedModel, safetensors and a description."""
    from pipeline import lookup, summary, uses

    refuse_beam_options(context)
    model = lookup.find_model(existing(workspace), run)
    uses.export_model(model, to)
    _say(as_json, summary.describe_export(model, to), summary.export_text(model, to))


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
    from pipeline import lookup, summary, uses

    refuse_beam_options(context)
    model = lookup.find_model(existing(workspace), run)
    answers = uses.predict_files(model, files)
    _say(as_json, summary.describe_answers(model, answers), summary.answers_text(answers))


@app.command()
def report(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="A run's id or its beginning; by default the run evaluated last."),
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
    from pipeline import report, summary

    refuse_beam_options(context)
    written = report.write_report(existing(workspace), runs or [], to)
    _say(as_json, summary.describe_report(written), summary.report_text(written))


def _say(as_json: bool, result: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(result) if as_json else text)


def _fail(code: int, message: str) -> NoReturn:
    typer.echo(f"backbeam: {message}", err=True)
    sys.exit(code)


def _listen_for_signals() -> list[int]:
    """End by SystemExit on SIGINT and SIGTERM, so that what is half written is cleared away on the way out.

    Returns:
        the signals received, at once and later.
    """
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> NoReturn:
        received.append(number)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # a second one would break off the clearing away
        _fail(128 + number, f"{'interrupted' if number == signal.SIGINT else 'terminated'}; what was complete is kept")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return received
