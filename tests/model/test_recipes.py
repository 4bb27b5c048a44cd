import pytest
from pydantic import ValidationError

from model.errors import BadUsage
from model.recipes import RECIPES, TrainingConfig, WarmStart, find_recipe, fit_to_data, override

SETTING_NAMES = tuple(TrainingConfig.model_fields)
SETTINGS = ", ".join(SETTING_NAMES)
ARTICLE = RECIPES["article-manual"].config
NIELSEN = RECIPES["nielsen-30"].config
WARM_START = WarmStart(run_id="seed1-run", sha256="0" * 64)
DEFAULTS = {
    "activation": "sigmoid",
    "output": "sigmoid",
    "loss": "quadratic",
    "start": "truncated-normal",
    "num_steps": 0,
    "num_epochs": None,
    "schedule": "constant",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "dropout": 0.0,
    "window_mib": 1024,
    "seed": 1,
    "num_replicas": 1,
}
# the settings as they were published: see the sources that the recipes name
SMALL = {"step": "manual", "layers": (784, 30, 10), "batch_size": 10}
PUBLISHED = {
    "article-manual": SMALL | {"num_steps": 10_000, "weights_rate": 5.0, "biases_rate": 0.5},
    "article-autodiff": SMALL | {"step": "autodiff", "num_steps": 10_000, "weights_rate": 2.0, "biases_rate": 2.0},
    "nielsen-30": SMALL | {"start": "normal", "num_epochs": 30.0, "weights_rate": 3.0, "biases_rate": 3.0},
    "nielsen-100": SMALL
    | {"layers": (784, 100, 10), "loss": "cross-entropy", "start": "scaled", "num_epochs": 60.0}
    | {"weights_rate": 0.5, "biases_rate": 0.5, "weight_decay": 0.0001},
    "modern": {"step": "manual", "layers": (784, 512, 512, 10), "batch_size": 128, "num_epochs": 40.0}
    | {"activation": "relu", "output": "softmax", "loss": "cross-entropy", "start": "he", "schedule": "cosine"}
    | {"weights_rate": 0.1, "biases_rate": 0.1, "momentum": 0.9, "dropout": 0.4},
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_equals_the_published_configuration(name):
    assert RECIPES[name].config.model_dump() == DEFAULTS | {"recipe": name} | PUBLISHED[name]


@pytest.mark.parametrize(
    ("setting", "rejected", "accepted"),
    [
        ("layers", [(784,), (784, 0, 10)], [(1, 1)]),
        ("batch_size", [0, 2**31], [1, 2**31 - 1]),
        ("num_steps", [-1, 2**31], [1, 2**31 - 1]),
        ("num_epochs", [0.0, 1e9 + 1, float("inf")], [0.5, 1e9]),
        ("weights_rate", [0.0, float("inf")], [0.5]),
        ("biases_rate", [float("nan")], [0.5]),
        ("momentum", [-0.01, 1.0], [0.99]),
        ("weight_decay", [-0.01, float("inf")], [0.5]),
        ("dropout", [-0.01, 1.0, 0.4 / 65_536, 1 - 0.4 / 65_536], [1 / 65_536, 1 - 1 / 65_536]),
        ("window_mib", [0, 2**30 + 1], [1, 2**30]),
        ("seed", [-1, 2**31], [0, 2**31 - 1]),
        ("num_replicas", [0, 3, 1025], [10]),  # of a batch of 10
        ("stack", [0, 1025], [1, 1024]),
        ("step", ["magic"], ["autodiff"]),
    ],
)
def test_values_up_to_a_limit_are_accepted_and_others_rejected_by_name(setting, rejected, accepted):
    for value in rejected:
        with pytest.raises(BadUsage, match=setting):
            override(ARTICLE, **{setting: value})
    for value in accepted:
        assert getattr(override(ARTICLE, **{setting: value}), setting) == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 5, "num_epochs": 2.0}, "configuration: give either num_steps or num_epochs"),
        ({"num_replicas": 3}, "configuration: num_replicas 3 does not divide batch_size 10"),
        ({"step": "compare", "num_replicas": 2}, "configuration: the step compare works with one replica only"),
        ({"own_shards": True}, "configuration: own_shards needs several replicas, and num_replicas is 1"),
        (
            {"stack": 4, "num_replicas": 2},
            "configuration: stack 4 works with one replica, and with the steps manual and autodiff only",
        ),
        (
            {"stack": 4, "step": "compare"},
            "configuration: stack 4 works with one replica, and with the steps manual and autodiff only",
        ),
        ({"dropout": 1.0}, "dropout: Input should be less than 1, found 1.0"),
        ({"batch_size": 0, "seed": -1}, "batch_size: Input should be greater than 0, found 0"),
        ({"momentun": 0.5}, f"no such setting: 'momentun' (did you mean 'momentum'?); there are: {SETTINGS}"),
    ],
)
def test_message_names_the_setting_and_the_value(changes, message):
    with pytest.raises(BadUsage) as raised:
        override(ARTICLE, **changes)
    assert str(raised.value) == message


def test_num_steps_and_num_epochs_replace_each_other():
    assert override(ARTICLE, num_epochs=2.0).num_steps == 0
    assert override(NIELSEN, num_steps=7).num_epochs is None
    assert override(NIELSEN, seed=2).num_epochs == 30


def test_several_replicas_have_shards_of_their_own_unless_told_otherwise():
    several = override(ARTICLE, num_replicas=2)
    assert several.own_shards
    assert not override(several, num_replicas=1).own_shards
    common = override(ARTICLE, num_replicas=2, own_shards=False)
    assert not override(common, num_replicas=5, seed=3).own_shards
    assert override(several, num_replicas=5).own_shards
    assert not override(ARTICLE, seed=2).own_shards


def test_records_without_own_shards_are_of_one_order_of_the_split():
    """Records of versions before the setting keep their digests, and those of one replica too."""
    common = override(ARTICLE, num_replicas=2, own_shards=False)
    dumped = common.model_dump()
    assert "own_shards" not in dumped
    assert TrainingConfig.model_validate(dumped) == common
    assert "own_shards" not in ARTICLE.model_dump()
    assert override(ARTICLE, num_replicas=2).model_dump()["own_shards"] is True
    assert override(ARTICLE, num_replicas=2).digest != common.digest
    assert common.digest == "f74e5ce54eb27a8f483dad8ab4d8b33c6d77df15b1524d25c5e08771baf56557"


def test_networks_alone_keep_the_digests_of_records_without_stack():
    assert "stack" not in ARTICLE.model_dump()
    assert override(ARTICLE, stack=1).digest == ARTICLE.digest
    assert len({override(ARTICLE, stack=size).digest for size in (1, 2, 3)}) == 3


@pytest.mark.parametrize("record", [ARTICLE, WARM_START], ids=["configuration", "warm start"])
def test_records_cannot_be_changed_or_extended(record):
    name = next(iter(type(record).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, name, getattr(record, name))
    with pytest.raises(ValidationError, match="Extra inputs"):
        type(record).model_validate(record.model_dump() | {"more": 1})


@pytest.mark.parametrize(
    ("run_id", "sha256"),
    [*((name, "0" * 64) for name in ("", "-run", "a/b", "a" * 201)), *(("a", text) for text in ("0" * 63, "G" * 64))],
)
def test_invalid_run_or_digest_of_a_warm_start_is_rejected(run_id, sha256):
    with pytest.raises(ValidationError):
        WarmStart(run_id=run_id, sha256=sha256)


def test_warm_start_needs_the_same_layers():
    config = override(ARTICLE, warm_start=WARM_START)
    config.check_start((784, 30, 10))
    ARTICLE.check_start((784, 20, 10))  # it has no warm start
    with pytest.raises(BadUsage, match="from seed1-run needs its layers, 784-20-10; those here are 784-30-10"):
        config.check_start((784, 20, 10))


def test_warm_start_is_omitted_from_the_json_if_there_is_none():
    assert "warm_start" not in ARTICLE.model_dump()
    dumped = override(ARTICLE, warm_start=WARM_START).model_dump()
    assert dumped["warm_start"] == WARM_START.model_dump()
    assert dumped["recipe"] == "article-manual"
    assert TrainingConfig.model_validate(dumped).warm_start == WARM_START


def test_digest_is_pinned():
    """It is part of run ids, so another digest would change the id of every run."""
    assert ARTICLE.digest == "52f33791a6997326e4e7b362eda3e5769a04554a3b9bc1db79765e99fdcf9d0a"
    assert override(ARTICLE, seed=2).digest != ARTICLE.digest


@pytest.mark.parametrize(
    ("num_epochs", "num_examples", "num_steps"),
    [(30.0, 60_000, 180_000), (0.5, 97, 5), (0.01, 60, 1), ((2**31 - 1) / 100, 1000, 2**31 - 1)],
)
def test_epochs_are_rounded_to_steps_and_at_least_one(num_epochs, num_examples, num_steps):
    fitted = fit_to_data(override(NIELSEN, num_epochs=num_epochs), 784, 10, num_examples)
    assert (fitted.num_steps, fitted.num_epochs) == (num_steps, None)


def test_more_steps_than_int32_holds_are_rejected():
    with pytest.raises(BadUsage, match=r"num_epochs 2\.14748e"):
        fit_to_data(override(NIELSEN, num_epochs=2**31 / 100), 784, 10, 1000)


def test_own_layers_of_a_recipe_get_the_inputs_and_outputs_of_the_data_set():
    assert fit_to_data(ARTICLE, 35, 26, 1000).layers == (35, 30, 26)
    assert fit_to_data(override(ARTICLE, layers=(35, 9, 8, 26)), 35, 26, 1000).layers == (35, 9, 8, 26)  # kept
    assert fit_to_data(ARTICLE, 35, 26, 1000).num_steps == 10_000


@pytest.mark.parametrize("layers", [(784, 60, 26), (35, 60, 10), (784, 60, 10)])
def test_other_layers_must_have_the_inputs_and_outputs_of_the_data_set(layers):
    with pytest.raises(BadUsage, match=r"layers [0-9]+-60-[0-9]+ do not fit .* 35 pixels and 26 classes"):
        fit_to_data(override(ARTICLE, layers=layers), 35, 26, 1000)


def test_unknown_recipe_is_named_with_the_known_ones():
    with pytest.raises(BadUsage, match=r"'articel-manual' \(did you mean 'article-manual'\?\); there are: article-man"):
        find_recipe("articel-manual")
