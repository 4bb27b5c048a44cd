"""Single options and arguments of commands, with their parsers; `*_options.py` hold the groups of options."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.errors import BadUsage
from pipeline.registry.policy import MOST_REASON
from pipeline.storage.places import Place, local_path, place_of

if TYPE_CHECKING:
    PlaceValue = Place
else:
    PlaceValue = Path  # Typer does not accept unions; the option's parser returns a Place

DEFAULT_WORKSPACE: Place = Path("backbeam-workspace")
WORKSPACE_VARIABLE = "BACKBEAM_WORKSPACE"
MOST_SECONDS = 366 * 86_400


def local_folder(folder: str | Path) -> Path:
    """Return the absolute path of a folder or file; raises BadParameter for a URI, which would become a local name."""
    try:
        return local_path(folder).absolute()
    except BadUsage as problem:
        raise typer.BadParameter(str(problem)) from None


def absolute_place(text: str | Place) -> Place:
    """Return the absolute location that a path or URI names; raises BadUsage if the URI is malformed.

    Beam's workers may run in another folder, so no command may see a relative path.
    """
    return place_of(text).absolute()


def refuse_nan(seconds: float) -> float:
    """Return a number; raises BadParameter if it is NaN, which no comparison with a limit detects."""
    if math.isnan(seconds):
        raise typer.BadParameter("nan is not a number of seconds")
    return seconds


def refuse_long_reason(reason: str) -> str:
    """Return a reason; raises BadParameter if it is too long for the history."""
    if len(reason) > MOST_REASON:
        raise typer.BadParameter(f"{len(reason):,} characters, expected at most {MOST_REASON:,}")
    return reason


def seconds_option(help_text: str) -> Any:
    """Return an option that takes a number of seconds."""
    return typer.Option(min=0, max=MOST_SECONDS, callback=refuse_nan, metavar="SECONDS", help=help_text)


def local_option(metavar: str, help_text: str, envvar: str | None = None) -> Any:
    """Return an option that takes a folder or file of this machine."""
    return typer.Option(parser=local_folder, metavar=metavar, help=help_text, envvar=envvar)


Workspace = Annotated[
    PlaceValue,
    typer.Option(
        parser=absolute_place,
        metavar="FOLDER",
        envvar=WORKSPACE_VARIABLE,
        help="Where everything goes: datasets/, runs/ and reports/; a folder, or s3://, gs:// or az://BUCKET/NAME.",
    ),
]
RUN_HELP = "A run's name, its id or the beginning of its id, or latest, best or champion"
RunsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="RUN", help=f"{RUN_HELP}; by default the evaluated run trained last.")
]
RunArgument = Annotated[str | None, typer.Argument(help=f"{RUN_HELP}; by default the only one.")]
RecipeName = Annotated[
    str | None, typer.Option("--recipe", help="A name that `backbeam recipes` lists; by default article-manual.")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A TOML file: its table `training` changes the recipe, flags change both; `validation` "
        "the checks; `slices` adds slices; `promotion` says what a new champion must show; `retention` what "
        "`retrain` keeps.",
    ),
]
LayersOption = Annotated[str | None, typer.Option("--layers", help="Sizes from inputs to outputs, such as 784,100,10.")]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**31 - 1, help="Seed of the starting parameters and the order of training; 1 by default."),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="Several seeds, such as 1-5 or 1,3,10-12: a run for each, trained side by side."),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="A name for the run, which RUN may be then; it does not change the run's id. A complete run is renamed. "
        "With --seeds, each run's name ends in its seed: NAME-1, NAME-2, ...",
    ),
]
Slices = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        metavar="NAME=MODULE:FUNCTION",
        help="Evaluate by slices of your own too: see docs/tables.md; may be given again.",
    ),
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", help="An earlier data set's id or its beginning, to look for drift from.")
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
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard", help="Write a log for TensorBoard into the run's folder, also of a run that is complete."
    ),
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
MetricsPath = Annotated[
    Path | None,
    local_option(
        "FILE", "Write figures for Prometheus to a file at the end, also after a failure: see docs/operations.md."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
