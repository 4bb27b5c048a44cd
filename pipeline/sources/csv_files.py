"""The CSV and TSV files of a data set: found in a folder by their splits, or named one by one."""

import re
from pathlib import Path
from typing import NamedTuple

from pipeline.sources.catalog import REQUIRED_SPLITS, PictureOptions
from pipeline.sources.split_files import FileKind, list_split_files
from pipeline.storage.places import Place

CSV_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
CSV = FileKind("CSV", ".csv", re.compile(r"\.[ct]sv(\.gz)?$"))


class CsvSource(NamedTuple):
    """A data set of CSV or TSV files: those of each split, in order."""

    name: str
    files: dict[str, tuple[Place, ...]]
    options: PictureOptions


def holds_csv_files(folder: Place) -> bool:
    """Return whether a folder has CSV files of a split; beside a tree of pictures they are ignored, as mere notes."""
    found = list_split_files(folder, CSV)
    if not any(found[split] for split in REQUIRED_SPLITS):
        return False
    classes = (folder / "train").glob("*") if isinstance(folder, Path) else ()
    return not any(isinstance(path, Path) and path.is_dir() for path in classes)


def is_emnist_csv(file: Place) -> bool:
    """Return whether a file has the name of one of EMNIST, whose images are transposed."""
    return file.name.lower().startswith("emnist")


def is_csv_file(place: Place) -> bool:
    """Return whether a file has the name of one."""
    return CSV.matches(place)
