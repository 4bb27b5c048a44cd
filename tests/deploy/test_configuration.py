"""The files that configure a retraining: backbeam takes them, and no value stands in two places."""

import re
import tomllib
from pathlib import Path

import pytest

from model.recipes import find_recipe
from pipeline.cli.config import resolve_kept, resolve_promotion, resolve_training, resolve_validation
from pipeline.preprocess.validation_config import CHECKS
from tests.deploy.parts import CONFIGURATION, DEPLOY, read_environment, unit_commands

CONFIGURATIONS = sorted(DEPLOY.rglob("*.toml"))
SHARED = [DEPLOY / "backbeam.toml", DEPLOY / "backbeam.env"]
KUBERNETES = [path for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml")) if path.parent.name != "gpu"]
OWN = DEPLOY / "own-pictures"
# The files of each deployment, of which none says what another says.
DEPLOYMENTS = {
    "Kubernetes, a volume": [*SHARED, DEPLOY / "kustomization.yaml", *KUBERNETES],
    "Kubernetes, buckets": [
        *(path for path in KUBERNETES if path.parent.name != "volume"),
        *(path for path in sorted(OWN.iterdir()) if path.suffix in (".toml", ".env", ".yaml")),
    ],
    "systemd": [*SHARED, *sorted((DEPLOY / "systemd").glob("backbeam-retrain.*"))],
    "systemd, buckets": [
        *sorted((DEPLOY / "systemd").glob("backbeam-retrain.*")),
        *(path for path in sorted(OWN.rglob("*")) if path.suffix in (".toml", ".env", ".conf")),
    ],
}


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_every_setting_is_one_that_backbeam_knows(file):
    tables = tomllib.loads(file.read_text())
    config = resolve_training(file, {})
    for name, value in tables["training"].items():
        assert getattr(config, name) == value
    checks = resolve_validation(file)
    for name, settings in tables["validation"].items():
        assert {key: getattr(checks[name], key) for key in settings} == settings
        assert checks[name] != CHECKS[name].defaults or name.endswith("drift"), f"{name} says nothing new"
    policy = resolve_promotion(file)
    assert {key: getattr(policy, key) for key in tables["promotion"]} == tables["promotion"]
    retention = resolve_kept(file)
    assert (retention.model_dump(exclude_none=True) if retention else {}) == tables.get("retention", {})


def test_the_recipe_is_trained_as_it_was_measured():
    """The figures of the pages are of the recipe as it is."""
    assert resolve_training(CONFIGURATION, {}) == find_recipe("modern").config


def test_the_example_shows_what_a_deployment_of_ones_own_needs():
    assert CONFIGURATIONS == [CONFIGURATION, OWN / "backbeam.toml"]
    config = resolve_training(OWN / "backbeam.toml", {})
    assert (
        config.layers == find_recipe("modern").config.layers
    )  # whose ends the data set replaces: no number of classes
    assert resolve_kept(OWN / "backbeam.toml") is not None
    environment = read_environment(OWN / "backbeam.env")
    assert {environment[name].partition("://")[0] for name in ("BACKBEAM_DATASET", "BACKBEAM_WORKSPACE")} == {"s3"}


def statements(text: str) -> str:
    """The text of a configuration without its comments."""
    return re.sub(r"(^|\s)#.*", "", text, flags=re.MULTILINE)


def find_places(value: str, files: list[Path]) -> list[str]:
    """The names of the files in which a value stands, once for each time."""
    found = re.compile(rf"(?<![\w/.-]){re.escape(value)}(?![\w-])")
    return [path.name for path in files for _ in found.findall(statements(path.read_text()))]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_value_stands_in_one_place(name):
    files = DEPLOYMENTS[name]
    [environment] = [read_environment(path) for path in files if path.suffix == ".env"]
    values = [*environment.values(), *(value.rpartition("/")[0] for value in environment.values() if "://" in value)]
    if name.startswith("Kubernetes"):
        values += ["REGISTRY/backbeam", "0.2.0"]
    for value in values:
        assert len(find_places(value, files)) == 1, value
    for path in files:  # a second place would be a second schedule, of which one is not heeded
        schedules = re.findall(r"^ *(?:schedule:|OnCalendar=\*).*", statements(path.read_text()), re.MULTILINE)
        assert len(schedules) <= 1, schedules


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_command_names_neither_data_set_nor_workspace(name):
    for path in DEPLOYMENTS[name]:
        for option in re.findall(r"--(?:dataset|workspace|resize)\S*", statements(path.read_text())):
            assert re.fullmatch(r"--\w+=(\$\(\w+\)|\$\{\w+\})", option), (path, option)


def test_the_drop_in_changes_the_command_of_the_unit_by_options_only():
    [own] = unit_commands((DEPLOY / "systemd" / "backbeam-retrain.service").read_text())
    [changed] = unit_commands((OWN / "backbeam-retrain.service.d" / "own-pictures.conf").read_text())
    assert changed[: len(own)] == own
