"""The table [promotion]."""

import pytest

from model.errors import BadUsage
from pipeline.configuration import resolve_promotion
from pipeline.registry.policy import Policy, resolve_policy


def test_what_is_not_given_is_as_usual(tmp_path):
    file = tmp_path / "backbeam.toml"
    file.write_text("[promotion]\nminimum_accuracy = 0.9\n")
    assert resolve_promotion(file) == Policy(minimum_accuracy=0.9)
    assert resolve_promotion(None) == Policy()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"minimum_acuracy": 0.9}, "promotion: no such setting: 'minimum_acuracy' (did you mean 'minimum_accuracy'?)"),
        ({"minimum_accuracy": 1.5}, "promotion.minimum_accuracy: "),
        ({"minimum_accuracy": "0.9"}, "promotion.minimum_accuracy: "),
        ({"significance": 0.0}, "promotion.significance: "),
        ({"largest_class_loss": -0.1}, "promotion.largest_class_loss: "),
        ({"reference": ""}, "promotion.reference: "),
        ({"minimum_gain": float("nan")}, "promotion.minimum_gain: "),
        ({"minimum_gain": -0.01}, "promotion: a minimum_gain below 0 allows a loss"),
    ],
)
def test_what_is_not_allowed_is_named(table, message):
    with pytest.raises(BadUsage) as raised:
        resolve_policy(table)
    assert message in str(raised.value)


def test_a_loss_is_allowed_where_no_significance_is_asked_for():
    assert resolve_policy({"minimum_gain": -0.01, "significance": 1.0}).minimum_gain == -0.01


def test_another_policy_has_another_digest():
    assert Policy().digest == Policy().digest != Policy(minimum_gain=0.001).digest
