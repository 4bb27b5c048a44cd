"""Settings that differ from the recipe, and advice about learning rates."""

import pytest

from model.recipes import RECIPES, TrainingConfig, WarmStart, fit_to_data, override
from pipeline.train.run_settings import changed_from_recipe, find_differences, format_settings, suggest_lower_rate

NUM_TRAIN = 4000


def fitted(recipe: str = "modern", **changes: object) -> TrainingConfig:
    """Return a configuration as a run's record has it, for 20 pixels and 3 classes."""
    return fit_to_data(override(RECIPES[recipe].config, **changes), 20, 3, NUM_TRAIN)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_the_data_set_decides_is_no_difference(recipe):
    assert changed_from_recipe(fitted(recipe), NUM_TRAIN) == {}


def test_changed_settings_are_those_given():
    config = fitted(layers=[20, 8, 3], batch_size=20, seed=2)
    changed = changed_from_recipe(config, NUM_TRAIN)
    assert changed == {"layers": [20, 8, 3], "batch_size": 20, "seed": 2}
    assert format_settings(changed) == "layers=20,8,3 batch_size=20"  # the run's id names the seed


def test_epochs_are_steps_in_a_run():
    assert changed_from_recipe(fitted(num_epochs=8), NUM_TRAIN) == {"num_steps": 250}
    assert changed_from_recipe(fitted(), None) == {"num_steps": 1250}  # 40 epochs, of a data set that is gone
    assert changed_from_recipe(fitted("article-manual", num_steps=5), None) == {"num_steps": 5}


def test_more_epochs_than_a_run_may_have_are_a_difference():
    config = fitted("nielsen-30", num_steps=7)
    assert changed_from_recipe(config, 2**31) == {"num_steps": 7}


def test_unknown_recipe_has_no_differences():
    assert changed_from_recipe(fitted().model_copy(update={"recipe": "gone"}), NUM_TRAIN) == {}


def test_settings_are_written_as_options_take_them():
    start = WarmStart(run_id="modern-seed1-0", sha256="0" * 64).model_dump()
    settings = {"recipe": "modern", "warm_start": start, "dropout": 0.25, "num_epochs": None}
    assert format_settings(settings) == "warm_start=modern-seed1-0 dropout=0.25 num_epochs=None"
    assert format_settings(settings, settings) == ""


def test_differences_between_runs():
    assert find_differences([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}]) == {"b": [2, 3], "c": [None, 4]}


def test_lower_rate_is_the_recipes_or_a_tenth():
    assert suggest_lower_rate(fitted(weights_rate=3.0)) == "--learning-rate 0.1"
    assert suggest_lower_rate(fitted("article-manual")) == "--weights-rate 0.5 --biases-rate 0.05"
    assert suggest_lower_rate(fitted("article-manual", biases_rate=9.0)) == "--weights-rate 5 --biases-rate 0.5"
