"""The columns of files that are to be predicted: those that the user names, else those of the data set."""

from collections.abc import Collection
from typing import NamedTuple

from pipeline.sources.catalog import PictureOptions


class NamedColumns(NamedTuple):
    """The columns, features or arrays of images and of labels that the user names, and the options of the data set.

    dataset is None if nothing says by which options the data set was read.
    """

    image: str | None = None
    label: str | None = None
    dataset: PictureOptions | None = PictureOptions()

    def find(self, names: Collection[str]) -> PictureOptions:
        """Return the columns of a file with these columns; those of the data set count only where the file has them."""
        known = self.dataset or PictureOptions()

        def existing(column: str | None) -> str | None:
            return column if column in names else None

        image = self.image or existing(known.image_column)
        label = self.label or existing(known.label_column)
        return PictureOptions(image, label, split_by=existing(known.split_by))
