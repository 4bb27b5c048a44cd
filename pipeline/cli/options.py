"""The options of the commands, and what they are turned into. Heavy imports are lazy."""

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.sources.catalog import MAX_SHARDS
from pipeline.storage.places import Place, is_remote, place_of


def local_folder(folder: str | Path) -> Path:
    """Take a local folder; a URI would otherwise become a local folder of that name."""
    if is_remote(str(folder)):
        raise typer.BadParameter(f"{folder} is a URI, and this is a folder of this machine")
    return Path(folder)


MOST_REASON = 1000  # characters
MOST_SECONDS = 366 * 86_400


def refuse_nan(seconds: float) -> float:
    """Refuse what is no number, which is neither below nor above a limit; raises BadParameter."""
    if math.isnan(seconds):
        raise typer.BadParameter("nan is no number of seconds")
    return seconds


def refuse_long_reason(reason: str) -> str:
    """Refuse a reason that no history has room for; raises BadParameter."""
    if len(reason) > MOST_REASON:
        raise typer.BadParameter(f"{len(reason):,} characters, expected at most {MOST_REASON:,}")
    return reason


if TYPE_CHECKING:
    OnePlace = Place
else:
    OnePlace = Path  # Typer takes no unions; the parser below decides


Workspace = Annotated[
    OnePlace,
    typer.Option(
        parser=place_of,
        metavar="FOLDER",
        help="Where everything goes: datasets/, runs/ and reports/; a folder, or s3://, gs:// or az://BUCKET/NAME.",
    ),
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


WantedRun = Annotated[
    str | None, typer.Argument(help="A run's id or its beginning, or champion; by default the only one.")
]
ImageColumn = Annotated[str | None, typer.Option(help="Parquet: the column of pictures; by default found out.")]


LabelColumn = Annotated[str | None, typer.Option(help="Parquet: the column of labels; by default found out.")]


ImageSize = Annotated[
    str | None, typer.Option(metavar="HxW", help="Size of pictures, such as 28x28; by default that of the first one.")
]


DataDir = Annotated[str | None, typer.Option(help="A folder that holds the files of the known data set already.")]


CacheDir = Annotated[
    Path | None,
    typer.Option(parser=local_folder, metavar="FOLDER", help="Where downloads are kept.", envvar="BACKBEAM_CACHE_DIR"),
]


NumClasses = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Classes of a folder's data set; by default as the labels show."),
]


NumShards = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_SHARDS, help="Train shards; by default about 6.4 MB each: 8,192 images of 28 x 28."),
]


ShuffleSeed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the order of examples in the shards.")]


MaxRejected = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="How many unusable examples may be left out.")]


RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="A name that `backbeam recipes` lists; by default article-manual."),
]


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A TOML file: its table `training` changes the recipe, flags change both; `validation` "
        "the checks; `slices` adds slices; `promotion` says what a new champion must show.",
    ),
]


SliceOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        metavar="NAME=MODULE:FUNCTION",
        help="Evaluate by slices of your own too: see docs/tables.md; may be given again.",
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


NumSteps = Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Updates; by default as the recipe says.")]


WindowMib = Annotated[
    int | None,
    typer.Option(
        min=1, max=2**30, help="MiB of images that a run shuffles together and holds in memory; 1024 by default."
    ),
]


Replicas = Annotated[
    int | None,
    typer.Option(
        "--replicas", min=1, max=1024, help="Parts of a batch that are worked out side by side; by default 1."
    ),
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


CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**31 - 1,
        help="Steps between checkpoints, at the ends of chunks; 0 for none but when the run is broken off. By default "
        "one after each 30 seconds of training.",
    ),
]


KeepCheckpoints = Annotated[
    int, typer.Option(min=1, max=2**31 - 1, help="How many checkpoints of a run stay, the newest.")
]


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on the way but warnings and errors.")]
LogFile = Annotated[
    Path | None,
    typer.Option(parser=local_folder, metavar="FILE", help="Add what is said on the way, with the time, to a file."),
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0,
        max=MOST_SECONDS,
        callback=refuse_nan,
        metavar="SECONDS",
        help="How long to wait for another process to be done with the workspace.",
    ),
]


WarmStart = Annotated[
    bool, typer.Option("--warm-start", help="Begin with the champion's parameters; by default they are drawn anew.")
]


Why = Annotated[
    str,
    typer.Option(
        "--why",
        callback=refuse_long_reason,
        metavar="TEXT",
        help=f"Your reason, for the history; at most {MOST_REASON:,} characters.",
    ),
]


class IfLocked(StrEnum):
    """What to do where another process works on the workspace, after waiting."""

    fail = "fail"
    skip = "skip"


WhenLocked = Annotated[
    IfLocked,
    typer.Option("--if-locked", help="If another process works on the workspace: fail with code 6, or do nothing."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]


DEFAULT_WORKSPACE: Place = Path("backbeam-workspace")


DEFAULT_DATASETS = ["mnist-5k"]


def lock_for_command(workspace: Place, wait: float, if_locked: IfLocked, clears: bool = True) -> Any:
    """Return the context in which a command has the workspace for itself; it clears it of what killed ones left."""
    from pipeline.storage.lock import lock_workspace

    return lock_workspace(workspace, wait, if_locked is IfLocked.skip, clears)


def picture_options(image_column: str | None, label_column: str | None, image_size: str | None) -> Any:
    """What the user says of pictures."""
    from pipeline.cli.config import parse_size
    from pipeline.sources.catalog import PictureOptions

    return PictureOptions(image_column, label_column, parse_size(image_size))


def dataset_options(
    dataset: list[str],
    data_dir: str | None,
    cache_dir: Path | None,
    num_classes: int | None,
    num_shards: int | None,
    shuffle_seed: int,
    max_rejected: int,
    pictures: Any,
) -> Any:
    """What `preprocess` needs to know."""
    from pipeline.preprocess.stage import DatasetConfig
    from pipeline.storage.workspace import default_cache

    cache = cache_dir or default_cache()
    return DatasetConfig(tuple(dataset), data_dir, cache, num_classes, num_shards, shuffle_seed, max_rejected, pictures)


def training_config(file: Path | None, *, layers: str | None, **flags: Any) -> Any:
    """Work out the configuration of a run: recipe, file, flags, each over the one before."""
    from pipeline.cli.config import parse_layers, resolve

    return resolve(file, flags | {"layers": parse_layers(layers)})


def training_configs(file: Path | None, seeds: str | None, *, seed: int | None, **flags: Any) -> list[Any]:
    """Work out one configuration, or one for each seed."""
    from pipeline.evaluate.seeds import parse_seeds

    if seeds is None:
        return [training_config(file, seed=seed, **flags)]
    if seed is not None:
        raise typer.BadParameter("give --seed or --seeds, not both")
    configs = [training_config(file, seed=number, **flags) for number in parse_seeds(seeds)]
    if configs[0].num_replicas > 1:
        raise typer.BadParameter("--seeds trains runs on one replica each: leave out --replicas or --seeds")
    return configs


def evaluation_slicings(file: Path | None, options: list[str] | None) -> Any:
    """Work out by which slicings to evaluate: the built-in ones, those of the file, those of the flags."""
    from pipeline.cli.config import read_slices
    from pipeline.evaluate.slice_config import resolve_slicings

    return resolve_slicings(read_slices(file), options or [])


def stage_settings(
    context: typer.Context,
    workspace: Place,
    device: str = "auto",
    cluster: Any = None,
    workers: int | None = None,
) -> Any:
    """What every stage needs to know; Beam's options come from after --."""
    from model.devices import check_device
    from pipeline.beam_runner import add_workers
    from pipeline.context import StageContext

    place = workspace.absolute()  # workers may run in another folder
    arguments = add_workers(context.obj or (), workers)
    return StageContext(place, arguments, device=check_device(device), cluster=cluster)


def read_cluster_config(configs: list[Any]) -> Any:
    """Read and check the cluster that this process is one of, if TF_CONFIG names any."""
    from model.cluster import check_cluster, read_cluster

    cluster = read_cluster(os.environ)
    check_cluster(cluster, configs[0])
    return cluster


def refuse_remote_logs(workspace: Place, tensorboard: bool) -> None:
    """Refuse to log for TensorBoard into a store, which it cannot write to; raises BadParameter."""
    if tensorboard and not isinstance(workspace, Path):
        raise typer.BadParameter(f"--tensorboard needs a workspace on this machine, and {workspace} is in a store")


def refuse_cluster() -> None:
    """Refuse to go on as one of several processes; raises BadParameter."""
    from model.cluster import VARIABLE, read_cluster

    if read_cluster(os.environ):
        raise typer.BadParameter(
            f"{VARIABLE} names several processes, and only `backbeam train` works in several: run `backbeam "
            "preprocess` once, `backbeam train` in each, `backbeam evaluate` once; or unset the variable"
        )


def refuse_beam_options(context: typer.Context) -> None:
    """Refuse options after --, where no Beam pipeline runs; raises BadParameter."""
    if context.obj:
        raise typer.BadParameter(f"{context.info_name} runs no Beam pipeline: nothing may follow --")


def existing_workspace(workspace: Place) -> Place:
    """Check that a workspace is there and holds no links; raises BadParameter, or CorruptArtefact."""
    from pipeline.storage.cleanup import refuse_links

    if not workspace.is_dir():
        raise typer.BadParameter(f"no workspace {workspace}: `backbeam run` or `backbeam preprocess` makes one")
    refuse_links(workspace)
    return workspace


def resolve_run(workspace: Place, wanted: str | None) -> str | None:
    """Return the run that a command names; see `pipeline.registry.history.resolve_run`."""
    from pipeline.registry import history

    return history.resolve_run(workspace, wanted)


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split the command line at its first --: ours before, Beam's after."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]
