"""The command line. Heavy imports are lazy: asking for help imports neither TensorFlow nor Beam."""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from model.errors import BackbeamError, NothingRun, StorageFailed

app = typer.Typer(
    name="backbeam",
    help="Train a glass-box network as a real batch pipeline. Options after -- go to Beam.",
    epilog="Exit codes: 0 done, 1 gradients disagree, 2 usage, 3 bad input, 4 corrupt artefact, 5 storage, 6 locked, "
    "7 engine failed, 130 interrupted, 143 terminated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _local(folder: str | Path) -> Path:
    """Take a local folder; a URI would otherwise become a local folder of that name."""
    if "://" in str(folder):
        raise typer.BadParameter(f"{folder} is a URI; workspaces and caches are local folders so far")
    return Path(folder)


Workspace = Annotated[
    Path, typer.Option(parser=_local, metavar="FOLDER", help="Where everything goes: datasets/, runs/ and reports/.")
]
DatasetNames = Annotated[
    list[str],
    typer.Option(
        "--dataset",
        help="mnist-5k (embedded), mnist, fashion-mnist, kmnist; a folder or URI of four IDX files; a folder of "
        "Parquet files by split, or TRAIN.parquet,TEST.parquet; a folder of images, SPLIT/CLASS/IMAGE. Several are "
        "joined.",
    ),
]
WantedDataset = Annotated[str | None, typer.Argument(help="A data set's id or its beginning; by default the only one.")]
ImageColumn = Annotated[str | None, typer.Option(help="Parquet: the column of pictures; by default found out.")]
LabelColumn = Annotated[str | None, typer.Option(help="Parquet: the column of labels; by default found out.")]
ImageSize = Annotated[
    str | None, typer.Option(metavar="HxW", help="Size of pictures, such as 28x28; by default that of the first one.")
]
DataDir = Annotated[str | None, typer.Option(help="A folder that holds the files of the known data set already.")]
CacheDir = Annotated[
    Path | None,
    typer.Option(parser=_local, metavar="FOLDER", help="Where downloads are kept.", envvar="BACKBEAM_CACHE_DIR"),
]
NumClasses = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Classes of a folder's data set; by default as the labels show."),
]
NumShards = Annotated[
    int | None,
    typer.Option(min=1, max=99_999, help="Train shards; by default one for each 8,192 examples."),
]
ShuffleSeed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the order of examples in the shards.")]
MaxRejected = Annotated[int, typer.Option(min=0, help="How many unusable examples may be left out.")]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="A name that `backbeam recipes` lists; by default article-manual."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", help="A TOML file: [training] changes the recipe, flags change both; [validation] the checks."
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", help="An earlier data set's id or its beginning, to look for drift from."),
]
Layers = Annotated[str | None, typer.Option("--layers", help="Sizes from inputs to outputs, such as 784,100,10.")]
StepName = Annotated[
    str | None,
    typer.Option("--step", help="manual, autodiff, or compare (both in lockstep); by default as the recipe says."),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**31 - 1, help="Seed of the starting parameters and the order of training; 1 by default."),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="Several seeds, such as 1-5 or 1,3,10-12: a run for each, trained side by side."),
]
NumSteps = Annotated[int | None, typer.Option(min=1, help="Updates; by default as the recipe says.")]
WindowMib = Annotated[
    int | None,
    typer.Option(min=1, help="MiB of images that a run shuffles together and holds in memory; 1024 by default."),
]
Replicas = Annotated[
    int | None,
    typer.Option("--replicas", min=1, help="Parts of a batch that are worked out side by side; by default 1."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto (the first GPU, else the CPU), cpu, gpu, or gpu:N for that one alone.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, max=1024, help="Processes that share the work of Beam; by default this one alone."
    ),
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard into the run's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]

DEFAULT_WORKSPACE = Path("backbeam-workspace")
DEFAULT_DATASETS = ["mnist-5k"]
DISAGREEMENT = 1


def main() -> NoReturn:
    """Run the command line and exit with its documented code."""
    arguments, beam_arguments = split_arguments(sys.argv[1:])
    received = _listen_for_signals()
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
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Preprocess, validate, train and evaluate; what is done already is checked and skipped."""
    from pipeline import stages, storage, summary
    from pipeline.configuration import resolve_validation
    from pipeline.seeds import write_seeds

    pictures = _picture_options(image_column, label_column, image_size)
    options = _dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = _training_configs(config, seeds, seed=seed, layers=layers, **flags)
    checks = resolve_validation(config)
    settings, log = _settings(context, workspace, device, workers=workers), stages.Log()
    _refuse_cluster()
    stages.look_for_gpus(settings, configs[0])
    with storage.locked(workspace):
        earlier = stages.find_baseline(settings.workspace, baseline)
        data = stages.preprocess_stage(settings, options, log)
        validation = stages.validate_stage(settings, data, checks, earlier, log)
        trained = stages.train_stage(settings, data, configs, tensorboard, log)
        evaluations = stages.evaluate_stage(settings, data, trained, log)
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
    from pipeline import stages, storage, summary
    from pipeline.configuration import resolve_validation

    pictures = _picture_options(image_column, label_column, image_size)
    options = _dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    checks = resolve_validation(config)
    settings, log = _settings(context, workspace, workers=workers), stages.Log()
    with storage.locked(workspace):
        earlier = stages.find_baseline(settings.workspace, baseline)
        data = stages.preprocess_stage(settings, options, log)
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
    from pipeline import stages, storage, summary
    from pipeline.configuration import resolve_validation

    _refuse_beam_options(context)
    checks = resolve_validation(config)
    settings, log = _settings(context, _existing(workspace)), stages.Log()
    with storage.locked(workspace):
        earlier = stages.find_baseline(settings.workspace, baseline)
        data = stages.find_dataset(settings.workspace, dataset)
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
            parser=_local, metavar="FOLDER", help="Where the sheet goes; by default inspect/ID of the workspace."
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
    from pipeline import stages, summary

    _refuse_beam_options(context)
    found = stages.inspect_dataset(_existing(workspace), dataset, to, split, per_class, examples or [])
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
    from pipeline import stages, storage, summary

    if context.obj:
        raise typer.BadParameter(
            f"train runs no Beam pipeline, so it takes no options after --: {' '.join(context.obj)}"
        )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = _training_configs(config, seeds, seed=seed, layers=layers, **flags)
    settings, log = _settings(context, workspace, device, _cluster_for(configs)), stages.Log()
    if settings.cluster and not settings.cluster.is_chief:  # the workspace and its lock are the chief's
        assisted = stages.assist_stage(settings, stages.find_dataset(_existing(workspace), dataset), configs[0], log)
        _say(as_json, summary.describe_assistance(assisted, settings, log), summary.assistance_text(assisted, settings))
        return
    if not settings.cluster:
        stages.look_for_gpus(settings, configs[0])
    with storage.locked(_existing(workspace)):
        trained = stages.train_stage(settings, stages.find_dataset(workspace, dataset), configs, tensorboard, log)
    result = (
        summary.describe_runs(workspace, trained, log) if seeds else summary.describe_run(workspace, trained[0], log)
    )
    _say(as_json, result, summary.runs_text(workspace, trained, log))


@app.command()
def evaluate(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(help="A run's id or its beginning; by default the only one.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run that `train` made on every split of its data set."""
    from pipeline import stages, storage, summary

    settings, log = _settings(context, workspace, workers=workers), stages.Log()
    with storage.locked(_existing(workspace)):
        trained, data = stages.find_run(workspace, run)
        (evaluation,) = stages.evaluate_stage(settings, data, [trained], log)
    result = summary.describe_evaluation(workspace, trained, evaluation, log)
    _say(as_json, result, summary.evaluation_text(workspace, data.manifest, trained, evaluation, log))


@app.command()
def recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes: what they train, where they were published, what they give."""
    _refuse_beam_options(context)
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
    from pipeline import stages, summary

    _refuse_beam_options(context)
    resolved = _training_config(config, recipe=recipe, layers=layers, seed=seed)
    with stages.quiet_imports():
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
    to: Annotated[Path, typer.Option(parser=_local, metavar="FOLDER", help="A folder that does not exist yet.")],
    run: Annotated[str | None, typer.Argument(help="A run's id or its beginning; by default the only one.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write a run's model for other programs: a TensorFlow SavedModel, safetensors and a description."""
    from pipeline import stages, summary

    _refuse_beam_options(context)
    model = stages.find_model(_existing(workspace), run)
    stages.export_model(model, to)
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
    from pipeline import stages, summary

    _refuse_beam_options(context)
    model = stages.find_model(_existing(workspace), run)
    answers = stages.predict_files(model, files)
    _say(as_json, summary.describe_answers(model, answers), summary.answers_text(answers))


def _picture_options(image_column: str | None, label_column: str | None, image_size: str | None) -> Any:
    from pipeline.configuration import parse_size
    from pipeline.sources import PictureOptions

    return PictureOptions(image_column, label_column, parse_size(image_size))


def _dataset_options(
    dataset: list[str],
    data_dir: str | None,
    cache_dir: Path | None,
    num_classes: int | None,
    num_shards: int | None,
    shuffle_seed: int,
    max_rejected: int,
    pictures: Any,
) -> Any:
    from pipeline.fetch import default_cache
    from pipeline.stages import DatasetOptions

    cache = cache_dir or default_cache()
    return DatasetOptions(
        tuple(dataset), data_dir, cache, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )


def _training_config(file: Path | None, *, layers: str | None, **flags: Any) -> Any:
    from pipeline.configuration import parse_layers, resolve

    return resolve(file, flags | {"layers": parse_layers(layers)})


def _training_configs(file: Path | None, seeds: str | None, *, seed: int | None, **flags: Any) -> list[Any]:
    """Work out one configuration, or one for each seed."""
    from pipeline.seeds import parse_seeds

    if seeds is None:
        return [_training_config(file, seed=seed, **flags)]
    if seed is not None:
        raise typer.BadParameter("give --seed or --seeds, not both")
    configs = [_training_config(file, seed=number, **flags) for number in parse_seeds(seeds)]
    if configs[0].num_replicas > 1:
        raise typer.BadParameter("--seeds trains runs on one replica each: leave out --replicas or --seeds")
    return configs


def _settings(
    context: typer.Context,
    workspace: Path,
    device: str = "auto",
    cluster: Any = None,
    workers: int | None = None,
) -> Any:
    from model.devices import check_device
    from pipeline.runners import add_workers
    from pipeline.stages import Settings

    place = workspace.absolute()  # workers may run in another folder
    arguments = add_workers(context.obj or (), workers)
    return Settings(place, arguments, visible=True, device=check_device(device), cluster=cluster)


def _cluster_for(configs: list[Any]) -> Any:
    from model.cluster import check_cluster, read_cluster

    cluster = read_cluster(os.environ)
    check_cluster(cluster, configs[0])
    return cluster


def _refuse_cluster() -> None:
    from model.cluster import VARIABLE, read_cluster

    if read_cluster(os.environ):
        raise typer.BadParameter(
            f"{VARIABLE} names several processes, and only `backbeam train` works in several: run `backbeam "
            "preprocess` once, `backbeam train` in each, `backbeam evaluate` once; or unset the variable"
        )


def _refuse_beam_options(context: typer.Context) -> None:
    if context.obj:
        raise typer.BadParameter(f"{context.info_name} runs no Beam pipeline: nothing may follow --")


def _existing(workspace: Path) -> Path:
    if not workspace.is_dir():
        raise typer.BadParameter(f"no workspace {workspace}: `backbeam run` or `backbeam preprocess` makes one")
    return workspace


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
