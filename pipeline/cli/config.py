"""A configuration: a recipe, checks of data, slices and what a promotion takes, changed by a TOML file, then by flags.

    [training]
    recipe = "nielsen-100"
    layers = [784, 60, 10]
    weights_rate = 0.25

    [validation.duplicates]
    severity = "error"

    [slices]
    thin = "my_slices:thin"

    [promotion]
    minimum_gain = 0.001

Keys of [training] are those of `model.recipes.TrainingConfig`, tables of [validation] the checks of
`pipeline.preprocess.validation_config.CHECKS` and their keys those of `CheckSettings`, keys of [slices] names of the
user's own: see `pipeline.evaluate.slices`, keys of [promotion] those of `pipeline.registry.policy.Policy`. Nothing
unknown is ignored.
"""

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import BadUsage
from model.recipes import MOST_SHOWN, TrainingConfig, find_recipe, nearest, override, shown
from pipeline.preprocess.validation_config import CheckSettings, resolve_checks
from pipeline.registry.policy import Policy, resolve_policy
from pipeline.sources.idx_format import MAX_EXAMPLE_BYTES

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings  # which imports NumPy

DEFAULT_RECIPE = "article-manual"
TABLES = ("training", "validation", "slices", "promotion")
MOST_BYTES = 2**16
MOST_DOTS = 100  # of a line, outside of strings and comments: a key of n parts takes n^2 memory in tomllib
MOST_DEPTH = 16  # of brackets within each other

# Strings and comments of TOML, whose dots and brackets mean nothing. One without an end is taken to the end of its line
# or of the text, so that no quotation mark is tried twice; tomllib refuses it.
_TEXTS_AND_COMMENTS = re.compile(
    r'''"""(?:\\.|[^\\])*?(?:"{3,5}|\\?\Z)|"(?:\\.|[^"\\\n])*+"?|#[^\n]*'''
    r"|'{3}.*?(?:'{3,5}|\Z)|'[^'\n]*'?",
    re.DOTALL,
)


def resolve_training(file: Path | None, flags: dict[str, Any]) -> TrainingConfig:
    """Work out a training configuration.

    Args:
        file: a TOML file, or None.
        flags: settings by name; None stands for one that was not given.

    Raises:
        BadUsage: the file cannot be read, or a setting is unknown or not allowed; the message names the nearest.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    tables = read_tables(file) if file else {}
    resolve_checks(tables.get("validation", {}))  # a mistake there is no surprise for later
    resolve_policy(tables.get("promotion", {}))
    settings = tables.get("training", {})
    recipe = find_recipe(str(given.pop("recipe", settings.pop("recipe", DEFAULT_RECIPE))))
    return override(override(recipe.config, **settings), **given)


def resolve_validation(file: Path | None) -> dict[str, CheckSettings]:
    """Work out the settings of every check; raises BadUsage as `resolve_training` does."""
    return resolve_checks(read_tables(file).get("validation", {}) if file else {})


def resolve_promotion(file: Path | None) -> Policy:
    """Work out what a promotion takes; raises BadUsage as `resolve_training` does."""
    return resolve_policy(read_tables(file).get("promotion", {}) if file else {})


def resolve_evaluation(file: Path | None, options: list[str] | None) -> "Slicings":
    """Return the built-in slicings, those of a file and of --slice; raises BadUsage as `resolve_training` does."""
    from pipeline.evaluate.slice_config import resolve_slicings

    return resolve_slicings(read_slices(file), options or [])


def read_slices(file: Path | None) -> dict[str, Any]:
    """Read what a configuration file says below [slices]; raises BadUsage as `resolve_training` does."""
    return read_tables(file).get("slices", {}) if file else {}


def read_tables(file: Path) -> dict[str, dict[str, Any]]:
    """Read the tables of a configuration file; raises BadUsage as `resolve_training` does."""
    try:
        text = _read(file).decode()
        _check_structure(text)
        tables = tomllib.loads(text)
        _check_integers(tables)
    except (FileNotFoundError, IsADirectoryError):
        raise BadUsage(f"no configuration file {file}") from None
    except (ValueError, RecursionError) as problem:  # bad TOML, or bytes that are no text, or nested without end
        raise BadUsage(f"{file}: {problem}") from None
    for name, table in tables.items():
        if name not in TABLES:
            raise BadUsage(
                f"{file}: no such table: [{name[:MOST_SHOWN]}]{nearest(name, TABLES)}; there are: {', '.join(TABLES)}"
            )
        if not isinstance(table, dict):
            raise BadUsage(f"{file}: {name[:MOST_SHOWN]} is no table: write [{name[:MOST_SHOWN]}]")
    return tables


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadUsage(f"{file}: more than {MOST_BYTES} bytes, which is no configuration")
    return data


def _check_structure(text: str) -> None:
    """Refuse keys of very many parts and deep nesting before they are parsed; raises ValueError."""
    depth = 0
    structure = _TEXTS_AND_COMMENTS.sub(lambda found: "\n" * found[0].count("\n"), text)
    for number, line in enumerate(structure.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"more than {MOST_DOTS} dots in line {number}, which is no configuration")
        for character in line:
            depth += (character in "[{") - (character in "]}")
            if depth > MOST_DEPTH:
                raise ValueError(f"brackets more than {MOST_DEPTH} deep in line {number}, which is no configuration")


def _check_integers(value: Any) -> None:
    """Refuse integers of more than 64 bits, as TOML does; raises ValueError. Python could not even print some."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("an integer has more than 64 bits")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_integers(each)


def parse_layers(text: str | None) -> tuple[int, ...] | None:
    """Read sizes such as 784,30,10; raises BadUsage if they are none."""
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise BadUsage(
            f"--layers takes sizes with commas between them, such as 784,30,10; found {shown(text)}"
        ) from None


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read a height and a width such as 28x28; raises BadUsage if they are none, or too large for an example."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None or int(found[1]) * int(found[2]) > MAX_EXAMPLE_BYTES:
        raise BadUsage(
            f"--image-size takes a height and a width, at most {MAX_EXAMPLE_BYTES} pixels, "
            f"such as 28x28; found {shown(text)}"
        )
    return int(found[1]), int(found[2])
