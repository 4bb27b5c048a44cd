"""Read the TOML file of a configuration, and apply it and the options to a recipe."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from model.errors import BadUsage
from model.recipes import MOST_SHOWN, TrainingConfig, check_names, find_recipe, override, shown
from pipeline.maintenance.retention_config import Retention, resolve_retention
from pipeline.preprocess.validation_config import CheckSettings, resolve_checks
from pipeline.registry.policy import Policy, resolve_policy
from pipeline.sources.idx_format import MAX_EXAMPLE_BYTES
from pipeline.storage.places import expand_home

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings  # which imports NumPy

DEFAULT_RECIPE = "article-manual"
# Their keys: fields of `TrainingConfig`; names of checks, with fields of `CheckSettings`; names of slices that the user
# chooses, see docs/tables.md; fields of `Policy`; fields of `Retention`.
TABLES = ("training", "validation", "slices", "promotion", "retention")
MOST_BYTES = 2**16
MOST_DOTS = 100  # in a line, outside of strings and comments: tomllib takes O(n^2) memory for a key of n parts
MOST_DEPTH = 16  # of nested brackets: tomllib recurses

# TOML strings and comments, whose dots and brackets are not structure. An unterminated string matches to the end of its
# line or of the text, so that matching takes linear time; tomllib rejects it later.
_TEXTS_AND_COMMENTS = re.compile(
    r'''"""(?:\\.|[^\\])*?(?:"{3,5}|\\?\Z)|"(?:\\.|[^"\\\n])*+"?|#[^\n]*'''
    r"|'{3}.*?(?:'{3,5}|\Z)|'[^'\n]*'?",
    re.DOTALL,
)


def resolve_training(
    file: Path | None, flags: dict[str, Any], options: Mapping[str, str] = MappingProxyType({})
) -> TrainingConfig:
    """Return a training configuration: the recipe, overridden by the file, overridden by the flags that are not None.

    `options` are the options that gave the flags, for messages. Raises BadUsage if the file cannot be read, or a
    setting is unknown or not allowed.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    tables = read_tables(file)
    resolve_checks(tables.get("validation", {}))  # report mistakes in the other tables before training
    resolve_policy(tables.get("promotion", {}))
    resolve_retention(tables.get("retention"))
    settings = tables.get("training", {})
    recipe = find_recipe(str(given.pop("recipe", settings.pop("recipe", DEFAULT_RECIPE))))
    names = {name: option for name, option in options.items() if name in given}
    return override(override(recipe.config, **settings), names, **given)


def resolve_trainings(
    file: Path | None,
    settings: dict[str, Any],
    seeds: Sequence[int] | None,
    options: Mapping[str, str] = MappingProxyType({}),
) -> list[TrainingConfig]:
    """Return a configuration for each of several seeds, or one if seeds is None.

    The settings and `options` are those of `resolve_training`, and `learning_rate`, which stands for the rate of the
    weights and of the biases. Raises BadUsage as `resolve_training`, and if settings exclude each other.
    """
    changes = dict(settings)
    names = dict(options)
    rate = changes.pop("learning_rate", None)
    for name in ("weights_rate", "biases_rate"):
        if rate is not None and changes.get(name) is None:
            changes[name] = rate
            names[name] = options.get("learning_rate", "learning_rate")
    if seeds is None:
        return [resolve_training(file, changes, names)]
    if settings.get("seed") is not None:
        raise BadUsage("give --seed or --seeds, not both")
    configs = [resolve_training(file, changes | {"seed": seed}, names) for seed in seeds]
    if configs[0].num_replicas > 1:
        raise BadUsage("--seeds trains runs on one replica each: leave out --replicas or --seeds")
    return configs


def resolve_validation(file: Path | None) -> dict[str, CheckSettings]:
    """Return the settings of every check; raises BadUsage as `resolve_training` does."""
    return resolve_checks(read_tables(file).get("validation", {}))


def resolve_promotion(file: Path | None) -> Policy:
    """Return the policy of promotions; raises BadUsage as `resolve_training` does."""
    return resolve_policy(read_tables(file).get("promotion", {}))


def resolve_kept(file: Path | None, keep: int | None = None, keep_days: int | None = None) -> Retention | None:
    """Return the rule of retention that options give, else a file's, else None; raises as `resolve_training` does."""
    from_file = resolve_retention(read_tables(file).get("retention"))
    if keep is None and keep_days is None:
        return from_file
    return Retention(keep=keep, keep_days=keep_days)


def resolve_evaluation(file: Path | None, options: list[str] | None) -> "Slicings":
    """Return the built-in slicings, those of a file and of --slice; raises BadUsage as `resolve_training` does."""
    from pipeline.evaluate.slice_config import resolve_slicings

    return resolve_slicings(read_tables(file).get("slices", {}), options or [])


def read_tables(file: Path | None) -> dict[str, dict[str, Any]]:
    """Return the tables of a configuration file by name; raises BadUsage as `resolve_training` does."""
    if file is None:
        return {}
    try:
        with expand_home(file).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes, which is no configuration")
        text = data.decode("utf-8-sig")  # editors of Windows put a mark before the text
        _check_structure(text)
        tables = tomllib.loads(text)
        _check_integers(tables)
    except (FileNotFoundError, IsADirectoryError):
        raise BadUsage(f"no configuration file {file}") from None
    except (ValueError, RecursionError) as problem:  # bad TOML, bytes that are not UTF-8, or deep nesting
        raise BadUsage(f"{file}: {problem}") from None
    check_names(tables, TABLES, f"{file}: no such table")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise BadUsage(f"{file}: {name} is no table: write [{name}]")
    return tables


def _check_structure(text: str) -> None:
    """Raise ValueError for keys of very many parts and for deep nesting, before tomllib parses them."""
    depth = 0
    structure = _TEXTS_AND_COMMENTS.sub(lambda match: "\n" * match[0].count("\n"), text)
    for number, line in enumerate(structure.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"more than {MOST_DOTS} dots in line {number}, which is no configuration")
        for character in line:
            depth += (character in "[{") - (character in "]}")
            if depth > MOST_DEPTH:
                raise ValueError(f"brackets more than {MOST_DEPTH} deep in line {number}, which is no configuration")


def _check_integers(value: Any, name: str = "") -> None:
    """Raise ValueError for integers of more than 64 bits, which TOML excludes and Python may refuse to print."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{name[:MOST_SHOWN]}: an integer has more than 64 bits")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_integers(item, key)
    if isinstance(value, list):
        for item in value:
            _check_integers(item, name)


def parse_layers(text: str | None) -> tuple[int, ...] | None:
    """Return sizes such as 784,30,10 as integers; raises BadUsage if the text is malformed."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,10}(,[0-9]{1,10})*", text):  # int() takes other digits, spaces and underscores too
        raise BadUsage(f"--layers takes sizes with commas between them, such as 784,30,10; found {shown(text)}")
    return tuple(int(size) for size in text.split(","))


def parse_arrays(text: str | None) -> tuple[str, ...] | None:
    """Return the names of arrays of a NumPy file; raises BadUsage unless they are four, six, or two of one split."""
    if text is None:
        return None
    names = tuple(text.split(","))
    if len(names) not in (2, 4, 6) or not all(names):
        raise BadUsage(
            f"--arrays {text}: expected TRAIN_IMAGES,TRAIN_LABELS,TEST_IMAGES,TEST_LABELS, and images and labels of "
            "validation if there are any; of one split, IMAGES,LABELS"
        )
    return names


def parse_size(text: str | None, option: str = "--image-size") -> tuple[int, int] | None:
    """Return (height, width) of a size such as 28x28; raises BadUsage if it is malformed or too large."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None or int(match[1]) * int(match[2]) > MAX_EXAMPLE_BYTES:
        raise BadUsage(
            f"{option} takes a height and a width, at most {MAX_EXAMPLE_BYTES} pixels, "
            f"such as 28x28; found {shown(text)}"
        )
    return int(match[1]), int(match[2])
