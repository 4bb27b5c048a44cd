"""The options of the stages, as dataclasses."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import typer

from model.recipes import TrainingConfig
from pipeline.cli.config import parse_arrays, parse_layers, parse_size, resolve_trainings
from pipeline.cli.options import Baseline, ConfigFile, LayersOption, Name, RecipeName, Seed, local_option
from pipeline.sources.catalog import DEFAULT_DATASET, MAX_CLASSES, MAX_INTEGER, MAX_SHARDS, PictureOptions, ResizeMode
from pipeline.train.checkpoint_policy import CheckpointPolicy

if TYPE_CHECKING:
    from pipeline.preprocess.stage import DatasetConfig  # imports NumPy

Given = TypeVar("Given", str, list[str])
_SETTINGS: dict[str, Any] = TrainingConfig.model_json_schema()["properties"]
_LIMITS = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}


def setting_option(setting: str, option: str, help_text: str, *others: str) -> Any:
    """Return an option for a setting of `TrainingConfig`; its help lists choices or limits, which the model checks.

    `others` are further names of the option.
    """
    schema = _SETTINGS[setting]
    schema = schema.get("anyOf", [schema])[0]
    choices = schema.get("enum", [])
    limits = [f", {word} {schema[limit]:,.10g}" for limit, word in _LIMITS.items() if limit in schema]
    return typer.Option(
        option,
        *others,
        metavar="|".join(choices) or None,
        autocompletion=lambda: choices,
        help=f"{help_text}{''.join(limits)}; by default as the recipe says.",
    )


def _option_names(group: type) -> dict[str, str]:
    """Return the first name of each option of a dataclass of options, by field."""
    kinds: dict[str, Any] = {field.name: field.type for field in fields(group)}
    declared = {name: kind.__metadata__[0].default for name, kind in kinds.items()}  # the first name, or ...
    return {
        name: option if isinstance(option, str) else f"--{name.replace('_', '-')}" for name, option in declared.items()
    }


def choose_dataset(argument: Given | None, option: Given | None) -> Given | None:
    """Return the value of the argument or of --dataset; raises BadParameter if they differ."""
    if argument and option and argument != option:
        raise typer.BadParameter("give the data set as the argument DATASET or with --dataset, not another with each")
    return argument or option


@dataclass(frozen=True)
class DatasetChoice:
    """A data set of the workspace."""

    argument: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="A data set's id or its beginning; by default the only one.")
    ] = None
    option: Annotated[str | None, typer.Option("--dataset", help="The same as the argument DATASET.")] = None

    @property
    def name(self) -> str | None:
        """The id or its beginning; raises BadParameter as `choose_dataset` does."""
        return choose_dataset(self.argument, self.option)


@dataclass(frozen=True)
class ImageOptions:
    """How images are found in the sources and scaled, for formats that do not say so themselves."""

    HEADING: ClassVar = "Data"

    image_column: Annotated[str | None, typer.Option(help="Tables: the column of pictures; by default found out.")] = (
        None
    )
    label_column: Annotated[str | None, typer.Option(help="Tables: the column of labels; by default found out.")] = None
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Size that pictures must have, such as 28x28; by default that of the first one."
        ),
    ] = None
    arrays: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C,D",
            help="NumPy: the arrays of images and labels of train, then of test and validation if they are there; "
            "by default found out.",
        ),
    ] = None
    test_share: Annotated[
        float | None,
        typer.Option(help="Images of one split: the share held out as the test split, such as 0.2, by their content."),
    ] = None
    split_by: Annotated[
        str | None,
        typer.Option(help="Tables: the column that says of which split each row is, by train, test or validation."),
    ] = None
    transpose: Annotated[
        bool | None,
        typer.Option(
            "--transpose/--no-transpose",
            help="IDX, NumPy, CSV: the images are stored transposed; by default those of EMNIST are.",
        ),
    ] = None

    resize: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Size that pictures are scaled to, such as 28x28; by default they are not."),
    ] = None
    resize_mode: Annotated[
        ResizeMode | None,
        typer.Option(
            metavar="fit|pad|crop",
            help="How: fit changes the aspect ratio; pad (the default) adds background; crop cuts the edges off.",
        ),
    ] = None

    def to_pictures(self) -> PictureOptions:
        """Return the options for the sources; raises BadUsage if a size or the arrays are malformed."""
        size = parse_size(self.image_size)
        arrays = parse_arrays(self.arrays)
        resize = parse_size(self.resize, "--resize")
        return PictureOptions(
            self.image_column,
            self.label_column,
            size,
            arrays,
            self.test_share,
            self.transpose,
            resize,
            self.resize_mode,
            self.split_by,
        )


@dataclass(frozen=True)
class DatasetOptions:
    """Which sources are preprocessed, and how."""

    HEADING: ClassVar = "Data"

    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET",
            help="mnist-5k (embedded, the default), mnist, fashion-mnist, kmnist; a folder or URI of four IDX files; a "
            "folder of Parquet, CSV or TFRecord files by split, or TRAIN.csv,TEST.csv; a NumPy file, FILE.npz; a "
            "folder of images, SPLIT/CLASS/IMAGE. Several are joined.",
        ),
    ] = None
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="The same as the argument DATASET; may be given again.")
    ] = None
    data_dir: Annotated[
        str | None, typer.Option(help="A folder that holds the files of the known data set already.")
    ] = None
    cache_dir: Annotated[
        Path | None, local_option("FOLDER", "Where downloads are kept.", envvar="BACKBEAM_CACHE_DIR")
    ] = None
    num_classes: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_CLASSES, help="Classes of a folder's data set; by default as the labels show."),
    ] = None
    first_label: Annotated[
        int, typer.Option(min=0, max=255, help="Label of the first class of a folder's data set, such as 1.")
    ] = 0
    num_shards: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_SHARDS, help="Train shards; by default about 6.4 MB each: 8,192 images of 28 x 28."
        ),
    ] = None
    shuffle_seed: Annotated[
        int, typer.Option(min=0, max=MAX_INTEGER, help="Seed of the order of examples in the shards.")
    ] = 1
    max_rejected: Annotated[
        int, typer.Option(min=0, max=MAX_INTEGER, help="How many unusable examples may be left out.")
    ] = 0
    baseline: Baseline = None

    def to_config(self, images: ImageOptions) -> "DatasetConfig":
        """Return the configuration of preprocessing; raises BadUsage if the image size is malformed.

        Raises BadParameter as `choose_dataset` does.
        """
        from pipeline.preprocess.stage import DatasetConfig

        return DatasetConfig(
            datasets=tuple(choose_dataset(self.sources, self.dataset) or [DEFAULT_DATASET]),
            data_dir=self.data_dir,
            cache_dir=self.cache_dir,
            num_classes=self.num_classes,
            first_label=self.first_label,
            num_shards=self.num_shards,
            shuffle_seed=self.shuffle_seed,
            max_rejected=self.max_rejected,
            pictures=images.to_pictures(),
        )


@dataclass(frozen=True)
class RecipeOptions:
    """The recipe, and the configuration file and options that change it."""

    HEADING: ClassVar = "Training"

    recipe: RecipeName = None
    config: ConfigFile = None
    layers: LayersOption = None
    step: Annotated[
        str | None, setting_option("step", "--step", "How gradients are computed; compare takes both steps in lockstep")
    ] = None
    seed: Seed = None
    name: Name = None

    def check_name(self) -> str | None:
        """Return the name for a single run; raises BadUsage as `run_names.check_name`."""
        from pipeline.train.run_names import check_name

        return None if self.name is None else check_name(self.name)

    def name_runs(self, configs: Sequence[TrainingConfig], seeds: str | None) -> tuple[str, ...]:
        """Return a name for each run, or none; raises BadUsage as `run_names.name_runs`."""
        from pipeline.train.run_names import name_runs

        return name_runs(self.name, configs, seeds is not None)


@dataclass(frozen=True)
class TrainingOptions:
    """The settings of a recipe that options change. The fields are those of `TrainingConfig`, and `learning_rate`."""

    HEADING: ClassVar = "Training"

    learning_rate: Annotated[
        float | None,
        setting_option("weights_rate", "--learning-rate", "Learning rate of the weights and of the biases", "--eta"),
    ] = None
    weights_rate: Annotated[
        float | None, setting_option("weights_rate", "--weights-rate", "Learning rate of the weights alone")
    ] = None
    biases_rate: Annotated[
        float | None, setting_option("biases_rate", "--biases-rate", "Learning rate of the biases alone")
    ] = None
    schedule: Annotated[
        str | None,
        setting_option("schedule", "--rate-schedule", "How the rates change from the first step to the last"),
    ] = None
    momentum: Annotated[
        float | None, setting_option("momentum", "--momentum", "Factor of the velocity of the step before")
    ] = None
    weight_decay: Annotated[
        float | None,
        setting_option("weight_decay", "--weight-decay", "Decay of the weights, per step and unit of rate"),
    ] = None
    dropout: Annotated[
        float | None, setting_option("dropout", "--dropout", "Fraction of the hidden values that a step drops")
    ] = None
    batch_size: Annotated[int | None, setting_option("batch_size", "--batch-size", "Examples a step")] = None
    num_epochs: Annotated[
        float | None, setting_option("num_epochs", "--epochs", "Passes over the train split, instead of --num-steps")
    ] = None
    activation: Annotated[
        str | None, setting_option("activation", "--activation", "Function of every hidden layer")
    ] = None
    output: Annotated[str | None, setting_option("output", "--output", "Function of the last layer")] = None
    loss: Annotated[str | None, setting_option("loss", "--loss", "Loss of an example")] = None
    start: Annotated[str | None, setting_option("start", "--start", "How the starting parameters are drawn")] = None
    precision: Annotated[
        str | None,
        setting_option(
            "precision",
            "--precision",
            "How exactly a GPU multiplies matrices; tf32 is faster and rounds factors to 11 bits",
        ),
    ] = None
    num_steps: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Updates; by default as the recipe says.")
    ] = None
    window_mib: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2**30,
            help="MiB of images that a run shuffles together; it holds two such windows of a larger split in memory, "
            "and up to two shards for each of several replicas if that is more; 1024 by default.",
        ),
    ] = None
    num_replicas: Annotated[
        int | None,
        typer.Option(
            "--replicas", min=1, max=1024, help="Parts of a batch that are worked out side by side; by default 1."
        ),
    ] = None

    stack: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Networks of --seeds that one program trains, for a GPU; by default 1."),
    ] = None

    def to_config(self, recipe: RecipeOptions) -> TrainingConfig:
        """Return the configuration of one run; raises BadUsage if the file or an option is not allowed."""
        [config] = self.to_configs(recipe, None)
        return config

    def to_configs(self, recipe: RecipeOptions, seeds: str | None) -> list[TrainingConfig]:
        """Return a configuration for each of several seeds, or one if seeds is None.

        Raises BadUsage if the file or an option is not allowed, or options exclude each other.
        """
        from pipeline.evaluate.seeds import parse_seeds

        settings = asdict(recipe) | asdict(self) | {"layers": parse_layers(recipe.layers)}
        file = settings.pop("config")
        settings.pop("name")  # no setting: the run's id does not depend on it
        names = _option_names(RecipeOptions) | _option_names(TrainingOptions)
        return resolve_trainings(file, settings, parse_seeds(seeds) if seeds is not None else None, names)


@dataclass(frozen=True)
class CheckpointOptions:
    """When checkpoints are written, and how many are kept."""

    HEADING: ClassVar = "Training"

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
