from pathlib import Path

from model.recipes import RECIPES, TrainingConfig
from pipeline.cli.stage_options import (
    CheckpointOptions,
    DatasetOptions,
    ImageOptions,
    RecipeOptions,
    TrainingOptions,
)
from pipeline.preprocess.stage import DatasetConfig
from pipeline.sources.catalog import PictureOptions
from pipeline.storage.workspace import default_cache
from pipeline.train.checkpoint_policy import CheckpointPolicy


def test_every_dataset_option_reaches_the_configuration():
    options = DatasetOptions(["a", "b"], "data", Path("cache"), 3, 4, 5, 6)
    images = ImageOptions("pixels", "digit", "28x30")
    assert options.to_config(images) == DatasetConfig(
        datasets=("a", "b"),
        data_dir="data",
        cache_dir=Path("cache"),
        num_classes=3,
        num_shards=4,
        shuffle_seed=5,
        max_rejected=6,
        pictures=PictureOptions("pixels", "digit", (28, 30)),
    )


def test_defaults_of_dataset_options():
    config = DatasetOptions().to_config(ImageOptions())
    assert config.datasets == ("mnist-5k",)
    assert config.cache_dir == default_cache()
    assert (config.shuffle_seed, config.max_rejected) == (1, 0)
    assert config.pictures == PictureOptions()


def test_every_training_option_overrides_the_recipe(tmp_path):
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


def test_checkpoint_options_become_policy():
    assert CheckpointOptions(5, 3).to_policy() == CheckpointPolicy(every=5, keep=3)
    assert CheckpointOptions().to_policy() == CheckpointPolicy()
