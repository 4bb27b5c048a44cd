"""A directory tree of images as a source: SPLIT/CLASS/IMAGE, in the order of the class folders, then of file names.

Its identity is the digest of each image's path in the tree and content. Hidden files are no part of it; any other file
in a class folder is taken for an image, told by its content.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from model.errors import BadInput
from pipeline.sources.blocks import BLOCK_BYTES, Block, BlockRange, ExampleFormat, SourceInfo, SourceScan
from pipeline.sources.catalog import SPLITS, TreeSource
from pipeline.sources.classes import name_classes
from pipeline.sources.image_decoding import MAX_PICTURE_BYTES, Encoded, SizeFinder, decode_blocks
from pipeline.storage.files import digest_of, file_digest
from pipeline.storage.places import Place

RANGE_FILES = 1024  # at most


class File(NamedTuple):
    """An image file.

    Attributes:
        path: in the tree, with slashes.
        label: by its folder.
        num_bytes: its length.
        sha256: of its content.
    """

    path: str
    label: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class FilesRange(BlockRange):
    """Some files, in order."""

    files: tuple[File, ...]


class TreeScan(NamedTuple):
    """A split of a tree, whose files were read.

    Attributes:
        folder: the root of the tree.
        files: of the split, in order.
        image_size: height and width.
        info: its identity.
    """

    folder: Path
    files: tuple[File, ...]
    image_size: tuple[int, int]
    info: SourceInfo

    @property
    def num_examples(self) -> int:
        """Files of the split."""
        return len(self.files)

    @property
    def infos(self) -> tuple[SourceInfo, ...]:
        """The identity of the split."""
        return (self.info,)

    def ranges(self, split: str) -> Iterator[FilesRange]:
        """Cut the files into ranges of about BLOCK_BYTES."""
        start = num_bytes = 0
        for end, file in enumerate(self.files):
            if end > start and (num_bytes + file.num_bytes > BLOCK_BYTES or end - start == RANGE_FILES):
                yield FilesRange(split, start, end - start, self.files[start:end])
                start, num_bytes = end, 0
            num_bytes += file.num_bytes
        yield FilesRange(split, start, len(self.files) - start, self.files[start:])

    def open(self, _: ExitStack, target: ExampleFormat, __: Place) -> "TreeReader":
        """Make a reader; nothing need be kept open."""
        return TreeReader(self.folder, target)


@dataclass(frozen=True)
class TreeReader:
    """Reads ranges of a tree's files."""

    folder: Path
    target: ExampleFormat

    def read(self, block: FilesRange) -> Iterator[Block]:
        """Yield the blocks of a range; raises BadInput if a file is not what was scanned."""
        pictures = [
            Encoded(index, file.path, "image", _read_again(self.folder / file.path, file), file.label)
            for index, file in enumerate(block.files, block.start)
        ]
        yield from decode_blocks(block.split, pictures, self.target)


def scan(source: TreeSource, num_classes: int | None) -> SourceScan:
    """Read every file of a tree.

    Raises:
        BadInput: it is not laid out as it should be, or no image of its train split can be decoded.
        BadUsage: num_classes is not the number of its class folders.
    """
    names = _class_names(source.folder)
    finder = SizeFinder(source.options.image_size)
    files = dict[str, tuple[File, ...]]()
    for split in SPLITS:
        files[split] = tuple(_read_files(source.folder, split, names, finder))
        if not files[split]:
            raise BadInput(f"{source.folder / split}: the split is empty: expected images in {split}/CLASS/")
        size = finder.size(str(source.folder))  # known or refused once the first split, train, was read
    splits = {split: TreeScan(source.folder, files[split], size, _info(split, files[split], size)) for split in SPLITS}
    return SourceScan(dict(splits), name_classes(names, set(), num_classes, source.name))


def _class_names(folder: Path) -> tuple[str, ...]:
    """Name the class folders of the train split; raises BadInput if they are none, or test has others."""
    found = {split: [path.name for path in _visible(folder / split, wanted="folders, one a class")] for split in SPLITS}
    others = sorted(set(found["test"]) - set(found["train"]))
    if others:
        raise BadInput(f"{folder / 'test' / others[0]}: no class of that name in {folder / 'train'}")
    return tuple(found["train"])


def _visible(folder: Path, wanted: str) -> list[Path]:
    """List what a folder holds, hidden files left out; raises BadInput if anything is of the other kind."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is missing: expected train/CLASS/IMAGE and test/CLASS/IMAGE")
    paths = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_name_of)
    for path in paths:
        if path.is_dir() != wanted.startswith("folders"):
            raise BadInput(f"{path}: expected {wanted} in {folder}")
    return paths


def _name_of(path: Path) -> str:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{path.parent}: a name there is no UTF-8: {path.name!r}") from None
    return path.name


def _read_files(folder: Path, split: str, names: tuple[str, ...], finder: SizeFinder) -> Iterator[File]:
    for label, name in enumerate(names):
        place = folder / split / name
        for path in _visible(place, wanted="image files") if place.is_dir() else []:
            num_bytes = path.stat().st_size
            data = path.read_bytes() if num_bytes <= MAX_PICTURE_BYTES else None
            finder.offer(data, str(path))
            digest = file_digest(path) if data is None else digest_of(data)
            yield File(path.relative_to(folder).as_posix(), label, num_bytes, digest)


def _info(split: str, files: tuple[File, ...], size: tuple[int, int]) -> SourceInfo:
    digest = hashlib.sha256((json.dumps(size) + "\n").encode())
    for file in files:
        digest.update((json.dumps([file.path, file.sha256]) + "\n").encode())
    return SourceInfo(
        name=f"{split}-images", num_bytes=sum(file.num_bytes for file in files), sha256=digest.hexdigest()
    )


def _read_again(path: Path, file: File) -> bytes:
    """Read a file, or its beginning if it is too large for an example."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_PICTURE_BYTES + 1)
        digest = digest_of(data) if len(data) <= MAX_PICTURE_BYTES else file_digest(path)
    except FileNotFoundError:
        digest = None
    if digest != file.sha256:
        raise BadInput(f"{path} changed while it was read: run again once nothing writes to it")
    return data
