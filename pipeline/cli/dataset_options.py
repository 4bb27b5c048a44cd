"""The options of the commands that preprocess, as dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.config import parse_size
from pipeline.cli.options import local_option
from pipeline.sources.catalog import MAX_SHARDS, PictureOptions
from pipeline.storage.workspace import default_cache

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

    def to_picture_options(self) -> PictureOptions:
        """Return the options with the size parsed; raises BadUsage if it is not HEIGHTxWIDTH."""
        return PictureOptions(self.image_column, self.label_column, parse_size(self.image_size))


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
            pictures=images.to_picture_options(),
        )
