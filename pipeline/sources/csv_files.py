"""The CSV and TSV files of a data set: found in a folder by their splits, or named one by one."""

from typing import NamedTuple

from pipeline.sources.catalog import CSV_NAME, REQUIRED_SPLITS, PictureOptions
from pipeline.sources.split_files import FileKind, holds_classes, list_split_files
from pipeline.storage.places import Place

CSV = FileKind("CSV", ".csv", CSV_NAME)


class CsvSource(NamedTuple):
    """A data set of CSV or TSV files: those of each split, in order."""

    name: str
    files: dict[str, tuple[Place, ...]]
    options: PictureOptions


def holds_csv_files(folder: Place) -> bool:
    """Return whether a folder has CSV files of a split; beside a tree of pictures they are ignored, as mere notes."""
    found = list_split_files(folder, CSV)
    return any(found[split] for split in REQUIRED_SPLITS) and not holds_classes(folder)


def holds_undivided_csv(folder: Place) -> bool:
    """Return whether a folder has CSV files itself, of any names: a test split may be held out from them."""
    return any(CSV.matches(file) for file in folder.glob("*")) and not holds_classes(folder)


def is_emnist_csv(file: Place) -> bool:
    """Return whether a file has the name of one of EMNIST, whose images are transposed."""
    return file.name.lower().startswith("emnist")


def is_csv_file(place: Place) -> bool:
    """Return whether a file has the name of one."""
    return CSV.matches(place)
