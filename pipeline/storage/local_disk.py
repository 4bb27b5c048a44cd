"""The single operations that change the local disk, which `files` combines; they raise StorageFailed if it refuses."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import StorageFailed

# Set by tests: called with the name and path of each operation before it. It may raise OSError or end the process.
hook: Callable[[str, Path], None] | None = None

# What file systems without hard links answer, and one that allows no more of them for a file.
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

# What a disk answers to a user who may only read.
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def disk_operation(operation: str, path: Path) -> Iterator[None]:
    """Perform one operation inside the context; raises StorageFailed if the disk refuses it."""
    try:
        if hook is not None:
            hook(operation, path)
        yield
    except OSError as problem:
        is_forbidden = problem.errno in _FORBIDDEN
        remedy = (
            "the command writes there, so run it as a user who may" if is_forbidden else "fix this, and run it again"
        )
        failure = StorageFailed(
            f"storage: cannot {operation} {path}: {problem.strerror or problem}; what was complete is kept: {remedy}"
        )
        failure.is_forbidden = is_forbidden
        raise failure from problem


def make_folder(folder: Path) -> None:
    """Create a folder and its parents unless they exist; each new entry is flushed to the disk."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with disk_operation("make", folder):
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    flush(folder.parent)


def write_new(path: Path, chunks: Iterable[bytes], flushed: bool = True) -> None:
    """Write a file that does not exist yet, and flush it to the disk if asked to."""
    with disk_operation("create", path):
        stream = path.open("xb", buffering=0)  # unbuffered, so that closing it writes nothing that could fail
    with stream:
        for chunk in chunks:
            middle = len(chunk) // 2  # tests make a write fail half done
            for piece in (chunk[:middle], chunk[middle:]) if hook else (chunk,):
                with disk_operation("write", path):
                    _write_all(stream.fileno(), piece)
        if flushed:
            with disk_operation("flush", path):
                os.fsync(stream.fileno())


def append(path: Path, data: bytes) -> None:
    """Append to a file, which is created if it does not exist; it is not flushed."""
    with disk_operation("write", path), path.open("ab", buffering=0) as stream:
        _write_all(stream.fileno(), data)


def rename(path: Path, target: Path) -> None:
    """Rename a file or folder; an existing file of that name is replaced."""
    with disk_operation("rename", path):
        path.replace(target)


def link(path: Path, target: Path) -> bool:
    """Give a file a second name by a hard link, or rename it where there are none; return False if it is taken."""
    with disk_operation("link", path):
        try:
            target.hardlink_to(path)
        except FileExistsError:
            return False
        except OSError as problem:
            if problem.errno not in _NO_HARD_LINKS:
                raise
            if target.exists():
                return False
            path.rename(target)  # this and the check are not atomic: callers hold the lock
    return True


def flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    with disk_operation("flush", path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def delete_file(path: Path) -> None:
    """Delete a file; a missing file is ignored."""
    with disk_operation("delete", path):
        path.unlink(missing_ok=True)


def delete_folder(folder: Path) -> None:
    """Delete a folder and its content: JSON records first, without which the other files count as incomplete."""
    with disk_operation("list", folder):
        if folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "it is a link to a folder elsewhere", str(folder))
        entries = sorted(folder.iterdir(), key=lambda path: (path.suffix != ".json", path.name))
    for path in entries:
        if path.is_dir() and not path.is_symlink():
            delete_folder(path)
        else:
            delete_file(path)
    with disk_operation("delete", folder):
        folder.rmdir()


def _write_all(descriptor: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def file_not_found(uri: str) -> FileNotFoundError:
    """Return the error of a missing object, in the form of that of a missing local file."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri)
