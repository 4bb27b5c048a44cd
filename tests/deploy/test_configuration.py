"""The one configuration that all of deploy/ reads."""

import tomllib

from model.recipes import find_recipe
from pipeline.cli.config import resolve_training, resolve_validation
from pipeline.preprocess.validation_config import CHECKS
from tests.deploy.parts import CONFIGURATION


def test_every_setting_is_one_that_backbeam_knows():
    tables = tomllib.loads(CONFIGURATION.read_text())
    config = resolve_training(CONFIGURATION, {})
    for name, value in tables["training"].items():
        assert getattr(config, name) == value
    checks = resolve_validation(CONFIGURATION)
    for name, settings in tables["validation"].items():
        assert {key: getattr(checks[name], key) for key in settings} == settings
        assert checks[name] != CHECKS[name].defaults or name.endswith("drift"), f"{name} says nothing new"


def test_the_recipe_is_trained_as_it_was_measured():
    """The figures of the pages are of the recipe as it is."""
    assert resolve_training(CONFIGURATION, {}) == find_recipe("modern").config
