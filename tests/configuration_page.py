"""Generate docs/configuration.md from the pydantic models: `python -m tests.configuration_page`."""

import inspect
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from model.recipes import RECIPES, TrainingConfig, WarmStart
from pipeline.cli.config import DEFAULT_RECIPE
from pipeline.maintenance.retention_config import Retention
from pipeline.preprocess.validation_config import CHECKS, CheckSettings
from pipeline.registry.policy import Policy

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"

HEAD = """# Configuration

Made from the code by `python -m tests.configuration_page`; a test checks that it is current.

A TOML file changes how backbeam trains, validates, evaluates and promotes. The commands `run`, `preprocess`,
`validate`, `train`, `evaluate`, `retrain`, `promote`, `prune`, `du` and `gradcheck` take it with `--config FILE`;
`schedule` passes the option on to `retrain`.

    # run.toml
    [training]
    recipe = "modern"
    layers = [784, 256, 256, 10]
    num_epochs = 10

    [validation.test_in_train]
    severity = "error"
    threshold = 0.0

    [slices]
    thin = "my_slices:thin"

    [promotion]
    minimum_accuracy = 0.9

    [retention]
    keep = 10

    backbeam run --dataset mnist --config run.toml --seed 3

- There are five tables: `training`, `validation`, `slices`, `promotion` and `retention`. All tables and all
  keys are optional.
- The options of a command override the file, and the file overrides the recipe.
- An unknown table, an unknown key, a value of the wrong type and a value outside of its range are errors. The exit
  code is 2, and the message names the nearest key, also by meaning (`lr`, `l2`), and all keys.
- A file has at most 65,536 bytes.
"""

TRAINING = f"""## [training]

The keys describe a training run completely, except for its data set. They are part of the run's identity: a run with
another value is another run. A key that is not given has the value of the recipe, and without `recipe` that is
`{DEFAULT_RECIPE}`. "By recipe" stands for values that differ between recipes; the [table of recipes](#recipes) has
them.

An option of `run`, `train` and `retrain` sets each key but `own_shards`: `num_epochs` is `--epochs`, `schedule` is
`--rate-schedule`, `num_replicas` is `--replicas`, and the others have the option of their name, such as
`--weights-rate`.
`--learning-rate` (or `--eta`) sets `weights_rate` and `biases_rate`. `backbeam recipes NAME` prints a recipe as such a
table.
"""

WARM_START = """### [training.warm_start]

`backbeam retrain --warm-start` sets this table itself, from the champion.
"""

RECIPE_TABLE = """### Recipes

The values in which the recipes differ. `backbeam recipes` prints their sources and accuracies;
[Learn](learn.md#training-recipes) compares the accuracies with published ones. If a file gives only one of
`num_steps` and `num_epochs`, it replaces the other. The first and the last number of a recipe's `layers` become those
of the data set; `layers` in a file must have the data set's.
"""

VALIDATION = """## [validation]

Each check has a table of its own, `[validation.CHECK]`, with these keys:
"""

CHECK_TABLE = """If `threshold` is given without `warning_threshold`, it sets both.

### Checks

[Data](data.md#validation) explains them.
"""

SLICES = """## [slices]

Each key is the name of a slicing, and each value the place of its function, `"MODULE:NAME"` (a string of at most 300
characters). A name begins with a letter from a to z and has at most 50 characters out of a to z, digits, `-` and `_`.
There are no slicings of your own by default. The option `--slice NAME=MODULE:NAME` adds one on the command line.
[Tables](tables.md#slices-of-your-own) describes what the function is given and what it returns.
"""

PROMOTION = """## [promotion]

A challenger replaces the champion if it meets all of these requirements; see [Retrain](retrain.md).
"""

RETENTION = """## [retention]

What `retrain` keeps when it deletes old runs and data sets after its decision, and `prune` without options. Without
the table `retrain` deletes nothing. The table has one of the keys or both.
[Retention](operations.md#retention) says what is kept in any case.
"""


def build_page() -> str:
    """Return the text of the page."""
    shared = {name: values[0] for name, values in _recipe_values().items() if len(set(values)) == 1}
    trained = {name: _value(shared[name]) if name in shared else "by recipe" for name in TrainingConfig.model_fields}
    trained["recipe"] = _value(DEFAULT_RECIPE)
    trained["own_shards"] = "`true` for several replicas"
    by_check = dict.fromkeys(CheckSettings.model_fields, "by check")
    by_check["warning_threshold"] = "`threshold` if that is given, else by check"
    required = dict.fromkeys(WarmStart.model_fields, "required")
    parts = [HEAD, TRAINING, _keys(TrainingConfig, trained), WARM_START, _keys(WarmStart, required)]
    parts += [RECIPE_TABLE, _recipes(), VALIDATION, _keys(CheckSettings, by_check), CHECK_TABLE, _checks(), SLICES]
    parts += [PROMOTION, _keys(Policy, {name: _value(field.default) for name, field in Policy.model_fields.items()})]
    parts += [RETENTION, _keys(Retention, dict.fromkeys(Retention.model_fields, "not given"))]
    return "\n".join(parts)


def _keys(model: type[BaseModel], defaults: dict[str, str]) -> str:
    schemas = model.model_json_schema()["properties"]
    if model is TrainingConfig:
        schemas["recipe"] = {"enum": list(RECIPES)}  # which the command looks up before it makes the model
    meanings = read_meanings(model)
    rows = [[f"`{name}`", *_kind(schema), defaults[name], meanings[name]] for name, schema in schemas.items()]
    return _table(["key", "type", "range", "default", "meaning"], rows)


def read_meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the section `Attributes` of a docstring, by name."""
    section = inspect.getdoc(model).split("Attributes:\n")[1].split("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()).removesuffix(".") for name, text in found}


def _kind(schema: dict[str, Any]) -> list[str]:
    """Return the type and the range that a JSON schema allows."""
    if "anyOf" in schema:
        return _kind(schema["anyOf"][0])
    if "$ref" in schema:
        return ["table", "see below"]
    if "enum" in schema:
        return ["string", ", ".join(map(_value, schema["enum"]))]
    if schema["type"] == "boolean":
        return ["boolean", "true, false"]
    if schema["type"] == "array":
        return ["array of integers", f"{schema['minItems']} to {schema['maxItems']} of {_range(schema['items'])}"]
    if schema["type"] == "string":
        return ["string", f"`{schema['pattern']}`" if "pattern" in schema else _length(schema)]
    return [{"number": "float"}.get(schema["type"], schema["type"]), _range(schema)]


def _length(schema: dict[str, Any]) -> str:
    return f"{schema.get('minLength', 0)} to {schema['maxLength']} characters"


def _range(schema: dict[str, Any]) -> str:
    lowest = _number(schema.get("minimum", schema.get("exclusiveMinimum")))
    highest = _number(schema.get("maximum", schema.get("exclusiveMaximum")))
    if "exclusiveMinimum" in schema and schema["type"] == "integer":
        lowest = _number(schema["exclusiveMinimum"] + 1)
    above = "above " if "exclusiveMinimum" in schema and schema["type"] == "number" else ""
    below = "below " if "exclusiveMaximum" in schema else ""
    return f"{above}{lowest} to {below}{highest}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}".replace("e+0", "e").replace("e+", "e")


def _value(value: object) -> str:
    """Return a value as TOML writes it."""
    if value is None:
        return "not given"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def _recipe_values() -> dict[str, list[object]]:
    configs = [recipe.config for recipe in RECIPES.values()]
    return {name: [getattr(config, name) for config in configs] for name in TrainingConfig.model_fields}


def _recipes() -> str:
    differing = {name: values for name, values in _recipe_values().items() if len(set(values)) > 1}
    del differing["recipe"]
    rows = [[f"`{name}`", *map(_value, values)] for name, values in differing.items()]
    return _table(["key", *(f"`{name}`" for name in RECIPES)], rows)


def _checks() -> str:
    rows = [
        [f"`{name}`", *(_value(value) for value in check.defaults.model_dump().values()), _fails(check.low_is_bad)]
        for name, check in CHECKS.items()
    ]
    return _table(["check", *(f"`{name}`" for name in CheckSettings.model_fields), "fails if the value is"], rows)


def _fails(low_is_bad: bool) -> str:
    return "below the threshold" if low_is_bad else "above the threshold"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in [head, *rows]]
    lines.insert(1, f"|{'---|' * len(head)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(build_page())
