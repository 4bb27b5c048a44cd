"""Pictures that a CSV file names: a column of paths, a column of labels, and a folder of pictures beside the file.

The identity of a split is the digest of each row's label and path, and of the picture's content. Paths begin at the
folder of the CSV file, or at one in it: see `_find_root`.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from model.errors import BadInput
from pipeline.progress import warn
from pipeline.sources.blocks import ClassCount, SourceInfo, SourceScan, SplitScan
from pipeline.sources.catalog import SPLITS, PictureOptions
from pipeline.sources.csv_columns import CsvColumns
from pipeline.sources.csv_files import CsvSource
from pipeline.sources.csv_lines import read_labels, read_paths, read_pieces
from pipeline.sources.image_blocks import MAX_ENCODED_BYTES, EncodedImage, FormatFinder, StoredImage
from pipeline.sources.image_files import (
    FilesTask,
    ImageFile,
    cut_tasks,
    find_problem,
    join_files,
    read_tasks,
    scan_file,
)
from pipeline.sources.image_folder import FilesRange, cut_ranges
from pipeline.sources.labels import NUMBERS, CodedLabel, Label, LabelCodes, LabelSet
from pipeline.sources.scan_tasks import MapTasks
from pipeline.storage.files import digest_of, read_range
from pipeline.storage.places import Place

_TRIED = 100  # rows whose pictures decide where paths begin


class _Row(NamedTuple):
    """A row of a CSV file: the folder where its path begins, the label, and the path."""

    root: Path
    label: Label
    path: str


@dataclass(frozen=True)
class NamedFilesRange(FilesRange):
    """Pictures of consecutive rows, with a label of each."""

    labels: tuple[CodedLabel, ...]

    def read_images(self) -> Iterator[list[EncodedImage]]:
        """Yield all images at once; raises BadInput if a file has changed since the scan."""
        for images in super().read_images():
            yield [
                EncodedImage(image.index, image.file, image.name, image.data, label.number, image.problem, label.fault)
                for image, label in zip(images, self.labels, strict=True)
            ]


def scan(
    source: CsvSource, columns: dict[Place, CsvColumns], num_classes: ClassCount, first_label: int, map_tasks: MapTasks
) -> SourceScan:
    """Read every row of a source's files, and every picture that they name; raises as `source_lookup.scan_source`."""
    first = str(source.files["train"][0])
    rows = {split: _read_rows(split, files, columns) for split, files in source.files.items()}
    tasks = {split: _cut_tasks(each, source.options) for split, each in rows.items()}
    found = read_tasks([task for each in tasks.values() for task in each], map_tasks, _scan_picture)
    finder = FormatFinder(source.options)
    labels = LabelSet()
    codes = NUMBERS
    splits = dict[str, SplitScan]()
    for split, own in rows.items():
        images = list(join_files(tasks[split], found, finder))
        image_size = finder.size(first)  # the train split is the first, so its images decide
        if split == "train":
            labels.update(row.label for row in own)
            codes = labels.codes(first)
        info = _identify(split, own, images, finder)
        splits[split] = SplitScan(tuple(_cut_ranges(split, own, images, codes)), image_size, (info,))
    name = source.name if codes.names else first
    class_names = labels.class_names(codes, num_classes, name, first_label)
    return SourceScan(splits, class_names, finder.channel, first_label, finder.resize)


def _read_rows(split: str, files: tuple[Place, ...], columns: dict[Place, CsvColumns]) -> list[_Row]:
    rows = list[_Row]()
    for file in files:
        root = None
        for piece in read_pieces(file, columns[file]):
            labels = read_labels(piece.lines, columns[file], str(file))
            paths = read_paths(piece.lines, columns[file], str(file))
            root = root or _find_root(_check_local(file), paths[:_TRIED], split)
            rows += [_Row(root, label, path) for label, path in zip(labels, paths, strict=True)]
    if not rows:
        raise BadInput(f"{files[0]}: the split is empty: it has no rows")
    return rows


def read_pictures(file: Place, columns: CsvColumns) -> Iterator[StoredImage]:
    """Yield the pictures that a file to predict names; raises BadInput if it is damaged, or in a store."""
    root = None
    number = 0
    for piece in read_pieces(file, columns):
        paths = read_paths(piece.lines, columns, str(file))
        root = root or _find_root(_check_local(file), paths[:_TRIED], "test", *SPLITS)
        for path in paths:
            fault = _find_fault(root, path) or find_problem(root / path)
            data = None if fault else read_range(root / path, 0, MAX_ENCODED_BYTES + 1)
            yield EncodedImage(number, path, f"{file}, row {number}: {path}", data, None, fault)
            number += 1


def _check_local(file: Place) -> Path:
    if not isinstance(file, Path):
        raise BadInput(f"{file}: it names files of pictures, which are read from folders of this machine only: copy it")
    return file


def _find_root(file: Path, paths: list[str], *splits: str) -> Path:
    """Return the folder where the paths of a file begin: of some usual ones, the first that has most of the pictures.

    paths are of the first rows; not of one row alone, whose picture may be missing. splits are those that the file may
    be of.
    """
    names = (file.name.split(".")[0], *splits)
    folders = (*names, "images", *(f"{name}_images" for name in names))
    roots = dict.fromkeys([file.parent, *(file.parent / folder for folder in folders)])
    counts = {root: sum(not _find_fault(root, path) for path in paths) for root in roots}
    [first, *others] = [root for root, count in counts.items() if count == max(counts.values())]
    if others and counts[first]:
        warn(f"{file}: its pictures are taken from {first}; {others[0]} has them too")
    return first


def _scan_picture(root: Path, path: str, label: int, finder: FormatFinder) -> ImageFile:
    fault = _find_fault(root, path)
    if fault:
        finder.refuse(fault)
        return ImageFile(path, label, 0, digest_of(fault.encode()), fault)
    return scan_file(str(root / path), path, label, finder)


def _find_fault(root: Path, path: str) -> str:
    """Return why a path names no picture below a folder; empty if it does."""
    if not path:
        return "the path is missing"
    if "\0" in path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        return f"the path {path!r} leads out of the folder of the CSV file"
    try:
        if not os.path.lexists(root / path):
            return f"no file {path} in {root.name}"
        resolved = (root / path).resolve()
    except (OSError, RuntimeError, UnicodeEncodeError) as error:  # too long a name, a loop of links, no such characters
        return f"no file {path!r} can be opened: {error}"
    return "" if resolved.is_relative_to(root.resolve()) else f"{path} is a link that leads out of the folder"


def _runs_of_root(rows: list[_Row]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of consecutive rows whose paths begin in the same folder."""
    starts = [number for number in range(1, len(rows)) if rows[number].root != rows[number - 1].root]
    yield from pairwise([0, *starts, len(rows)])


def _cut_tasks(rows: list[_Row], options: PictureOptions) -> list[FilesTask]:
    """Cut the pictures of a split into tasks, which have no use for the number of a class."""
    tasks = list[FilesTask]()
    for start, stop in _runs_of_root(rows):
        tasks += cut_tasks(rows[start].root, options, [(row.path, 0) for row in rows[start:stop]])
    return tasks


def _cut_ranges(split: str, rows: list[_Row], images: list[ImageFile], codes: LabelCodes) -> Iterator[NamedFilesRange]:
    labels = codes.encode([row.label for row in rows])
    for start, stop in _runs_of_root(rows):
        for each in cut_ranges(split, rows[start].root, tuple(images[start:stop])):
            first = start + each.start
            chosen = tuple(labels[first : first + each.num_examples])
            yield NamedFilesRange(split, first, each.num_examples, each.root, each.files, chosen)


def _identify(split: str, rows: list[_Row], images: list[ImageFile], finder: FormatFinder) -> SourceInfo:
    digest = hashlib.sha256(f"{finder.identity}\n".encode())
    for row, image in zip(rows, images, strict=True):
        digest.update((json.dumps([row.label, row.path, image.sha256]) + "\n").encode())
    num_bytes = sum(image.num_bytes for image in images)
    return SourceInfo(name=f"{split}-images", num_bytes=num_bytes, sha256=digest.hexdigest())
