from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from model.errors import BadUsage
from model.recipes import RECIPES, TrainingConfig, override
from pipeline.cli.main import CONTEXT_SETTINGS, app
from pipeline.cli.option_groups import flatten_option_groups
from pipeline.cli.process_options import MessageOptions
from pipeline.cli.stage_options import (
    CheckpointOptions,
    DatasetChoice,
    DatasetOptions,
    ImageOptions,
    RecipeOptions,
    TrainingOptions,
)
from pipeline.preprocess.stage import DatasetConfig
from pipeline.sources.catalog import PictureOptions
from pipeline.train.checkpoint_policy import CheckpointPolicy


def test_dataset_options_reach_the_configuration():
    numbers = {"num_classes": 3, "num_shards": 4, "shuffle_seed": 5, "max_rejected": 6, "first_label": 7}
    options = DatasetOptions(["a", "b"], None, "data", Path("cache"), **numbers)
    pictures = PictureOptions("pixels", "digit", (28, 30))
    expected = DatasetConfig(("a", "b"), "data", Path("cache"), pictures=pictures, **numbers)
    assert options.to_config(ImageOptions("pixels", "digit", "28x30")) == expected
    defaults = DatasetOptions().to_config(ImageOptions())
    assert defaults == DatasetConfig(("mnist-5k",), pictures=PictureOptions())
    assert (defaults.shuffle_seed, defaults.max_rejected) == (1, 0)


def test_recipe_options_override_the_file_and_the_recipe(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[training]\nmomentum = 0.5\nseed = 3\n")
    config = TrainingOptions().to_config(RecipeOptions("nielsen-100", file, "784,20,10", "autodiff", 7))
    expected = {"layers": (784, 20, 10), "step": "autodiff", "seed": 7, "momentum": 0.5}
    assert config == RECIPES["nielsen-100"].config.model_copy(update=expected)


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
    "--stack": ("stack", 2),
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
    without = {"warm_start", "own_shards"}
    assert {name for name, _ in OPTIONS.values()} | others | without == set(TrainingConfig.model_fields)


@pytest.mark.parametrize("option", ["--learning-rate", "--eta"])
def test_learning_rate_is_that_of_weights_and_biases(option, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[training]\nweights_rate = 7\nbiases_rate = 7\n")
    for more, rates in (([], (0.5, 0.5)), (["--biases-rate", "2"], (0.5, 2))):
        config = parse(["--config", str(file), option, "0.5", *more])
        assert (config.weights_rate, config.biases_rate) == rates


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0"], "--learning-rate: Input should be greater than 0, found 0.0"),
        (["--eta", "0", "--biases-rate", "-1"], "--learning-rate: Input should be greater than 0, found 0.0"),
        (["--biases-rate", "nan", "--eta", "1"], "--biases-rate: Input should be a finite number, found nan"),
        (["--activation", "swish"], "--activation: Input should be 'sigmoid', 'tanh' or 'relu', found 'swish'"),
        (["--epochs", "2", "--num-steps", "5"], "give either --num-steps or --epochs"),
        (["--batch-size", "9", "--replicas", "2"], "--replicas 2 does not divide --batch-size 9"),
        (["--replicas", "3"], "--replicas 3 does not divide batch_size 10"),
        (
            ["--replicas", "2", "--stack", "2"],
            "--stack 2 works with one replica, and with the steps manual and autodiff only",
        ),
    ],
)
def test_value_that_the_configuration_refuses_is_rejected(arguments, message):
    with pytest.raises(BadUsage, match=message):
        parse(arguments)


def test_dataset_is_an_argument_or_an_option():
    given = ((["a"], None), (None, ["a"]), (["a"], ["a"]))
    assert [DatasetOptions(*each).to_config(ImageOptions()).datasets for each in given] == [("a",)] * 3
    assert [DatasetChoice("a").name, DatasetChoice(None, "a").name, DatasetChoice().name] == ["a", "a", None]


@pytest.mark.parametrize("command", ["run", "preprocess", "retrain", "validate", "train", "inspect"])
def test_two_data_sets_are_refused(command, tmp_path):
    workspace = tmp_path / "ws"
    workspace.mkdir()
    done = CliRunner().invoke(app, [command, "a", "--dataset", "b"], env={"BACKBEAM_WORKSPACE": str(workspace)}, obj=())
    assert done.exit_code == 2
    assert "as the argument DATASET or with" in done.output


def test_other_options_reach_their_configuration():
    configs = TrainingOptions().to_configs(RecipeOptions(), "1-2,5")
    assert [(config.recipe, config.seed) for config in configs] == [("article-manual", seed) for seed in (1, 2, 5)]
    assert CheckpointOptions(5, 3).to_policy() == CheckpointPolicy(every=5, keep=3)
    assert CheckpointOptions().to_policy() == CheckpointPolicy()
    assert MessageOptions(True, Path("a b.log")).to_arguments() == ["--quiet", "--log-file", "a b.log"]
    assert MessageOptions().to_arguments() == []
