"""Read files of pictures once, in tasks: the size, the digest and the format of each, or why it cannot be read."""

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pipeline.sources import scan_tasks
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.image_blocks import MAX_ENCODED_BYTES, FormatFinder, FoundFormat
from pipeline.sources.scan_tasks import MapTasks, cut_evenly, map_here
from pipeline.storage.files import digest_of, file_digest, read_start

MANY_FILES = 2**18  # no more are read by this process alone, because workers take seconds to start
MIN_TASK_FILES = 2**12  # of a task


class ImageFile(NamedTuple):
    """An image file: its path in the tree, with slashes, the number of its class folder, its size and digest.

    If it cannot be read, problem says why, and the digest is that of the problem.
    """

    path: str
    label: int
    num_bytes: int
    sha256: str
    problem: str = ""


# Reads a file below a root: its path, the number of its class, and what finds the format of the images.
ScanFile: TypeAlias = Callable[[Path, str, int, FormatFinder], ImageFile]


class FilesTask(NamedTuple):
    """Files to read, of the tree with that root: the path and the number of the class of each."""

    root: Path
    options: PictureOptions
    files: tuple[tuple[str, int], ...]


class FoundFiles(NamedTuple):
    """What a task found: the format of its images, and of each file the size, the digest and the problem."""

    format: FoundFormat
    files: tuple[tuple[int, str, str], ...]


def cut_tasks(root: Path, options: PictureOptions, files: list[tuple[str, int]]) -> list[FilesTask]:
    """Cut the files of a split, in their order, into tasks."""
    cut = cut_evenly(files, scan_tasks.MAX_TASKS, MIN_TASK_FILES)
    return [FilesTask(root, options, tuple(each)) for each in cut]


def _scan_below(root: Path, path: str, label: int, finder: FormatFinder) -> ImageFile:
    return scan_file(f"{root}/{path}", path, label, finder)


def read_tasks(tasks: list[FilesTask], map_tasks: MapTasks, scan: ScanFile = _scan_below) -> Iterator[FoundFiles]:
    """Run tasks, by map_tasks if they have many files, and yield the result of each."""
    is_large = sum(len(task.files) for task in tasks) > MANY_FILES
    run = map_tasks if is_large else map_here
    return run(partial(_read_task, scan), tasks, FoundFiles)


def _read_task(scan: ScanFile, task: FilesTask) -> FoundFiles:
    """Read the files of a task."""
    finder = FormatFinder(task.options)
    files = [scan(task.root, path, label, finder) for path, label in task.files]
    return FoundFiles(finder.found, tuple((file.num_bytes, file.sha256, file.problem) for file in files))


def join_files(tasks: list[FilesTask], found: Iterator[FoundFiles], finder: FormatFinder) -> Iterator[ImageFile]:
    """Yield the files of a split, given what its tasks find next."""
    for task in tasks:
        results = next(found)
        finder.add(results.format)
        for (path, label), result in zip(task.files, results.files, strict=True):
            yield ImageFile(path, label, *result)


def scan_file(place: str, name: str, label: int, finder: FormatFinder) -> ImageFile:
    """Read an image file, called by its name; what cannot be read is an image with a problem."""
    num_bytes, problem = _measure(place)
    if not problem:
        try:
            # larger files will be rejected
            data = read_start(place, num_bytes + 1) if num_bytes <= MAX_ENCODED_BYTES else None
            digest = file_digest(Path(place)) if data is None else digest_of(data)
        except OSError as error:
            problem = f"it cannot be read: {error.strerror}"
    if problem:
        finder.refuse(f"{place}: {problem}")
        return ImageFile(name, label, 0, digest_of(problem.encode()), problem)
    finder.offer(data, place)
    return ImageFile(name, label, num_bytes, digest)


def find_problem(path: Path) -> str:
    """Return why opening a path would fail, or wait for another process; empty if it is a file or a link to one."""
    _, problem = _measure(os.fspath(path))
    return problem


def _measure(place: str) -> tuple[int, str]:
    """Return the size of a file in bytes, and why it cannot be opened, as `find_problem`."""
    try:
        about = os.stat(place)  # noqa: PTH116 - making a path takes longer
    except OSError as error:
        return 0, _describe_unreachable(Path(place), error)
    if stat.S_ISREG(about.st_mode):
        return about.st_size, ""
    found = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe, a socket or a device"
    return about.st_size, f"no regular file, but {found}"


def _describe_unreachable(place: Path, error: OSError) -> str:
    """Return why the system says nothing of a path, with the target of a link."""
    try:
        return f"a link to {os.fspath(place.readlink())!r}, which cannot be reached: {error.strerror}"
    except OSError:  # no link, or deleted since it was listed
        return f"it cannot be reached: {error.strerror}"
