"""The options of the commands that train, as dataclasses."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from model.recipes import TrainingConfig
from pipeline.cli.config import parse_layers, resolve_training
from pipeline.cli.options import ConfigFile, Layers, RecipeName, Seed
from pipeline.train.checkpoint_policy import CheckpointPolicy


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

        Raises:
            BadUsage: the file or an option is not allowed.
            BadParameter: the options exclude each other.
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
