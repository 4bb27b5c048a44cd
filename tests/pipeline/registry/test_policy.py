"""The table [promotion]."""

import pytest

from model.errors import BadUsage
from pipeline.cli.config import resolve_promotion
from pipeline.registry.policy import Policy, resolve_policy


def test_settings_that_are_not_given_have_defaults(tmp_path):
    file = tmp_path / "backbeam.toml"
    file.write_text("[promotion]\nminimum_accuracy = 0.9\n")
    assert resolve_promotion(file) == Policy(minimum_accuracy=0.9)
    assert resolve_promotion(None) == Policy()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"minimum_acuracy": 0.9},
            r"promotion: no such setting: 'minimum_acuracy' \(did you mean 'minimum_accuracy'\?\); .*",
        ),
        ({"minimum_accuracy": 1.5, "largest_class_loss": -1.0}, r"promotion\.minimum_accuracy: .*, found 1\.5"),
        ({"minimum_accuracy": "0.9"}, r"promotion\.minimum_accuracy: .*"),
        ({"minimum_accuracy": float("nan")}, r"promotion\.minimum_accuracy: .*"),
        ({"significance": 0.0}, r"promotion\.significance: Input should be greater than 0, found 0\.0"),
        ({"significance": 1.01}, r"promotion\.significance: .*"),
        ({"minimum_gain": 1.01}, r"promotion\.minimum_gain: .*"),
        ({"minimum_gain": -1.01, "significance": 1.0}, r"promotion\.minimum_gain: .*"),
        ({"largest_class_loss": -0.1}, r"promotion\.largest_class_loss: .*"),
        ({"reference": ""}, r"promotion\.reference: .*"),
        ({"minimum_gain": float("nan")}, r"promotion\.minimum_gain: .*"),
        ({"minimum_gain": -0.01}, "promotion: a minimum_gain below 0 allows a loss, .* asks for no gain"),
    ],
)
def test_error_names_the_setting_and_the_value_that_is_not_allowed(table, message):
    with pytest.raises(BadUsage, match=f"^{message}$"):
        resolve_policy(table)


@pytest.mark.parametrize(
    "table",
    [
        {"minimum_accuracy": 0.0, "largest_class_loss": 0.0},
        {"minimum_accuracy": 1.0, "largest_class_loss": 1.0},
        {"minimum_gain": 1.0},
        {"minimum_gain": -1.0, "significance": 1.0},
        {"minimum_gain": 0.0, "significance": 0.5},
        {"reference": "r"},
    ],
)
def test_value_at_its_limit_is_accepted(table):
    assert resolve_policy(table) == Policy.model_construct(**Policy().model_dump() | table)


def test_default_policy_is_pinned():
    """The registry's history contains its digest."""
    expected = {"minimum_accuracy": 0.0, "minimum_gain": 0.0, "significance": 0.05, "largest_class_loss": 0.05}
    assert Policy().model_dump() == expected | {"reference": "best"}
    assert Policy().digest == "9020fc0986a96d5c79b2d9e62e703dde1d5ea86c821d5b72cd45f0b26992c2f3"
    assert Policy(minimum_gain=0.001).digest != Policy().digest
