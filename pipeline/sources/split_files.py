"""Which split the files of a folder belong to, by their names and those of their folders."""

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from model.errors import BadInput, BadUsage
from pipeline.progress import warn
from pipeline.sources.catalog import REQUIRED_SPLITS, SPLIT_WORDS, SPLITS, InapplicableOption, PictureOptions
from pipeline.storage.places import Place

_WILDCARDS = ("*", "?")
T = TypeVar("T")  # the kind of a source, or what a split has
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


def list_files(folder: Place, kind: FileKind) -> tuple[Place, ...]:
    """List the files of a kind in a folder, else in the folders in it, sorted by their paths.

    The folders may have such names too, as those that Spark writes.
    """
    files: list[Place] = []
    for pattern in ("*", "*/*"):
        found = (file for file in folder.glob(pattern) if kind.matches(file))
        files = files or [file for file in found if not (isinstance(file, Path) and file.is_dir())]
    return tuple(sorted(files, key=str))


def list_split_files(folder: Place, kind: FileKind) -> dict[str, tuple[Place, ...]]:
    """List the files of a kind in a folder, else in the folders in it, by split, each sorted by its path.

    The key "" has the files of no split.
    """
    found: dict[str, list[Place]] = {split: [] for split in (*SPLITS, "")}
    for file in list_files(folder, kind):
        in_subfolder = str(file.parent) != str(folder)
        # The file's own name counts first: data/train-00000-of-00001.parquet, but train/part-0.parquet.
        split = split_of(file.name) or (split_of(file.parent.name) if in_subfolder else None)
        found[split or ""].append(file)
    return {split: tuple(places) for split, places in found.items()}


def holds_split_files(folder: Place, kind: FileKind) -> bool:
    """Return whether a folder has files of a kind; beside a tree of pictures, those of no split are mere notes."""
    found = list_split_files(folder, kind)
    return any(found[split] for split in SPLITS) or (bool(found[""]) and not holds_classes(folder))


def holds_classes(folder: Place) -> bool:
    """Return whether a folder is a tree of pictures: whether there are visible folders in its train folder."""
    return isinstance(folder, Path) and (folder / "train").is_dir() and holds_folders(folder / "train")


def holds_folders(folder: Path) -> bool:
    """Return whether there are visible folders in a folder."""
    return any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir())


def read_validation_as_test(found: dict[str, T], source: object) -> dict[str, T]:
    """Return what each split has, without splits that have nothing.

    If that is train and validation alone, validation becomes the test split, with a message.
    """
    splits = {split: each for split, each in found.items() if each}
    if "train" not in splits or "test" in splits or "validation" not in splits:
        return splits
    warn(f"{source}: there is no test split, so the validation split is read as the test split")
    return {"train": splits["train"], "test": splits["validation"]}


def check_order(names: Iterable[str], splits: Iterable[str], option: str) -> None:
    """Raise BadUsage if one of the names of several splits has the word of another split than its place means.

    With two splits, if all have or that of train has: a part of the files of train may be taken for testing.
    """
    pairs = list(zip(names, splits, strict=True))
    wrong = [(name, split) for name, split in pairs if split_of(name) not in (None, split)]
    order = [split for split in SPLITS if split in dict(pairs).values()]
    if not wrong:
        return
    name, split = wrong[0]
    if split == "train" or len(order) > len(REQUIRED_SPLITS) or len(wrong) == len(pairs):
        raise BadUsage(f"{option}: {name} is in the place of the {split} split; the order is {', '.join(order)}")


def has_no_labels(file: Place, label: str, first_file: Place) -> BadInput:
    """Return the error for a file without the column of labels that the first one has, as test files of contests."""
    return BadInput(
        f"{file}: it has no labels: no column {label!r}, as {first_file} has; a test split needs them; to hold out one "
        f"of the file that has them, give --dataset {first_file} --test-share 0.2"
    )


def find_split_files(folder: Place, kind: FileKind, test_share: float | None) -> dict[str, tuple[Place, ...]]:
    """Find the files of a kind in a folder by split; none of test if a test split is to be held out.

    Raises BadInput if train or test has none, or a file is of no split, HasTestSplit if there is a test split beside
    one held out.
    """
    found = list_split_files(folder, kind)
    _check_one_dataset(folder, found)
    stray = found.pop("")
    if test_share is not None:
        if found["test"]:
            raise HasTestSplit(
                f"--test-share {test_share}: {folder} has a test split, {found['test'][0].name}: leave out the option, "
                f"or name the files to split: --dataset {[*found['train'], f'{folder}/TRAIN{kind.ending}'][0]}"
            )
        if not found["train"]:
            found["train"] = stray
            stray = ()
        found = {split: files for split, files in found.items() if files}
    else:
        found = read_validation_as_test(found, folder)
    required = REQUIRED_SPLITS if test_share is None else REQUIRED_SPLITS[:1]
    if stray or not found.keys() >= {*required}:
        names = ", ".join(file.name for file in stray[:3]) + (" ..." if len(stray) > 3 else "")
        problem = f"{names} is of no split" if stray else "a split is missing"
        raise BadInput(
            f"{folder}: {problem}: expected {kind.title} files whose names have the word train, test or validation, "
            f"such as train{kind.ending} and test-00000-of-00001{kind.ending}, or that are in folders of such names; "
            f"or name the files: --dataset TRAIN{kind.ending},TEST{kind.ending}, or with one split --dataset "
            f"TRAIN{kind.ending} --test-share 0.2, or --split-by COLUMN if a column says the splits"
        )
    for file in (file for files in found.values() for file in files):
        check_is_file(file)
    return found


def _check_one_dataset(folder: Place, found: dict[str, tuple[Place, ...]]) -> None:
    """Raise BadInput if a folder in it has both a train and a test split, and another one has some, too."""
    parents = [{str(file.parent) for file in found[split]} for split in REQUIRED_SPLITS]
    whole = sorted(set.intersection(*parents))
    others = sorted(set.union(*parents) - {*whole[:1]})
    if whole and others:
        raise BadInput(
            f"{folder} holds several data sets: {whole[0]} has a train and a test split, and there are others in "
            f"{others[0]}: name one, --dataset {whole[0]}, or join them: --dataset {whole[0]} --dataset {others[0]}"
        )


def find_folder_source(make: MakeSource[T], kind: FileKind, name: str, folder: Place, options: PictureOptions) -> T:
    """Return the source of the files of a kind in a folder; raises as `find_split_files`.

    If a column says the splits, all files are of train until they are scanned.
    """
    if options.split_by is not None:
        files = list_files(folder, kind)
        for file in files:
            check_is_file(file)
        return make(name, {"train": files}, options)
    return make(name, find_split_files(folder, kind, options.test_share), options)


def find_named_source(
    make: MakeSource[T], kind: FileKind, name: str, files: tuple[Place, ...], options: PictureOptions
) -> T:
    """Return the source of files that --dataset names one by one; raises as `find_named_files`.

    If a column says the splits, there may be any number of them, of train until they are scanned.
    """
    if options.split_by is not None:
        named = dict.fromkeys(file for place in files for file in expand_pattern(place))
        return make(name, {"train": tuple(named)}, options)
    return make(name, find_named_files(files, kind, options.test_share), options)


def check_is_file(file: Place) -> None:
    """Raise BadInput for what is no file, such as a pipe, whose opening would wait for ever."""
    if isinstance(file, Path) and not file.is_file():
        raise BadInput(f"{file} is {'no file, nor a link to one' if file.exists() else 'missing'}")


def find_named_files(
    dataset: tuple[Place, ...], kind: FileKind, test_share: float | None
) -> dict[str, tuple[Place, ...]]:
    """Find the files of names, each a file or a pattern such as train-*.csv: of train, test and perhaps validation.

    If a test split is to be held out, there is one name, of train. Raises BadUsage for another number of names or
    another order, BadInput if a pattern matches no file.
    """
    splits: tuple[str, ...] = REQUIRED_SPLITS if test_share is None else REQUIRED_SPLITS[:1]
    if test_share is None and len(dataset) == len(SPLITS):
        splits = SPLITS
    if len(dataset) != len(splits):
        listed = ",".join(map(str, dataset))
        if test_share is not None:
            problem = HasTestSplit if len(dataset) in (len(REQUIRED_SPLITS), len(SPLITS)) else BadUsage
            raise problem(f"--test-share {test_share}: --dataset {listed} names {len(dataset)} files, expected one")
        raise BadUsage(
            f"--dataset {listed}: expected the two files TRAIN{kind.ending},TEST{kind.ending}, a third of validation "
            f"after them if there is one, or patterns such as 'train-*{kind.ending},test-*{kind.ending}', or a folder "
            f"that holds train*{kind.ending} and test*{kind.ending}; --test-share 0.2 splits one file, and so does "
            "--split-by COLUMN where a column says the splits"
        )
    if test_share is None:
        check_order((file.name for file in dataset), splits, "--dataset")
    return {split: expand_pattern(place) for split, place in zip(splits, dataset, strict=True)}


def is_pattern(place: Place) -> bool:
    """Return whether a place names files by a pattern, such as train-*.csv, and not one file."""
    return any(wildcard in place.name for wildcard in _WILDCARDS) and not (isinstance(place, Path) and place.exists())


def expand_pattern(place: Place) -> tuple[Place, ...]:
    """Return the files that a place names, sorted; raises BadInput if a pattern matches none, or what is no file."""
    if not is_pattern(place):
        return (place,)
    entries: list[Place] = [*place.parent.glob("*")]
    files = tuple(sorted((file for file in entries if fnmatchcase(file.name, place.name)), key=str))
    if not files:
        raise BadInput(f"no file {place}")
    for file in files:
        check_is_file(file)
    return files
