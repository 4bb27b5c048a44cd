"""Atomic writes and verified reads of files, on a disk or in a store; `local_disk` has the single disk operations.

Functions that write or delete raise StorageFailed if the disk or the store refuses, Locked if the lease is lost.
"""

import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from io import BufferedReader
from pathlib import Path

from model.errors import BadUsage, CorruptArtefact, EngineFailed, Locked, StorageFailed
from pipeline.storage import local_disk
from pipeline.storage.cleanup import remove_stale_files_of, temporary_name
from pipeline.storage.lease import check_held
from pipeline.storage.object_store import find_store, open_remote
from pipeline.storage.places import Place, RemotePath

_REPAIR_HINT = (
    "`backbeam verify --repair` restores it; otherwise delete the folder of the data set or run that it belongs to, "
    "and run again"
)
MAX_RECORD_BYTES = 2**26  # the manifest of 100,000 shards and ten classes has 56 MB
_SPOOLED_BYTES = 2**28  # uploads up to this size are collected in memory, larger ones on the disk


def file_size(path: Place) -> int:
    """Return the size of a file in bytes; raises FileNotFoundError if it does not exist."""
    num_bytes = size_or_none(path)
    if num_bytes is None:
        raise local_disk.file_not_found(str(path))
    return num_bytes


def size_or_none(path: Place) -> int | None:
    """Return the size of a file in bytes; None if it does not exist."""
    if isinstance(path, RemotePath):
        return find_store(path.uri).size(path.uri)
    return path.stat().st_size if path.is_file() else None


def open_binary(path: Place) -> BufferedReader:
    """Open a file for reading, without decompression."""
    return open_remote(path.uri) if isinstance(path, RemotePath) else path.open("rb")


def read_range(path: Place, start: int, num_bytes: int) -> bytes:
    """Return num_bytes of a file from start on, or fewer if it ends earlier."""
    if isinstance(path, RemotePath):
        return find_store(path.uri).read(path.uri, start, num_bytes)
    with path.open("rb") as stream:
        stream.seek(start)
        return stream.read(num_bytes)


def read_start(path: str, num_bytes: int) -> bytes:
    """Return the first num_bytes of a file on a disk, or fewer if it ends earlier.

    Without a stream's buffer: for many small files, its allocation takes longer than the reading.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = os.read(descriptor, num_bytes)
        while len(data) < num_bytes and (piece := os.read(descriptor, num_bytes - len(data))):
            data += piece
    finally:
        os.close(descriptor)
    return data


def digest_of(data: bytes | memoryview) -> str:
    """Return the SHA-256 of data, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Place) -> str:
    """Return the SHA-256 of a file, in hexadecimal; the file is read in pieces."""
    with open_binary(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_equal(path: Place, found: object, expected: object, what: str) -> None:
    """Compare a property of a file, None if the file is missing, with its record; raises CorruptArtefact."""
    if found is None:
        raise CorruptArtefact(f"{path} is missing: expected {expected} {what}", hint=_REPAIR_HINT)
    if found != expected:
        raise CorruptArtefact(f"{path} is corrupt: expected {expected} {what}, found {found}", hint=_REPAIR_HINT)


def read_with_digest(path: Place, sha256: str) -> bytes:
    """Return the bytes of a file with a known digest; raises CorruptArtefact if it is missing or differs."""
    data = read_or_none(path)
    check_equal(path, data if data is None else digest_of(data), sha256, "SHA-256")
    return data or b""


def read_or_none(path: Place) -> bytes | None:
    """Return the bytes of a file; None if it does not exist."""
    if isinstance(path, Path) and not path.is_file():  # reading a pipe would block
        return None
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def read_record_bytes(path: Place) -> bytes:
    """Return the bytes of a record; raises CorruptArtefact if it is too long, FileNotFoundError if it is missing."""
    num_bytes = size_or_none(path) or 0
    if num_bytes > MAX_RECORD_BYTES:
        raise CorruptArtefact(f"{path} is corrupt: a record of {num_bytes} bytes, expected at most {MAX_RECORD_BYTES}")
    return path.read_bytes()


def read_into(path: Path, memory: memoryview) -> int | None:
    """Read a file on a disk into memory, as much as fits, and return the number of bytes; None if it does not exist."""
    num_bytes = 0
    try:
        with path.open("rb", buffering=0) as stream:
            while count := stream.readinto(memory[num_bytes:]):  # a system may read less than is asked for at a time
                num_bytes += count
    except FileNotFoundError:
        return None
    return num_bytes


def write_atomically(path: Place, chunks: bytes | Iterable[bytes]) -> None:
    """Write a file atomically and durably, or replace it; its folder is created. On failure, nothing changes."""
    _write(path, chunks, replaces=True)


def write_if_absent(path: Place, chunks: bytes | Iterable[bytes]) -> bool:
    """Write a file as `write_atomically` does unless it exists; return whether it was written.

    Of several processes that do this at the same time, exactly one succeeds.
    """
    return _write(path, chunks, replaces=False)


def _write(path: Place, chunks: bytes | Iterable[bytes], replaces: bool) -> bool:
    pieces = [chunks] if isinstance(chunks, bytes) else chunks
    if isinstance(path, RemotePath):
        return _upload(path.uri, pieces, replaces)
    local_disk.make_folder(path.parent)
    temporary = temporary_name(path)
    with remove_on_failure(temporary):
        local_disk.write_new(temporary, pieces)
        if replaces:
            local_disk.rename(temporary, path)
        written = replaces or local_disk.link(temporary, path)
        if temporary.exists():  # a link has been made, or the name was taken
            local_disk.delete_file(temporary)
    if written:
        local_disk.flush(path.parent)
    return written


def _upload(uri: str, chunks: Iterable[bytes], replaces: bool) -> bool:
    store = find_store(uri)
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as content:
        content.writelines(chunks)  # all of them, before the upload begins
        num_bytes = content.tell()
        content.seek(0)
        check_held(uri)
        if not replaces:
            return store.put_new(uri, content, num_bytes)
        store.put(uri, content, num_bytes)
        return True


def write_without_lock(path: Place, chunks: bytes | Iterable[bytes]) -> None:
    """Write a file atomically, outside the workspace's lock, whose holder would remove stale temporary files."""
    if isinstance(path, Path):
        remove_stale_files_of(path)
    write_atomically(path, chunks)


def list_folders_with(parent: Place, name: str) -> list[Place]:
    """List the subfolders that hold a file of that name, sorted by name."""
    return sorted(path.parent for path in parent.glob(f"*/{name}"))


def check_files_exist(folder: Place, names: Iterable[str]) -> None:
    """Raise EngineFailed if a file is missing, before a record names it.

    It is if the driver cancelled the job and cleared the folder while the engine continued.
    """
    missing = sorted(set(names) - {path.name for path in folder.glob("*")})
    if missing:
        raise EngineFailed(f"{folder / missing[0]} is gone: the job was given up while the engine went on")


def list_files(folder: Place, pattern: str) -> list[Place]:
    """List the complete files below a folder that match a pattern such as */*.json, sorted by path."""
    return sorted((path for path in folder.glob(pattern) if not path.name.startswith(".")), key=str)


def count_files(folder: Place, suffix: str = "") -> int:
    """Return the number of complete files of a folder with a suffix; 0 if the folder does not exist."""
    return len(list_files(folder, f"*{suffix}"))


def make_empty_folder(folder: Place) -> None:
    """Create a folder, or empty an existing one; in a store, which has no empty folders, only empty it."""
    remove_tree(folder)
    if isinstance(folder, Path):
        local_disk.make_folder(folder)


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Yield an empty folder among the system's temporary files, and delete it at the end."""
    with local_disk.disk_operation("make a folder in", Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    with remove_afterwards(folder):
        yield folder


def check_does_not_exist(folder: Path) -> None:
    """Raise BadUsage if something of this name exists."""
    if folder.exists() or folder.is_symlink():
        raise BadUsage(f"{folder} exists", hint="name a folder that does not, or delete it first")


@contextmanager
def create_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to write to; at the end, flush it and rename it.

    Parents of the folder are created. Raises BadUsage if something of its name exists.
    """
    check_does_not_exist(folder)
    remove_stale_files_of(folder)
    local_disk.make_folder(folder.parent)
    temporary = temporary_name(folder)
    with remove_on_failure(temporary):
        local_disk.make_folder(temporary)
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            local_disk.flush(path)
        check_does_not_exist(folder)
        local_disk.rename(temporary, folder)
    local_disk.flush(folder.parent)


def remove_tree(path: Place) -> None:
    """Delete a folder and its content, or a file; a missing one is ignored."""
    if isinstance(path, RemotePath):
        check_held(path.uri)
        store = find_store(path.uri)
        store.delete(store.walk(path.uri))  # objects below a-10 are not below a-1
    elif path.is_dir():
        local_disk.delete_folder(path)
    elif path.exists():
        local_disk.delete_file(path)


def remove_at_once(folder: Place, hidden: Path, record: str | None = None) -> None:
    """Delete a folder so that readers see all of it or nothing; a missing one is ignored.

    On a disk it is renamed into the folder `hidden` of temporary files first. In a store, which cannot rename, the
    record is deleted first, without which the other files count as incomplete.
    """
    if isinstance(folder, RemotePath):
        if record is not None:
            remove_file(folder / record)
        remove_tree(folder)
    elif folder.exists():
        renamed = hidden / uuid.uuid4().hex
        local_disk.make_folder(hidden)
        local_disk.rename(folder, renamed)
        local_disk.flush(folder.parent)
        remove_tree(renamed)


def remove_tree_except(folder: Place, *names: str) -> None:
    """Delete the entries of a folder except those of the given names; in a store, only objects directly in it."""
    entries: list[Place] = list(folder.glob("*"))
    for path in entries:
        if path.name in names:
            continue
        if path.is_file():
            remove_file(path)
        else:
            remove_tree(path)


def remove_file(path: Place) -> None:
    """Delete a file durably; a missing file is ignored."""
    if isinstance(path, RemotePath):
        check_held(path.uri)
        find_store(path.uri).delete([path.uri])
    elif path.exists():
        local_disk.delete_file(path)
        local_disk.flush(path.parent)


@contextmanager
def clean_up_on_failure(clean_up: Callable[[], object], record: Place | None = None) -> Iterator[None]:
    """Clean up if the context fails or is interrupted, unless the record that names its files was written."""
    try:
        yield
    except BaseException:
        with suppress_storage_errors():
            if record is None or not record.exists():
                clean_up()
        raise


def remove_on_failure(place: Place, record: Place | None = None) -> AbstractContextManager[None]:
    """Delete a folder or file if the context fails; see `clean_up_on_failure`."""
    return clean_up_on_failure(partial(remove_tree, place), record)


@contextmanager
def remove_afterwards(place: Place) -> Iterator[None]:
    """Delete a folder or file at the end of the context, whether it succeeds or fails."""
    with remove_on_failure(place):
        yield
    remove_tree(place)


def suppress_storage_errors() -> suppress:
    """Return a context that suppresses errors during cleanup after a failure, so that the original error is raised."""
    return suppress(StorageFailed, Locked)
