"""Which split the files of a folder belong to, by their names and those of their folders."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import SPLIT_WORDS, SPLITS, PictureOptions
from pipeline.storage.places import Place

_WILDCARDS = ("*", "?")


class FileKind(NamedTuple):
    """Files of one format: their title and an example of a name in messages, and the names that they have."""

    title: str
    ending: str
    pattern: re.Pattern[str]

    def matches(self, place: Place) -> bool:
        """Return whether a file, not a hidden one, has such a name."""
        return not place.name.startswith(".") and self.pattern.search(place.name.lower()) is not None


def split_of(name: str) -> str | None:
    """Return the split that a name has the word of, such as mnist_train.csv; None if it has none or several."""
    words = {SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_WORDS}
    return words.pop() if len(words) == 1 else None


def list_split_files(folder: Place, kind: FileKind) -> dict[str, tuple[Place, ...]]:
    """List the files of a kind in a folder, else in the folders in it, by split, each sorted by its path.

    The key "" has the files of neither split.
    """
    files: list[Place] = []
    for pattern in ("*", "*/*"):
        files = files or [file for file in folder.glob(pattern) if kind.matches(file)]
    found: dict[str, list[Place]] = {split: [] for split in (*SPLITS, "")}
    for file in sorted(files, key=str):
        in_subfolder = str(file.parent) != str(folder)
        # The file's own name counts first: data/train-00000-of-00001.parquet, but train/part-0.parquet.
        split = split_of(file.name) or (split_of(file.parent.name) if in_subfolder else None)
        found[split or ""].append(file)
    return {split: tuple(places) for split, places in found.items()}


def find_split_files(folder: Place, kind: FileKind, options: PictureOptions) -> dict[str, tuple[Place, ...]]:
    """Find the files of a kind in a folder by split; those of one split, called train, if a share is to be held out.

    Raises BadInput if a split has none, or a file is of neither, BadUsage if there is a test split beside the share.
    """
    found = list_split_files(folder, kind)
    if options.test_share is not None:
        return {"train": _find_one_split(folder, found)}
    stray = found.pop("")
    if stray or not all(found.values()):
        names = ", ".join(file.name for file in stray[:3]) + (" ..." if len(stray) > 3 else "")
        problem = f"{names} is of neither split" if stray else "a split is missing"
        raise BadInput(
            f"{folder}: {problem}: expected {kind.title} files whose names have the word train or test, such as "
            f"train{kind.ending} and test-00000-of-00001{kind.ending}, or that are in folders of such names; or name "
            f"the files: --dataset TRAIN{kind.ending},TEST{kind.ending}; or one, with --test-share 0.2"
        )
    for file in (file for files in found.values() for file in files):
        check_is_file(file)
    return found


def _find_one_split(folder: Place, found: dict[str, tuple[Place, ...]]) -> tuple[Place, ...]:
    if found["test"]:
        raise BadUsage(
            f"--test-share: {folder} has a test split already, {found['test'][0].name}; to leave it out, name the "
            "other files: --dataset FILE"
        )
    if found["train"] and found[""]:
        raise BadInput(f"{folder}: {found[''][0].name} is not of the split of {found['train'][0].name}")
    for file in found["train"] or found[""]:
        check_is_file(file)
    return found["train"] or found[""]


def check_is_file(file: Place) -> None:
    """Raise BadInput for what is no file, such as a pipe, whose opening would wait for ever."""
    if isinstance(file, Path) and not file.is_file():
        raise BadInput(f"{file} is {'no file, nor a link to one' if file.exists() else 'missing'}")


def find_named_files(
    dataset: tuple[Place, ...], kind: FileKind, options: PictureOptions
) -> dict[str, tuple[Place, ...]]:
    """Find the files of two names, of the train split and of the test split: a file or a pattern such as train-*.csv.

    With a share to hold out, there is one name. Raises BadUsage for another number of names, BadInput if a pattern
    matches no file.
    """
    if options.test_share is not None and len(dataset) == 1:
        return {"train": expand_pattern(dataset[0])}
    if len(dataset) != len(SPLITS):
        raise BadUsage(
            f"--dataset {','.join(map(str, dataset))}: expected the two files TRAIN{kind.ending},TEST{kind.ending} or "
            f"patterns such as 'train-*{kind.ending},test-*{kind.ending}', or a folder that holds train*{kind.ending} "
            f"and test*{kind.ending}; or one file with --test-share 0.2"
        )
    return {split: expand_pattern(place) for split, place in zip(SPLITS, dataset, strict=True)}


def is_pattern(place: Place) -> bool:
    """Return whether a place names files by a pattern, such as train-*.csv, and not one file."""
    return any(wildcard in place.name for wildcard in _WILDCARDS) and not (isinstance(place, Path) and place.exists())


def expand_pattern(place: Place) -> tuple[Place, ...]:
    """Return the files that a place names, sorted; raises BadInput if a pattern matches none."""
    if not is_pattern(place):
        return (place,)
    entries: list[Place] = [*place.parent.glob("*")]
    files = tuple(sorted((file for file in entries if fnmatchcase(file.name, place.name)), key=str))
    if not files:
        raise BadInput(f"no file {place}")
    return files
