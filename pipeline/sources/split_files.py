"""Which split the files of a folder belong to, by their names and those of their folders."""

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import SPLIT_WORDS, SPLITS, InapplicableOption, PictureOptions
from pipeline.storage.places import Place

_WILDCARDS = ("*", "?")
T = TypeVar("T")  # the kind of a source
MakeSource: TypeAlias = Callable[[str, dict[str, tuple[Place, ...]], PictureOptions], T]


class HasTestSplit(InapplicableOption):
    """A test split is to be held out from a source that has one."""

    fields = ("test_share",)
    reason = "it has a test split"


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


def find_split_files(folder: Place, kind: FileKind, test_share: float | None) -> dict[str, tuple[Place, ...]]:
    """Find the files of a kind in a folder by split; only of train if a test split is to be held out.

    Raises BadInput if a split has none, or a file is of neither, HasTestSplit if one is to be held out.
    """
    found = list_split_files(folder, kind)
    stray = found.pop("")
    if test_share is not None:
        if found["test"]:
            raise HasTestSplit(
                f"--test-share {test_share}: {folder} has a test split, {found['test'][0].name}: leave out the option, "
                f"or name the files to split: --dataset {folder}/TRAIN{kind.ending}"
            )
        found = {"train": found["train"] or stray}
        stray = ()
    if stray or not all(found.values()):
        names = ", ".join(file.name for file in stray[:3]) + (" ..." if len(stray) > 3 else "")
        problem = f"{names} is of neither split" if stray else "a split is missing"
        raise BadInput(
            f"{folder}: {problem}: expected {kind.title} files whose names have the word train or test, such as "
            f"train{kind.ending} and test-00000-of-00001{kind.ending}, or that are in folders of such names; or name "
            f"the files: --dataset TRAIN{kind.ending},TEST{kind.ending}, or with one split --dataset "
            f"TRAIN{kind.ending} --test-share 0.2"
        )
    for file in (file for files in found.values() for file in files):
        check_is_file(file)
    return found


def find_folder_source(make: MakeSource[T], kind: FileKind, name: str, folder: Place, options: PictureOptions) -> T:
    """Return the source of the files of a kind in a folder; raises as `find_split_files`."""
    return make(name, find_split_files(folder, kind, options.test_share), options)


def find_named_source(
    make: MakeSource[T], kind: FileKind, name: str, files: tuple[Place, ...], options: PictureOptions
) -> T:
    """Return the source of files that --dataset names one by one; raises as `find_named_files`."""
    return make(name, find_named_files(files, kind, options.test_share), options)


def check_is_file(file: Place) -> None:
    """Raise BadInput for what is no file, such as a pipe, whose opening would wait for ever."""
    if isinstance(file, Path) and not file.is_file():
        raise BadInput(f"{file} is {'no file, nor a link to one' if file.exists() else 'missing'}")


def find_named_files(
    dataset: tuple[Place, ...], kind: FileKind, test_share: float | None
) -> dict[str, tuple[Place, ...]]:
    """Find the files of names, each a file or a pattern such as train-*.csv: of train and test, or of train alone.

    Raises BadUsage for another number of names, BadInput if a pattern matches no file.
    """
    splits = SPLITS if test_share is None else SPLITS[:1]
    if len(dataset) != len(splits):
        listed = ",".join(map(str, dataset))
        if test_share is not None:
            problem = HasTestSplit if len(dataset) == len(SPLITS) else BadUsage
            raise problem(f"--test-share {test_share}: --dataset {listed} names {len(dataset)} files, expected one")
        raise BadUsage(
            f"--dataset {listed}: expected the two files TRAIN{kind.ending},TEST{kind.ending} or patterns such as "
            f"'train-*{kind.ending},test-*{kind.ending}', or a folder that holds train*{kind.ending} and "
            f"test*{kind.ending}; --test-share 0.2 splits one file"
        )
    return {split: expand_pattern(place) for split, place in zip(splits, dataset, strict=True)}


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
