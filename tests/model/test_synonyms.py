import pytest

from model.recipes import TrainingConfig
from model.synonyms import nearest

SETTING_NAMES = tuple(TrainingConfig.model_fields)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("tain", ("test", "train"), "'train'"),
        ("--Max-rejectet", ("--max-rejected",), "'--max-rejected'"),
        ("lr", SETTING_NAMES, "'weights_rate' or 'biases_rate'"),
        ("learning_rate", SETTING_NAMES, "'weights_rate' or 'biases_rate'"),
        ("l2", SETTING_NAMES, "'weight_decay'"),
        ("epochs", SETTING_NAMES, "'num_epochs'"),
        ("batch", SETTING_NAMES, "'batch_size'"),
    ],
)
def test_hint_names_the_closest_name_or_settings_of_the_same_meaning(name, known, expected):
    assert nearest(name, known) == f" (did you mean {expected}?)"
    assert nearest("xyz", known) == ""
