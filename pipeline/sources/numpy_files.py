"""Find the arrays of a data set in NumPy files: in one .npz file, or in files of one array each."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from model.errors import BadInput, BadUsage
from pipeline.progress import warn
from pipeline.sources.catalog import NUMPY_NAME, REQUIRED_SPLITS, SPLITS, PictureOptions
from pipeline.sources.git_lfs import refuse_pointer
from pipeline.sources.npy_format import ArrayFile, list_arrays
from pipeline.sources.split_files import FileKind, HasTestSplit, check_order, read_validation_as_test, split_of
from pipeline.storage.places import Place

# The names of images and labels of train, test and validation: those of Keras and of MedMNIST.
_NAMES = (
    ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"),
    ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"),
)
_ONE = (*(names[:2] for names in _NAMES), ("x", "y"), ("images", "labels"))  # of one split
_NUMBERS = (4, 6)  # of arrays, without and with a validation split
_WORDS = {  # in names of files of one array each, beside the word of a split
    **dict.fromkeys(("x", "image", "images", "img", "imgs"), "images"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets"), "labels"),
}
_NUMPY = FileKind("NumPy", ".npz", NUMPY_NAME)
EXAMPLE = "FILE.npz with the arrays x_train, y_train, x_test and y_test"


class NumpySource(NamedTuple):
    """A data set of arrays: images and labels of train, then of test, then of validation if there is one.

    Without those of test if a test split is held out.
    """

    name: str
    arrays: tuple[ArrayFile, ...]
    options: PictureOptions


def holds_numpy_file(folder: Place) -> bool:
    """Return whether a folder has a .npz file, or files of one array each whose names say the split and what it is."""
    files = _list_files(folder)
    return any(map(_is_archive, files)) or "train" in _pair_by_name(files)


def _list_files(folder: Place) -> list[Place]:
    found = (file for file in folder.glob("*") if _NUMPY.matches(file))
    return sorted((file for file in found if not isinstance(file, Path) or file.is_file()), key=str)


def _is_archive(file: Place) -> bool:
    return file.name.lower().endswith(".npz")


def find_in_folder(name: str, folder: Place, options: PictureOptions) -> NumpySource:
    """Return the source of the only .npz file of a folder, else of files of one array each, found by their names.

    Raises BadInput if there are others, HasTestSplit if there is a test split beside one held out, and as for a file.
    """
    files = _list_files(folder)
    archives = list(filter(_is_archive, files))
    if len(archives) == 1:
        return NumpySource(name, _find_arrays(archives[0], options), options)
    pairs = _pair_by_name(files)
    if options.test_share is None:
        pairs = read_validation_as_test(pairs, folder)
    elif "test" in pairs:
        found = f"{folder} has a test split, {pairs['test'][0].name}"
        raise HasTestSplit(f"--test-share {options.test_share}: {found}: leave out the option")
    required = REQUIRED_SPLITS if options.test_share is None else REQUIRED_SPLITS[:1]
    if not pairs.keys() >= {*required}:
        listed = ", ".join(file.name for file in files[:10])
        raise BadInput(
            f"{folder}: {len(files)} NumPy files ({listed}): name one with --dataset {folder}/FILE.npz; or, if each "
            "holds one array, four with commas between them: TRAIN_IMAGES.npz,TRAIN_LABELS.npz,TEST_IMAGES.npz,"
            "TEST_LABELS.npz"
        )
    if options.arrays is not None:
        raise BadUsage(f"--arrays names the arrays of one .npz file, and {folder} has a file for each array")
    chosen = [file for pair in pairs.values() for file in pair]
    others = [file.name for file in files if file not in chosen]
    if others:
        warn(f"{folder}: not read, as their names do not say a split and images or labels of it: {', '.join(others)}")
    return NumpySource(name, tuple(map(_only_array, chosen)), options)


def _pair_by_name(files: list[Place]) -> dict[str, tuple[Place, Place]]:
    """Return the files of images and of labels of each split, as kmnist-train-imgs.npz; not of one with several."""
    found: dict[tuple[str | None, str], list[Place]] = {}
    for file in files:
        kinds = {_WORDS[word] for word in re.split(r"[^a-z]+", file.name.lower()) if word in _WORDS}
        if len(kinds) == 1:
            found.setdefault((split_of(file.name), kinds.pop()), []).append(file)
    pairs = {split: [found.get((split, kind), []) for kind in ("images", "labels")] for split in SPLITS}
    return {
        split: (images[0], labels[0]) for split, (images, labels) in pairs.items() if len(images) == len(labels) == 1
    }


def find_in_files(name: str, files: tuple[Place, ...], options: PictureOptions) -> NumpySource:
    """Return the source of a .npz file, or of files of one array each.

    Raises BadInput if a file or an array is missing, BadUsage if there is another number of them than options say.
    """
    listed = ",".join(map(str, files))
    if len(files) == 1 and _is_archive(files[0]):
        _check_file(files[0])
        return NumpySource(name, _find_arrays(files[0], options), options)
    if len(files) not in (_NUMBERS if options.test_share is None else (2,)):
        problem = HasTestSplit if len(files) in _NUMBERS else BadUsage
        raise problem(
            f"--dataset {listed}: expected {EXAMPLE}, or four files of one array each: "
            "TRAIN_IMAGES.npy,TRAIN_LABELS.npy,TEST_IMAGES.npy,TEST_LABELS.npy; and two of validation, if there are "
            "any; or, with --test-share 0.2, two: IMAGES.npy,LABELS.npy"
        )
    if options.arrays is not None:
        raise BadUsage(f"--arrays names the arrays of one .npz file, and --dataset names {len(files)} files")
    _check_order([file.name for file in files], "--dataset")
    return NumpySource(name, tuple(map(_only_array, files)), options)


def _check_file(place: Place) -> None:
    if not place.is_file():
        raise BadInput(f"no file {place}")
    refuse_pointer(place)


def _only_array(place: Place) -> ArrayFile:
    _check_file(place)
    if not _is_archive(place):
        return ArrayFile(place, None)
    names = list_arrays(place)
    if len(names) != 1:
        raise BadInput(f"{place}: {len(names)} arrays ({', '.join(names[:10])}), expected one")
    return ArrayFile(place, names[0])


def _find_arrays(place: Place, options: PictureOptions) -> tuple[ArrayFile, ...]:
    """Find the arrays of a .npz file: those of the given names, else of customary ones.

    Raises:
        BadInput: there are none of customary names.
        BadUsage: a requested one is missing, or their number is that of another number of splits.
        HasTestSplit: there is a test split beside the one to be held out.
    """
    refuse_pointer(place)
    names = list_arrays(place)
    if options.arrays is not None:
        return _find_requested(place, names, options.arrays, options.test_share)
    by_lower_case = {name.lower(): name for name in names}
    if options.test_share is None:
        chosen = next((found for each in _NAMES if len(found := _choose_names(each, by_lower_case, place)) > 2), ())
    else:
        chosen = _choose_undivided(by_lower_case, place, options.test_share)
    if not chosen:
        one = next((each for each in _ONE if by_lower_case.keys() >= {*each}), ())
        advice = f"; {', '.join(one)} are of one split: --test-share 0.2 holds out a test split" if one else ""
        raise BadInput(
            f"{place}: its arrays are {', '.join(names[:20]) or 'none'}; expected {', '.join(_NAMES[0][:4])}, or "
            f"{', '.join(_NAMES[1][:4])}; or name them: --arrays TRAIN_IMAGES,TRAIN_LABELS,TEST_IMAGES,TEST_LABELS"
            f"{advice}"
        )
    others = [name for name in names if name.lower() not in chosen]
    if others:
        warn(f"{place}: the arrays {', '.join(others[:10])} are not used")
    return tuple(ArrayFile(place, by_lower_case[name]) for name in chosen)


def _choose_names(usual: tuple[str, ...], there_are: Collection[str], place: Place) -> tuple[str, ...]:
    """Return the usual names of images and labels of those splits that have both, train first; empty without train."""
    pairs = {split: usual[2 * number : 2 * number + 2] for number, split in enumerate(SPLITS)}
    found = {split: pair for split, pair in pairs.items() if all(name in there_are for name in pair)}
    if "train" not in found:
        return ()
    return tuple(name for pair in read_validation_as_test(found, place).values() for name in pair)


def _choose_undivided(there_are: Collection[str], place: Place, test_share: float) -> tuple[str, ...]:
    """Return the usual names of train, and of validation if there are any; raises HasTestSplit if there are of test."""
    for each in _NAMES:
        if {*each[:4]} <= {*there_are}:
            raise HasTestSplit(
                f"--test-share {test_share}: {place} has a test split, {each[2]}: leave out the option, or name the "
                "arrays to split: --arrays IMAGES,LABELS"
            )
        if {*each[:2], *each[4:]} <= {*there_are}:
            return (*each[:2], *each[4:])
    return next((each for each in _ONE if {*each} <= {*there_are}), ())


def _find_requested(
    place: Place, names: list[str], requested: tuple[str, ...], test_share: float | None
) -> tuple[ArrayFile, ...]:
    missing = [name for name in requested if name not in names]
    if missing:
        listed = ", ".join(names[:20]) or "none"
        raise BadUsage(f"--arrays: {place} has no array {missing[0]!r}; there are: {listed}")
    if len(requested) == 2 and test_share is None:
        raise BadUsage(f"--arrays {','.join(requested)}: one split, of which --test-share 0.2 holds out a test split")
    if len(requested) != 2 and test_share is not None:
        raise HasTestSplit(f"--test-share {test_share}: --arrays names {len(requested)} arrays, expected IMAGES,LABELS")
    _check_order(requested, "--arrays")
    return tuple(ArrayFile(place, name) for name in requested)


def _check_order(names: Sequence[str], option: str) -> None:
    """Raise BadUsage if the names of several splits have the words of other splits than their places mean."""
    if len(names) in _NUMBERS:
        check_order(names, [split for split in SPLITS for _ in range(2)][: len(names)], option)
