from pathlib import Path

import pytest

from model.errors import BadUsage
from pipeline.cli.dataset_options import DatasetOptions, ImageOptions
from pipeline.preprocess.stage import DatasetConfig
from pipeline.sources.catalog import PictureOptions
from pipeline.storage.workspace import default_cache


def test_every_option_reaches_configuration():
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


def test_defaults():
    config = DatasetOptions().to_config(ImageOptions())
    assert config.datasets == ("mnist-5k",)
    assert config.cache_dir == default_cache()
    assert (config.shuffle_seed, config.max_rejected) == (1, 0)
    assert config.pictures == PictureOptions()


def test_malformed_image_size_is_rejected():
    with pytest.raises(BadUsage, match="--image-size takes a height and a width"):
        DatasetOptions().to_config(ImageOptions(image_size="28"))
