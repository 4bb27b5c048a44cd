"""docs/configuration.md: it is current, and its example is valid."""

import tomllib

from pipeline.cli.config import resolve_promotion, resolve_training, resolve_validation
from tests.configuration_page import PAGE, build_page


def test_configuration_page_is_current():
    assert PAGE.read_text() == build_page(), "run python -m tests.configuration_page"


def test_the_example_is_a_valid_file(tmp_path):
    block = PAGE.read_text().split("    # run.toml\n")[1].split("    backbeam run")[0]
    file = tmp_path / "run.toml"
    file.write_text("\n".join(line.removeprefix("    ") for line in block.splitlines()))
    assert set(tomllib.loads(file.read_text())) == {"training", "validation", "slices", "promotion", "retention"}
    assert resolve_training(file, {"seed": 3}).layers == (784, 256, 256, 10)
    assert resolve_validation(file)["test_in_train"].threshold == 0.0
    assert resolve_promotion(file).minimum_accuracy == 0.9
