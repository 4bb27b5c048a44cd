"""docs/configuration.md: it is current, and lists every key."""

import tomllib

import pytest

from model.recipes import TrainingConfig
from pipeline.cli.config import resolve_promotion, resolve_training, resolve_validation
from pipeline.preprocess.validation_config import CHECKS, CheckSettings
from pipeline.registry.policy import Policy
from tests.configuration_page import PAGE, build_page, read_meanings


def test_configuration_page_is_current():
    assert PAGE.read_text() == build_page(), "run python -m tests.configuration_page"


@pytest.mark.parametrize("model", [TrainingConfig, CheckSettings, Policy])
def test_every_key_has_a_meaning_and_a_row(model):
    assert set(read_meanings(model)) == set(model.model_fields)
    assert [name for name in model.model_fields if f"| `{name}` |" not in PAGE.read_text()] == []


def test_every_check_has_a_row():
    assert [name for name in CHECKS if f"| `{name}` |" not in PAGE.read_text()] == []


def test_the_example_is_a_valid_file(tmp_path):
    block = PAGE.read_text().split("    # run.toml\n")[1].split("    backbeam run")[0]
    file = tmp_path / "run.toml"
    file.write_text("\n".join(line.removeprefix("    ") for line in block.splitlines()))
    assert set(tomllib.loads(file.read_text())) == {"training", "validation", "slices", "promotion"}
    assert resolve_training(file, {"seed": 3}).layers == (784, 256, 256, 10)
    assert resolve_validation(file)["test_in_train"].threshold == 0.0
    assert resolve_promotion(file).minimum_accuracy == 0.9
