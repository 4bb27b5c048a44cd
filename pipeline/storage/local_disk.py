"""The operations that change this machine's disk, one by one. `storage` puts them together and is what to call.

Each is a place where the disk may refuse, which is StorageFailed and names it. Tests set `hook` to make one fail.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import StorageFailed

# Called before each operation with its name and path, if it is set; it may raise OSError or end the process.
hook: Callable[[str, Path], None] | None = None


def reach(operation: str, path: Path) -> None:
    """Come to an operation that changes the disk; raises what `hook` raises."""
    if hook is not None:
        hook(operation, path)


@contextmanager
def changing(operation: str, path: Path) -> Iterator[None]:
    """Do one operation; raises StorageFailed if the disk refuses."""
    try:
        reach(operation, path)
        yield
    except OSError as problem:
        raise StorageFailed(
            f"storage: cannot {operation} {path}: {problem.strerror or problem}; what was complete is kept: mend that, "
            "and give the command again"
        ) from problem


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, unless it is there; each new one is on the disk in the folder that holds it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with changing("make", folder):
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    flush(folder.parent)


def write_new(path: Path, chunks: Iterable[bytes], flushed: bool = True) -> None:
    """Write a file that is not there yet, and flush it to the disk unless it need not get there."""
    with changing("create", path):
        stream = path.open("xb", buffering=0)  # nothing is left to be written when it is closed
    with stream:
        for piece in (piece for chunk in chunks for piece in _pieces(chunk)):
            with changing("write", path):
                _write(stream.fileno(), piece)
        if flushed:
            with changing("flush", path):
                os.fsync(stream.fileno())


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, which is made if need be, and need not get to the disk."""
    with changing("write", path), path.open("ab", buffering=0) as stream:
        _write(stream.fileno(), data)


def rename(path: Path, target: Path) -> None:
    """Give a file or folder another name; a file that has it is replaced."""
    with changing("rename", path):
        path.replace(target)


def link(path: Path, target: Path) -> bool:
    """Give a file a second name in the same file system, unless that is taken; tell whether it was given."""
    with changing("link", path):
        try:
            target.hardlink_to(path)
        except FileExistsError:
            return False
        except OSError as problem:
            if problem.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            return _rename_if_free(path, target)  # a file system without second names
    return True


def _rename_if_free(path: Path, target: Path) -> bool:
    """Put a file in place unless the name is taken; between the look and the renaming only a lock keeps others out."""
    if target.exists():
        return False
    path.rename(target)
    return True


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    with changing("flush", path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def delete_file(path: Path) -> None:
    """Delete a file, if it is there."""
    with changing("delete", path):
        path.unlink(missing_ok=True)


def delete_folder(folder: Path) -> None:
    """Delete a folder and what is in it: first the records, without which the rest is known to be incomplete."""
    with changing("list", folder):
        if folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "it is a link to a folder elsewhere", str(folder))
        found = sorted(folder.iterdir(), key=lambda path: (path.suffix != ".json", path.name))
    for path in found:
        if path.is_dir() and not path.is_symlink():
            delete_folder(path)
        else:
            delete_file(path)
    with changing("delete", folder):
        folder.rmdir()


def _pieces(data: bytes) -> tuple[bytes, ...]:
    """Return what to write at a time: all, or two halves where a test may come between them."""
    return (data,) if hook is None else (data[: len(data) // 2], data[len(data) // 2 :])


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
