"""Find the IDX files of a data set in a folder or store, two for each split, and the names of its classes.

The customary names are MNIST's, with or without .gz, in any case, with dots or underscores for hyphens, and after a
prefix, as in emnist-letters-train-images-idx3-ubyte.gz. Several data sets of one folder differ in their prefixes.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from model.errors import BadInput
from pipeline.progress import warn
from pipeline.sources.catalog import FILE_NAMES, FILE_NAMES_OF, REQUIRED_SPLITS, SPLIT_WORDS, SPLITS
from pipeline.sources.split_files import HasTestSplit, read_validation_as_test
from pipeline.storage.files import read_range
from pipeline.storage.places import Place, list_once, place_of

_NAME = re.compile(
    r"((?P<prefix>.+)[-_.])?(?P<split>train|t10k|test|val|valid|validation)[-_.]"
    r"(?P<kind>images[-_.]idx3|labels[-_.]idx1)[-_.]ubyte(\.gz)?",
    re.IGNORECASE,
)
# Where the files are in the folder that is named: torchvision keeps them in MNIST/raw, EMNIST's archive in gzip.
_FOLDERS = ("raw", "gzip", "*/raw")
_SPLIT_WORDS = SPLIT_WORDS | {"t10k": "test"}
_MAX_MAPPING_BYTES = 2**16


class _Name(NamedTuple):
    """What a file name says: the data set's prefix in lower case, and the position in ALL_FILE_NAMES."""

    prefix: str
    position: int


def _parse_name(name: str) -> _Name | None:
    match = _NAME.fullmatch(name)
    if match is None or name.startswith("."):  # macOS leaves a ._NAME beside each file of a disk or archive
        return None
    split = SPLITS.index(_SPLIT_WORDS[match["split"].lower()])
    return _Name((match["prefix"] or "").lower(), 2 * split + match["kind"].lower().startswith("labels"))


def holds_idx_files(folder: Place) -> bool:
    """Return whether a folder has a file with the name of an IDX file.

    A store is listed only if none of the files has the first customary name. There, the folder may be one that
    `splits_off_prefix`.
    """
    if any(find_file(folder, name) for name in FILE_NAMES) or _list_named(folder):
        return True
    return not isinstance(folder, Path) and splits_off_prefix(folder)


def splits_off_prefix(place: Place) -> bool:
    """Return whether a place that does not exist is FOLDER/PREFIX, for IDX files of that prefix in the folder."""
    if place.exists() or place.is_dir() or (not isinstance(place, Path) and place.is_bucket):
        return False
    return bool(_with_prefix(place))


def _with_prefix(place: Place) -> list[Place]:
    return [file for file, name in _named(place.parent.glob("*")) if name.prefix == place.name.lower()]


def _named(files: Iterable[Place]) -> list[tuple[Place, _Name]]:
    parsed = ((file, _parse_name(file.name)) for file in files)
    return [
        (file, name) for file, name in parsed if name is not None and (not isinstance(file, Path) or file.is_file())
    ]


def _list_named(folder: Place) -> list[Place]:
    """List the files with customary names in a folder, else in those of _FOLDERS below it, in the order of names."""
    for patterns in (("*",), tuple(f"{name}/*" for name in _FOLDERS)):
        found: list[Place] = [file for pattern in patterns for file in folder.glob(pattern)]
        named = [file for file, _ in _named(found)]
        if named:
            return sorted(named, key=str)
    return []


def find_idx_files(folder: str | Place, test_share: float | None = None) -> tuple[Place, ...]:
    """Find the IDX files of a folder or URI by their customary names, with or without .gz: four, or six.

    They are in the order of ALL_FILE_NAMES, and without those of test if a share of train is to be held out as test
    split. folder may end in a prefix of the names, as in FOLDER/emnist-letters.

    Raises:
        BadInput: a file is missing, or there are several for one.
        HasTestSplit: there is a test split beside the one to be held out.
    """
    root = list_once(place_of(folder).absolute())  # workers may have another working directory
    files = _choose_files(root)
    if not files and splits_off_prefix(root):
        files = _with_prefix(root)
    candidates = [_distinct(files, position) for position in range(2 * len(SPLITS))]
    several = next((found for found in candidates if len(found) > 1), None)
    if several:
        listed = ", ".join(map(str, several[:10]))
        raise BadInput(f"{folder}: several candidates for one file: {listed}; keep one of them in the folder")
    pairs = {split: candidates[2 * number : 2 * number + 2] for number, split in enumerate(SPLITS)}
    found = {split: pair for split, pair in pairs.items() if any(pair)}
    if test_share is None:
        found = read_validation_as_test(found, folder)
    elif "test" in found:
        name = next(file.name for files in found["test"] for file in files)
        raise HasTestSplit(f"--test-share {test_share}: {folder} has a test split, {name}: leave out the option")
    required = REQUIRED_SPLITS if test_share is None else REQUIRED_SPLITS[:1]
    files_of = [
        (name, each)
        for split in SPLITS
        if split in required or split in found
        for name, each in zip(FILE_NAMES_OF[split], found.get(split, [[], []]), strict=True)
    ]
    missing = [name for name, each in files_of if not each]
    if missing:
        advice = "; --test-share 0.2 holds out a test split" if missing == [*FILE_NAMES_OF["test"]] else ""
        raise BadInput(
            f"{folder}: missing {', '.join(missing)} (each may end in .gz, and begin with a name){advice}"
            f"{_list_similar(files)}"
        )
    return tuple(each[0] for _, each in files_of)


def _list_similar(files: list[Place]) -> str:
    """Return, for a message, the IDX files of other names beside some, such as QMNIST's labels of eight numbers."""
    names = sorted({each.name for file in files[:1] for each in file.parent.glob("*") if "idx" in each.name.lower()})
    others = [name for name in names if _parse_name(name) is None and not name.startswith(".")]
    return f"; of other names or kinds are {', '.join(others[:4])}" if others else ""


def _choose_files(root: Place) -> list[Place]:
    """Return the files of the one data set in a folder; raises BadInput if there are several."""
    exact = [find_file(root, name) for name in FILE_NAMES]
    if not isinstance(root, Path) and all(exact):
        return [file for file in (*exact, *_find_validation(root)) if file]  # without listing a store
    files = _list_named(root)
    sets = {(str(file.parent), prefix): file for file in files for prefix in [_prefix_of(file)]}
    if len(sets) > 1 and all(exact):
        others = ", ".join(sorted(file.name for (_, prefix), file in sets.items() if prefix)[:10])
        warn(f"{root}: the four files with MNIST's own names are taken, not {others}; {root}/PREFIX names those")
        return [file for file in files if not _prefix_of(file)]
    if len(sets) > 1:
        names = sorted(f"{folder}/{prefix}".rstrip("/") for folder, prefix in sets)
        raise BadInput(f"{root}: several data sets: name one with --dataset, such as {', '.join(names[:10])}")
    return files


def _find_validation(folder: Place) -> list[Place | None]:
    """Return the files of a validation split that have customary names like MNIST's own; None where one is missing."""
    words = [word for word, split in SPLIT_WORDS.items() if split == "validation"]
    word = next((word for word in words if find_file(folder, f"{word}-images-idx3-ubyte")), words[0])
    return [find_file(folder, f"{word}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]


def _prefix_of(file: Place) -> str:
    name = _parse_name(file.name)
    return name.prefix if name else ""


def _distinct(files: list[Place], position: int) -> list[Place]:
    """Return the files for a position; of a file and its gzipped twin, the former, as torchvision keeps both."""
    found = [file for file, name in _named(files) if name.position == position]
    names = {file.name for file in found}
    return [file for file in found if file.name[-3:].lower() != ".gz" or file.name[:-3] not in names]


def find_file(folder: Place, name: str) -> Place | None:
    """Return the file of a name, gzipped or not, if there is one."""
    candidates = (folder / f"{name}{ending}" for ending in ("", ".gz"))
    return next((file for file in candidates if file.is_file()), None)


def is_emnist(file: str) -> bool:
    """Return whether a file has the name of one of EMNIST, whose images are transposed."""
    name = _parse_name(file)
    return name is not None and name.prefix.startswith("emnist")


def choose_transpose(requested: bool | None, has_emnist_name: bool, source_name: str) -> bool:
    """Return whether images are transposed: as the user requested, else if they are of EMNIST, with a message."""
    if requested is not None or not has_emnist_name:
        return bool(requested)
    warn(
        f"{source_name}: the images of EMNIST are stored transposed, and turned upright; --no-transpose leaves them so"
    )
    return True


class ClassMapping(NamedTuple):
    """What PREFIX-mapping.txt, which EMNIST has, says of the classes: the label of the first one, and their names."""

    first_label: int
    class_names: tuple[str, ...]


def read_mapping(images: Place) -> ClassMapping | None:
    """Read the mapping beside a file of images, if there is one.

    Its lines are a label and the codes of the characters of the class. Raises BadInput if they are anything else.
    """
    match = _NAME.fullmatch(images.name)
    if match is None or not match["prefix"]:
        return None
    place = _find_mapping(images.parent, f"{match['prefix']}-mapping.txt")
    if place is None:
        return None
    lines = read_range(place, 0, _MAX_MAPPING_BYTES).decode("utf-8-sig", errors="replace").splitlines()
    try:
        rows = [[int(field) for field in line.split()] for line in lines if line.strip()]
        named = {label: "/".join(map(_printable, codes)) for label, *codes in rows if codes}
    except ValueError as error:
        raise _bad_mapping(place, str(error)) from None
    first = min(named, default=0)
    if not 0 < len(named) == len(rows) == len(set(named.values())) or max(named) - first >= len(named) or first < 0:
        raise _bad_mapping(place, "labels are left out, without a code or repeated, or two classes have one name")
    return ClassMapping(first, tuple(named[label] for label in sorted(named)))


def _find_mapping(folder: Place, name: str) -> Place | None:
    """Return the file of a name, in any case; a store is listed only if there is none of the exact name."""
    if (folder / name).is_file():
        return folder / name
    found = (file for file in folder.glob("*") if file.name.lower() == name.lower() and file.is_file())
    return next(found, None)


def _printable(code: int) -> str:
    if not 0 <= code < 0x110000 or not chr(code).isprintable():
        raise ValueError(f"{code} is the code of no character that can be printed")
    return chr(code)


def _bad_mapping(place: Place, problem: str) -> BadInput:
    return BadInput(
        f"{place}: {problem}; expected a line for each class, such as '10 65': its label and character codes"
    )
