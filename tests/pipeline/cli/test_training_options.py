import pytest
import typer

from model.errors import BadUsage
from model.recipes import RECIPES, TrainingConfig
from pipeline.cli.training_options import CheckpointOptions, RecipeOptions, TrainingOptions
from pipeline.train.checkpoint_policy import CheckpointPolicy


def test_every_option_overrides_recipe(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[training]\nmomentum = 0.5\nseed = 3\n")
    recipe = RecipeOptions("nielsen-100", file, "784,20,10", "autodiff", 7)
    config = TrainingOptions(num_steps=50, window_mib=9, replicas=2).to_config(recipe)
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


def test_seeds_give_a_configuration_each():
    configs = TrainingOptions().to_configs(RecipeOptions(), "1-2,5")
    assert [config.seed for config in configs] == [1, 2, 5]
    assert {config.recipe for config in configs} == {"article-manual"}


def test_without_seeds_there_is_one_configuration():
    assert [config.seed for config in TrainingOptions().to_configs(RecipeOptions(seed=4), None)] == [4]


@pytest.mark.parametrize("seed", [0, 1])
def test_seed_and_seeds_exclude_each_other(seed):
    with pytest.raises(typer.BadParameter, match="give --seed or --seeds, not both"):
        TrainingOptions().to_configs(RecipeOptions(seed=seed), "1-2")


def test_seeds_and_replicas_exclude_each_other():
    with pytest.raises(typer.BadParameter, match="leave out --replicas or --seeds"):
        TrainingOptions(replicas=2).to_configs(RecipeOptions(), "1-2")


def test_malformed_layers_are_rejected():
    with pytest.raises(BadUsage, match="--layers takes sizes"):
        TrainingOptions().to_config(RecipeOptions(layers="784-10"))


def test_checkpoint_options_become_policy():
    assert CheckpointOptions(5, 3).to_policy() == CheckpointPolicy(every=5, keep=3)
    assert CheckpointOptions().to_policy() == CheckpointPolicy()
