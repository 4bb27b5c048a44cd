from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from model.errors import BadUsage
from model.recipes import RECIPES, TrainingConfig, override
from pipeline.cli.main import CONTEXT_SETTINGS, app
from pipeline.cli.option_groups import flatten_option_groups
from pipeline.cli.stage_options import (
    CheckpointOptions,
    DatasetChoice,
    DatasetOptions,
    ImageOptions,
    RecipeOptions,
    TrainingOptions,
    setting_option,
)
from pipeline.preprocess.stage import DatasetConfig
from pipeline.sources.catalog import PictureOptions
from pipeline.train.checkpoint_policy import CheckpointPolicy


def test_every_dataset_option_reaches_the_configuration():
    options = DatasetOptions(["a", "b"], None, "data", Path("cache"), 3, 1, 4, 5, 6)
    images = ImageOptions("pixels", "digit", "28x30")
    assert options.to_config(images) == DatasetConfig(
        datasets=("a", "b"),
        data_dir="data",
        cache_dir=Path("cache"),
        num_classes=3,
        first_label=1,
        num_shards=4,
        shuffle_seed=5,
        max_rejected=6,
        pictures=PictureOptions("pixels", "digit", (28, 30)),
    )


def test_defaults_of_dataset_options():
    config = DatasetOptions().to_config(ImageOptions())
    assert config.datasets == ("mnist-5k",)
    assert config.cache_dir is None  # worked out when it is needed
    assert (config.shuffle_seed, config.max_rejected) == (1, 0)
    assert config.pictures == PictureOptions()


def test_every_training_option_overrides_the_recipe(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[training]\nmomentum = 0.5\nseed = 3\n")
    recipe = RecipeOptions("nielsen-100", file, "784,20,10", "autodiff", 7)
    config = TrainingOptions(num_steps=50, window_mib=9, num_replicas=2).to_config(recipe)
    expected = {
        "layers": (784, 20, 10),
        "step": "autodiff",
        "seed": 7,
        "num_steps": 50,
        "num_epochs": None,
        "window_mib": 9,
        "num_replicas": 2,
        "momentum": 0.5,
    }
    assert config == TrainingConfig.model_validate(RECIPES["nielsen-100"].config.model_dump() | expected)


OPTIONS = {
    "--weights-rate": ("weights_rate", 0.25),
    "--biases-rate": ("biases_rate", 0.25),
    "--rate-schedule": ("schedule", "cosine"),
    "--momentum": ("momentum", 0.25),
    "--weight-decay": ("weight_decay", 0.25),
    "--dropout": ("dropout", 0.25),
    "--batch-size": ("batch_size", 20),
    "--epochs": ("num_epochs", 0.25),
    "--activation": ("activation", "relu"),
    "--output": ("output", "softmax"),
    "--loss": ("loss", "cross-entropy"),
    "--start": ("start", "he"),
    "--precision": ("precision", "tf32"),
    "--num-steps": ("num_steps", 7),
    "--window-mib": ("window_mib", 7),
    "--replicas": ("num_replicas", 2),
}


def parse(arguments):
    """Return the configuration of training that a command with these arguments has."""
    app = typer.Typer(context_settings=CONTEXT_SETTINGS)
    found = []

    def command(recipe: RecipeOptions, training: TrainingOptions) -> None:
        found.append(training.to_config(recipe))

    app.command()(flatten_option_groups(command))
    done = CliRunner().invoke(app, arguments)
    if done.exception:
        raise done.exception
    return found[0]


@pytest.mark.parametrize("option", OPTIONS)
def test_option_overrides_the_recipe(option):
    name, value = OPTIONS[option]
    assert parse([option, str(value)]) == override(RECIPES["article-manual"].config, **{name: value})


def test_every_setting_has_an_option():
    others = {"recipe", "step", "layers", "seed"}  # in RecipeOptions
    assert {name for name, _ in OPTIONS.values()} | others | {"warm_start"} == set(TrainingConfig.model_fields)


@pytest.mark.parametrize("option", ["--learning-rate", "--eta"])
def test_learning_rate_is_that_of_weights_and_biases(option, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[training]\nweights_rate = 7\nbiases_rate = 7\n")
    arguments = ["--config", str(file), option, "0.5"]
    both = parse(arguments)
    assert (both.weights_rate, both.biases_rate) == (0.5, 0.5)
    one = parse([*arguments, "--biases-rate", "2"])
    assert (one.weights_rate, one.biases_rate) == (0.5, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0"], "weights_rate: Input should be greater than 0, found 0.0"),
        (["--activation", "swish"], "activation: Input should be 'sigmoid', 'tanh' or 'relu', found 'swish'"),
        (["--epochs", "2", "--num-steps", "5"], "give either num_steps or num_epochs"),
        (["--batch-size", "9", "--replicas", "2"], "num_replicas 2 does not divide batch_size 9"),
    ],
)
def test_value_that_the_configuration_refuses_is_rejected(arguments, message):
    with pytest.raises(BadUsage, match=message):
        parse(arguments)


def test_help_says_choices_and_limits():
    activation = setting_option("activation", "--activation", "Function")
    assert activation.metavar == "sigmoid|tanh|relu"
    assert activation.autocompletion() == ["sigmoid", "tanh", "relu"]
    assert activation.help == "Function; by default as the recipe says."
    epochs = setting_option("num_epochs", "--epochs", "Passes")
    assert epochs.help == "Passes, above 0, at most 1,000,000,000; by default as the recipe says."


def test_dataset_is_an_argument_or_an_option():
    assert DatasetOptions(["a"]).to_config(ImageOptions()).datasets == ("a",)
    assert DatasetOptions(None, ["a", "b"]).to_config(ImageOptions()).datasets == ("a", "b")
    assert DatasetOptions(["a"], ["a"]).to_config(ImageOptions()).datasets == ("a",)
    assert [DatasetChoice("a").name, DatasetChoice(None, "a").name, DatasetChoice().name] == ["a", "a", None]


@pytest.mark.parametrize("command", ["run", "preprocess", "retrain", "validate", "train", "inspect"])
def test_two_data_sets_are_refused(command, tmp_path):
    workspace = tmp_path / "ws"
    workspace.mkdir()
    done = CliRunner().invoke(app, [command, "a", "--dataset", "b"], env={"BACKBEAM_WORKSPACE": str(workspace)}, obj=())
    assert done.exit_code == 2
    assert "as the argument DATASET or with" in done.output


def test_seeds_give_a_configuration_each():
    configs = TrainingOptions().to_configs(RecipeOptions(), "1-2,5")
    assert [config.seed for config in configs] == [1, 2, 5]
    assert {config.recipe for config in configs} == {"article-manual"}


def test_checkpoint_options_become_policy():
    assert CheckpointOptions(5, 3).to_policy() == CheckpointPolicy(every=5, keep=3)
    assert CheckpointOptions().to_policy() == CheckpointPolicy()
