"""A directory tree of images as a source: SPLIT/CLASS/IMAGE, ordered by class folder, then by file name.

Class folders are in the order of their names, or of their numbers if all are numbers. With a share to hold out, the
tree has one split: train/CLASS/IMAGE or CLASS/IMAGE.

The identity of a split is the digest of each image's path in the tree, where the split's folder is called by its
name, and content. Hidden files and those of IGNORED are no part of the tree; any other file in a class folder must be
an image, whatever its name. What cannot be read there (a link to nothing, a FIFO, a file that the user may not open) is
an example that is rejected.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from model.errors import BadInput
from pipeline.progress import warn
from pipeline.sources.blocks import (
    BLOCK_BYTES,
    ClassCount,
    SourceInfo,
    SourceScan,
    SplitScan,
    changed_since_scan,
    choose_class_names,
)
from pipeline.sources.catalog import REQUIRED_SPLITS, SPLIT_WORDS, SPLITS, ImageFolderSource, PictureOptions
from pipeline.sources.found_layout import describe_found
from pipeline.sources.held_out import with_held_out
from pipeline.sources.image_blocks import MAX_ENCODED_BYTES, EncodedImage, EncodedRange, FormatFinder
from pipeline.sources.image_files import ImageFile, cut_tasks, join_files, read_tasks
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.scan_tasks import MapTasks, map_here
from pipeline.sources.split_files import HasTestSplit, holds_folders, read_validation_as_test, split_of
from pipeline.storage.files import digest_of, file_digest, read_start
from pipeline.storage.places import Place
from pipeline.storage.workspace import is_workspace

MAX_RANGE_FILES = 1024
_DIGEST_BYTES = 8  # of a digest, are enough to detect that a file has changed
# What systems and programs leave in folders: archives of macOS, network disks, ext file systems, Windows; hidden files
# are ignored too, such as .DS_Store and .ipynb_checkpoints.
IGNORED = frozenset({"__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini"})


class _PackedFiles(NamedTuple):
    """Image files in columns, with only the beginning of each digest."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    sizes: tuple[int, ...]
    digests: bytes
    problems: dict[int, str]  # by position

    @classmethod
    def of(cls, files: tuple[ImageFile, ...]) -> "_PackedFiles":
        """Pack files."""
        paths, labels, sizes, digests, problems = zip(*files, strict=True)
        start = bytes.fromhex("".join(digest[: 2 * _DIGEST_BYTES] for digest in digests))
        found = {position: problem for position, problem in enumerate(problems) if problem}
        return cls(paths, labels, sizes, start, found)

    def unpack(self) -> tuple[ImageFile, ...]:
        """Return the files."""
        digests = self.digests.hex(",", _DIGEST_BYTES).split(",")
        columns = zip(self.paths, self.labels, self.sizes, digests, strict=True)
        return tuple(ImageFile(*row, self.problems.get(position, "")) for position, row in enumerate(columns))


@dataclass(frozen=True)
class FilesRange(EncodedRange):
    """Consecutive files of a split, of the tree with that root.

    It is pickled in columns: Beam compresses what it sends to workers, several times, which for small pictures took as
    long as decoding them.
    """

    root: Path
    files: tuple[ImageFile, ...]  # for workers, with only the beginning of each digest

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields with packed files."""
        return self.__dict__ | {"files": _PackedFiles.of(self.files)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpack the files."""
        self.__dict__.update(state | {"files": state["files"].unpack()})

    def read_images(self) -> Iterator[list[EncodedImage]]:
        """Yield all images at once; raises BadInput if a file has changed since the scan."""
        root = str(self.root)
        yield [
            EncodedImage(
                index, file.path, "image", _read_unchanged(f"{root}/{file.path}", file), file.label, file.problem
            )
            for index, file in enumerate(self.files, self.start)
        ]


def _holds_splits(folder: Place) -> bool:
    if not isinstance(folder, Path) or not _find_split(folder, "train"):
        return False
    return any(_find_split(folder, split) for split in SPLITS[1:])


def _find_split(folder: Path, split: str, may_be_class: bool = False) -> Path | None:
    """Return the folder of a split, called by one of its words; raises BadInput if there are several.

    If no folder is called by the word of a split, names that have one count, such as seg_train, of folders of folders.
    With may_be_class, a folder of files alone is none: in CLASS/IMAGE, a class may have such a name too.
    """
    named = {path: SPLIT_WORDS.get(path.name.lower()) for path in folder.iterdir()}
    if not any(split and path.is_dir() for path, split in named.items()):
        named = {path: split_of(path.name) if _may_be_split(path) else None for path in named}
    found = [path for path in named if named[path] == split and path.is_dir()]
    found = [path for path in found if not (may_be_class and _is_class(path))]
    if len(found) > 1:
        raise BadInput(f"{folder}: several folders of one split: {', '.join(sorted(map(str, found)))}; keep one")
    return found[0] if found else None


def _may_be_split(path: Path) -> bool:
    """Return whether a path, whose name has the word of a split beside others, is a folder of class folders."""
    is_named = split_of(path.name) is not None and not path.name.startswith(".")
    return is_named and path.is_dir() and holds_folders(path) and not (_is_class(path) or is_workspace(path))


def _is_class(folder: Path) -> bool:
    visible = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in IGNORED]
    return bool(visible) and not any(path.is_dir() for path in visible)


def _find(name: str, folder: Place, options: PictureOptions) -> ImageFolderSource:
    return ImageFolderSource(name, Path(str(folder)), options)  # in no store: see above


def scan(
    source: ImageFolderSource, num_classes: ClassCount, first_label: int = 0, map_tasks: MapTasks = map_here
) -> SourceScan:
    """Read every file of a tree; raises as `source_lookup.scan_source`."""
    folders = _list_splits(source.folder, source.options.test_share is not None)
    class_names = _list_classes(folders)
    listed = {split: list(_list_files(source.folder, split, class_names, path)) for split, path in folders.items()}
    for split, folder in folders.items():
        if not listed[split]:
            raise BadInput(f"{folder}: the split is empty: expected images in {folder.name}/CLASS/")
    tasks = {split: cut_tasks(source.folder, source.options, files) for split, files in listed.items()}
    found = read_tasks([task for each in tasks.values() for task in each], map_tasks)
    finder = FormatFinder(source.options)
    splits = dict[str, SplitScan]()
    for split, folder in folders.items():
        files = tuple(join_files(tasks[split], found, finder))
        image_size = finder.size(str(source.folder))  # the train split is the first, so its images decide
        ranges = tuple(cut_ranges(split, source.folder, files))
        prefix = f"{folder.relative_to(source.folder).as_posix()}/" if folder != source.folder else ""
        splits[split] = SplitScan(ranges, image_size, (_identify(split, prefix, files, finder.identity),))
    names = choose_class_names(class_names, set(), num_classes, source.name, first_label)
    return SourceScan(splits, names, finder.channel, resize=finder.resize)


def _list_splits(folder: Path, is_one: bool) -> dict[str, Path]:
    """Return the folders of the splits; of a train split that is divided later, without one of test.

    Raises HasTestSplit if a tree that shall be divided has a test split.
    """
    found = {split: path for split in SPLITS if (path := _find_split(folder, split, is_one))}
    if not is_one:
        missing = {split: folder / split for split in REQUIRED_SPLITS}
        return missing | read_validation_as_test(found, folder)
    if "test" in found:
        raise HasTestSplit(f"--test-share: {folder} has a test split already, {found['test'].name}")
    return found if "train" in found else {"train": folder}


def _list_classes(folders: dict[str, Path]) -> tuple[str, ...]:
    names_of = {split: [path.name for path in _list_visible(folder, folders=True)] for split, folder in folders.items()}
    train = names_of.pop("train")
    for split, names in names_of.items():
        unknown = sorted(set(names) - set(train))
        if unknown:
            raise BadInput(f"{folders[split] / unknown[0]}: no class of that name in {folders['train']}")
    if all(name.isascii() and name.isdigit() for name in train):
        # as the labels of IDX files, where 10 follows 9
        return tuple(sorted(train, key=lambda name: (int(name), name)))
    return tuple(train)


def _list_visible(folder: Path, folders: bool) -> list[Path]:
    """List the entries of a folder by name, except hidden and IGNORED ones.

    Raises BadInput if one is no folder, or else is one.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is missing: expected train/CLASS/IMAGE and test/CLASS/IMAGE")
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in IGNORED]
    for entry in visible:
        _check_utf8(entry.name, folder)
    for entry in sorted(visible, key=attrgetter("name")):
        # Of a link, `entry.is_dir` raises an error if it leads to itself.
        is_folder = Path(entry).is_dir() if entry.is_symlink() else entry.is_dir()
        if is_folder != folders:
            expected = (
                f"folders, one a class in {folder}; {describe_found(folder)}" if folders else f"image files in {folder}"
            )
            raise BadInput(f"{entry.path}: expected {expected}")
    places = [folder / name for name in sorted(entry.name for entry in visible)]
    # The workspace of a command that runs in the folder of the pictures is beside the folders of classes.
    return [place for place in places if not (folders and is_workspace(place))]


def _check_utf8(name: str, folder: Path) -> None:
    # Names are digested and written to tables as UTF-8.
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{folder}: a name there is no UTF-8: {name!r}") from None


def _list_files(root: Path, split: str, class_names: tuple[str, ...], split_folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the path in the tree and the number of the class of each file."""
    for label, name in enumerate(class_names):
        class_folder = split_folder / name
        # A class may have no folder in another split than train.
        paths = _list_visible(class_folder, folders=False) if class_folder.is_dir() else []
        if not paths and (split == "train" or class_folder.is_dir()):
            warn(f"warning: {class_folder} is empty: no {split} example is of the class {name}")
        folder_name = class_folder.relative_to(root).as_posix()
        for path in paths:
            yield f"{folder_name}/{path.name}", label


def cut_ranges(split: str, root: Path, files: tuple[ImageFile, ...]) -> Iterator[FilesRange]:
    """Cut the files into ranges of about BLOCK_BYTES of encoded images and at most MAX_RANGE_FILES."""
    start = 0
    num_bytes = 0
    for end, file in enumerate(files):
        if end > start and (num_bytes + file.num_bytes > BLOCK_BYTES or end - start == MAX_RANGE_FILES):
            yield FilesRange(split, start, end - start, root, files[start:end])
            start = end
            num_bytes = 0
        num_bytes += file.num_bytes
    yield FilesRange(split, start, len(files) - start, root, files[start:])


def _identify(split: str, prefix: str, files: tuple[ImageFile, ...], read_as: str) -> SourceInfo:
    # The size is part of the identity: it decides which images are rejected.
    digest = hashlib.sha256(f"{read_as}\n".encode())
    for file in files:
        path = f"{split}/{file.path.removeprefix(prefix)}"
        digest.update((json.dumps([path, file.sha256]) + "\n").encode())
    num_bytes = sum(file.num_bytes for file in files)
    return SourceInfo(name=f"{split}-images", num_bytes=num_bytes, sha256=digest.hexdigest())


def _read_unchanged(place: str, file: ImageFile) -> bytes | None:
    """Read a file, or only its beginning if it is larger than MAX_ENCODED_BYTES, and check its digest.

    A file that could not be read has no bytes.
    """
    if file.problem:
        return None
    try:
        data = read_start(place, min(file.num_bytes, MAX_ENCODED_BYTES) + 1)
        digest = digest_of(data) if len(data) <= MAX_ENCODED_BYTES else file_digest(Path(place))
    except FileNotFoundError:
        digest = None
    if digest is None or not digest.startswith(file.sha256):
        raise changed_since_scan(Path(place))
    return data


LAYOUT = SourceLayout(
    kind=ImageFolderSource,
    title="image files",
    example=(
        "a folder of pictures as train/CLASS/IMAGE and test/CLASS/IMAGE, such as train/cat/1.png; with --test-share, "
        "of CLASS/IMAGE"
    ),
    options=frozenset({"image_size", "resize", "resize_mode", "test_share"}),
    holds=_holds_splits,
    find=_find,
    scan=with_held_out(scan),
)
