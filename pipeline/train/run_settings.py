"""How the settings of runs differ: from their recipe, and between runs. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from model.errors import BadUsage
from model.recipes import RECIPES, TrainingConfig, fit_to_data

IN_THE_ID = ("recipe", "step", "seed")  # settings that a run's id names


def changed_from_recipe(config: TrainingConfig, num_train_examples: int | None) -> dict[str, Any]:
    """Return the settings of a run that differ from its recipe, as JSON values by name.

    What the data set decides is no difference: inputs, outputs, and the steps of the recipe's epochs. The number of
    examples of the train split is None if it is unknown; then the steps of a recipe with epochs count as a difference.
    Nothing differs if this version lacks the recipe.
    """
    if config.recipe not in RECIPES:
        return {}
    recipe = RECIPES[config.recipe].config
    own = config.model_dump(mode="json")
    expected = recipe.model_dump(mode="json")
    if config.layers[1:-1] == recipe.layers[1:-1]:
        expected["layers"] = own["layers"]
    if num_train_examples is not None or recipe.num_epochs is None:
        same_batches = recipe.model_copy(update={"batch_size": config.batch_size})
        ends = (recipe.layers[0], recipe.layers[-1])
        with suppress(BadUsage):  # more steps than a run may have: then it has others
            expected["num_steps"] = fit_to_data(same_batches, *ends, num_train_examples or 0).num_steps
    expected["num_epochs"] = own["num_epochs"]  # a run has steps
    return {name: value for name, value in own.items() if value != expected.get(name)}


def compare_with_recipe(config: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Return every setting as (value, value in its recipe); the values are equal if this version lacks the recipe."""
    own = config.model_dump(mode="json")
    recipe = recipe_of(config).model_dump(mode="json")
    return {name: (value, recipe.get(name)) for name, value in own.items()}


def find_differences(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the settings that differ between runs: the value in each run by name, None where a run has it not."""
    names = dict.fromkeys(chain.from_iterable(settings))
    values_by_name = {name: [own.get(name) for own in settings] for name in names}
    return {name: values for name, values in values_by_name.items() if any(value != values[0] for value in values)}


def format_settings(settings: Mapping[str, Any], left_out: Iterable[str] = IN_THE_ID) -> str:
    """Return settings as NAME=VALUE, separated by spaces, without those that are left out."""
    hidden = set(left_out)
    return " ".join(f"{name}={format_setting(value)}" for name, value in settings.items() if name not in hidden)


def format_setting(value: Any) -> str:
    """Return a setting's JSON value as an option takes it; of a warm start, the run."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return str(value["run_id"])
    return f"{value:g}" if isinstance(value, float) else str(value)


def suggest_lower_rate(config: TrainingConfig) -> str:
    """Return the options for the recipe's rates if they are lower than the run's, else for a tenth of the run's."""
    recipe = recipe_of(config)
    if recipe.weights_rate < config.weights_rate or recipe.biases_rate < config.biases_rate:
        return format_rates(recipe.weights_rate, recipe.biases_rate)
    return format_rates(config.weights_rate / 10, config.biases_rate / 10)


def recipe_of(config: TrainingConfig) -> TrainingConfig:
    """Return the recipe's own configuration; the given one if this version lacks the recipe."""
    return RECIPES[config.recipe].config if config.recipe in RECIPES else config


def format_rates(weights: float, biases: float) -> str:
    """Return the options that set the learning rates of the weights and of the biases."""
    if weights == biases:
        return f"--learning-rate {weights:g}"
    return f"--weights-rate {weights:g} --biases-rate {biases:g}"
