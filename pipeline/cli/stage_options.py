"""The options of the stages, as dataclasses."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.recipes import TrainingConfig
from pipeline.cli.config import parse_layers, parse_size, resolve_training
from pipeline.cli.options import ConfigFile, Layers, RecipeName, Seed, local_option
from pipeline.sources.catalog import MAX_SHARDS, PictureOptions
from pipeline.storage.workspace import default_cache
from pipeline.train.checkpoint_policy import CheckpointPolicy

if TYPE_CHECKING:
    from pipeline.preprocess.stage import DatasetConfig  # imports NumPy


@dataclass(frozen=True)
class ImageOptions:
    """How images are found in the sources and scaled, for formats that do not say so themselves."""

    image_column: Annotated[str | None, typer.Option(help="Parquet: the column of pictures; by default found out.")] = (
        None
    )
    label_column: Annotated[str | None, typer.Option(help="Parquet: the column of labels; by default found out.")] = (
        None
    )
    image_size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Size of pictures, such as 28x28; by default that of the first one."),
    ] = None


@dataclass(frozen=True)
class DatasetOptions:
    """Which sources are preprocessed, and how."""

    dataset: Annotated[
        list[str],
        typer.Option(
            "--dataset",
            help="mnist-5k (embedded), mnist, fashion-mnist, kmnist; a folder or URI of four IDX files; a folder of "
            "Parquet files by split, or TRAIN.parquet,TEST.parquet; a folder of images, SPLIT/CLASS/IMAGE. Several are "
            "joined.",
        ),
    ] = field(default_factory=lambda: ["mnist-5k"])
    data_dir: Annotated[
        str | None, typer.Option(help="A folder that holds the files of the known data set already.")
    ] = None
    cache_dir: Annotated[
        Path | None, local_option("FOLDER", "Where downloads are kept.", envvar="BACKBEAM_CACHE_DIR")
    ] = None
    num_classes: Annotated[
        int | None, typer.Option(min=1, max=256, help="Classes of a folder's data set; by default as the labels show.")
    ] = None
    num_shards: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_SHARDS, help="Train shards; by default about 6.4 MB each: 8,192 images of 28 x 28."
        ),
    ] = None
    shuffle_seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the order of examples in the shards.")
    ] = 1
    max_rejected: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="How many unusable examples may be left out.")
    ] = 0

    def to_config(self, images: ImageOptions) -> "DatasetConfig":
        """Return the configuration of preprocessing; raises BadUsage if the image size is malformed."""
        from pipeline.preprocess.stage import DatasetConfig

        return DatasetConfig(
            datasets=tuple(self.dataset),
            data_dir=self.data_dir,
            cache_dir=self.cache_dir or default_cache(),
            num_classes=self.num_classes,
            num_shards=self.num_shards,
            shuffle_seed=self.shuffle_seed,
            max_rejected=self.max_rejected,
            pictures=PictureOptions(images.image_column, images.label_column, parse_size(images.image_size)),
        )


@dataclass(frozen=True)
class RecipeOptions:
    """What is trained: a recipe, changed by a configuration file and by options."""

    recipe: RecipeName = None
    config: ConfigFile = None
    layers: Layers = None
    step: Annotated[
        str | None,
        typer.Option("--step", help="manual, autodiff, or compare (both in lockstep); by default as the recipe says."),
    ] = None
    seed: Seed = None


@dataclass(frozen=True)
class TrainingOptions:
    """How long and with which resources a recipe is trained."""

    num_steps: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Updates; by default as the recipe says.")
    ] = None
    window_mib: Annotated[
        int | None,
        typer.Option(
            min=1, max=2**30, help="MiB of images that a run shuffles together and holds in memory; 1024 by default."
        ),
    ] = None
    replicas: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Parts of a batch that are worked out side by side; by default 1."),
    ] = None

    def to_config(self, recipe: RecipeOptions) -> TrainingConfig:
        """Return the configuration of one run; raises BadUsage if the file or an option is not allowed."""
        flags = {
            "recipe": recipe.recipe,
            "layers": parse_layers(recipe.layers),
            "step": recipe.step,
            "seed": recipe.seed,
            "num_steps": self.num_steps,
            "window_mib": self.window_mib,
            "num_replicas": self.replicas,
        }
        return resolve_training(recipe.config, flags)

    def to_configs(self, recipe: RecipeOptions, seeds: str | None) -> list[TrainingConfig]:
        """Return a configuration for each of several seeds, or one if seeds is None.

        Raises BadUsage if the file or an option is not allowed, BadParameter if options exclude each other.
        """
        from pipeline.evaluate.seeds import parse_seeds

        if seeds is None:
            return [self.to_config(recipe)]
        if recipe.seed is not None:
            raise typer.BadParameter("give --seed or --seeds, not both")
        configs = [self.to_config(replace(recipe, seed=seed)) for seed in parse_seeds(seeds)]
        if configs[0].num_replicas > 1:
            raise typer.BadParameter("--seeds trains runs on one replica each: leave out --replicas or --seeds")
        return configs


@dataclass(frozen=True)
class CheckpointOptions:
    """When checkpoints are written, and how many are kept."""

    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**31 - 1,
            help="Steps between checkpoints, at the ends of chunks; 0 for none but when the run is broken off. By "
            "default one after each 30 seconds of training.",
        ),
    ] = None
    keep_checkpoints: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="How many checkpoints of a run stay, the newest.")
    ] = 2

    def to_policy(self) -> CheckpointPolicy:
        """Return the policy that training follows."""
        return CheckpointPolicy(self.checkpoint_every, self.keep_checkpoints)
