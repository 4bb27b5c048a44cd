"""Single options and arguments that several commands take. Options taken together are dataclasses in other files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.option_values import MOST_REASON, refuse_long_reason
from pipeline.storage.places import Place, place_of

if TYPE_CHECKING:
    PlaceValue = Place
else:
    PlaceValue = Path  # Typer does not accept unions; the option's parser returns a Place

DEFAULT_WORKSPACE: Place = Path("backbeam-workspace")

Workspace = Annotated[
    PlaceValue,
    typer.Option(
        parser=place_of,
        metavar="FOLDER",
        help="Where everything goes: datasets/, runs/ and reports/; a folder, or s3://, gs:// or az://BUCKET/NAME.",
    ),
]

DatasetArgument = Annotated[
    str | None, typer.Argument(help="A data set's id or its beginning; by default the only one.")
]

RunArgument = Annotated[
    str | None, typer.Argument(help="A run's id or its beginning, or champion; by default the only one.")
]

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

Layers = Annotated[str | None, typer.Option("--layers", help="Sizes from inputs to outputs, such as 784,100,10.")]

Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**31 - 1, help="Seed of the starting parameters and the order of training; 1 by default."),
]

Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="Several seeds, such as 1-5 or 1,3,10-12: a run for each, trained side by side."),
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
    str | None,
    typer.Option("--baseline", help="An earlier data set's id or its beginning, to look for drift from."),
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

Why = Annotated[
    str,
    typer.Option(
        "--why",
        callback=refuse_long_reason,
        metavar="TEXT",
        help=f"Your reason, for the history; at most {MOST_REASON:,} characters.",
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
