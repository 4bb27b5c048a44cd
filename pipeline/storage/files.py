"""Files: whole or not at all when written, checked when read.

Artefacts are written here and nowhere else. On a disk: to a unique temporary name in the same folder, flushed, renamed
into place, and the folder flushed. In a store: collected first, and put as a whole. Source files may lie in either.
Every operation that changes a disk is one of `disk`, where tests make it fail; a disk or a store that
refuses is StorageFailed.
"""

import hashlib
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

import google_crc32c

from model.errors import BadUsage, CorruptArtefact, EngineFailed, Locked, StorageFailed
from pipeline.storage import local_disk
from pipeline.storage.cleanup import remove_stale_files_of, temporary_name
from pipeline.storage.lease import check_held
from pipeline.storage.local_disk import changing, delete_file, delete_folder, flush, link, make_folder, rename
from pipeline.storage.object_store import find_store, open_remote
from pipeline.storage.places import Place, RemotePath, file_not_found

MEND = (
    "`backbeam verify --repair` makes it again; so does deleting the folder of the data set or run that it belongs to, "
    "and running again"
)
_READ_BYTES = 2**20
MOST_RECORD_BYTES = 2**26  # of 100,000 shards and ten classes, a manifest has 56 MB
_SPOOLED_BYTES = 2**28  # of what goes to a store, kept in memory; what is larger waits on the disk


def file_size(path: Place) -> int:
    """Return the length of a file in bytes; raises FileNotFoundError if there is none."""
    found = size_or_none(path)
    if found is None:
        raise file_not_found(str(path))
    return found


def size_or_none(path: Place) -> int | None:
    """Return the length of a file in bytes; None if there is none."""
    if isinstance(path, RemotePath):
        return path.size()
    return path.stat().st_size if path.is_file() else None


def open_binary(path: Place) -> BinaryIO:
    """Open a file for reading, as it is stored; compressed files are not decompressed."""
    return open_remote(path.uri) if isinstance(path, RemotePath) else path.open("rb")


def read_range(path: Place, start: int, num_bytes: int) -> bytes:
    """Return num_bytes of a file from start on, or fewer where it ends."""
    if isinstance(path, RemotePath):
        return find_store(path.uri).read(path.uri, start, num_bytes) if num_bytes else b""
    with path.open("rb") as stream:
        stream.seek(start)
        return stream.read(num_bytes)


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Place) -> str:
    """Return the SHA-256 of a file, in hexadecimal, without holding it in memory."""
    digest = hashlib.sha256()
    with open_binary(path) as stream:
        while chunk := stream.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_file(path: Place, num_bytes: int, sha256: str) -> None:
    """Check a file against its record without holding it in memory.

    Raises:
        CorruptArtefact: it is missing, of another size or of another digest.
    """
    _check(path, size_or_none(path), num_bytes, "bytes")
    _check(path, file_digest(path), sha256, "SHA-256")


def read_checked(path: Place, num_bytes: int, sha256: str) -> bytes:
    """Return a file's bytes, once they have been checked against its record; raises as `check_file` does."""
    _check(path, size_or_none(path), num_bytes, "bytes")
    data = path.read_bytes()
    _check(path, digest_of(data), sha256, "SHA-256")
    return data


def read_with_digest(path: Place, sha256: str) -> bytes:
    """Return the bytes of a file of which the digest alone is known; raises CorruptArtefact if it is not that file."""
    data = path.read_bytes() if path.is_file() else None
    _check(path, data if data is None else digest_of(data), sha256, "SHA-256")
    return data or b""


def read_record(path: Place) -> bytes:
    """Return the bytes of a record; raises CorruptArtefact if it is longer than any is, FileNotFoundError."""
    num_bytes = size_or_none(path) or 0
    if num_bytes > MOST_RECORD_BYTES:
        raise CorruptArtefact(f"{path} is corrupt: a record of {num_bytes} bytes, expected at most {MOST_RECORD_BYTES}")
    return path.read_bytes()


def read_with_crc(path: Place, num_bytes: int, crc32c: int) -> bytes:
    """Return the bytes of a file that `check_file` has passed; raises as that does if they have changed since."""
    data = path.read_bytes() if path.is_file() else None
    _check(path, None if data is None else len(data), num_bytes, "bytes")
    _check(path, google_crc32c.value(data), crc32c, "CRC-32C")
    return data or b""


def write_atomically(path: Place, chunks: bytes | Iterable[bytes]) -> None:
    """Put a file in place, whole and on the disk, or leave everything as it was.

    Args:
        path: its folder is made if need be; a file that stands there is replaced.
        chunks: the content.
    """
    if isinstance(path, RemotePath):
        with _collected(chunks) as content:
            check_held(path.uri)
            path.put(content)
        return
    make_folder(path.parent)
    temporary = temporary_name(path)
    with remove_on_failure(temporary):
        local_disk.write_new(temporary, [chunks] if isinstance(chunks, bytes) else chunks)
        rename(temporary, path)
    flush(path.parent)


def write_without_lease(path: Place, data: bytes) -> None:
    """Put a file in place as `write_atomically` does, where no lock keeps others out.

    What a process that was killed left of the same file is cleared away first; under a lock `leftovers.clear_all` does.
    """
    if isinstance(path, Path):
        remove_stale_files_of(path)
    write_atomically(path, data)


def write_if_absent(path: Place, chunks: bytes | Iterable[bytes]) -> bool:
    """Put a file in place, whole and on the disk, unless one of that name is there, which then stays as it is.

    Of any number of processes that do this at once, one puts its file. Arguments as for `write_atomically`.

    Returns:
        whether the file was put.
    """
    if isinstance(path, RemotePath):
        with _collected(chunks) as content:
            check_held(path.uri)
            return path.put_new(content)
    make_folder(path.parent)
    temporary = temporary_name(path)
    with remove_on_failure(temporary):
        local_disk.write_new(temporary, [chunks] if isinstance(chunks, bytes) else chunks)
        put = link(temporary, path)
        if temporary.exists():  # else it was renamed
            delete_file(temporary)
    if put:
        flush(path.parent)
    return put


def check_does_not_exist(folder: Path) -> None:
    """Check that a name is not taken; raises BadUsage if it is."""
    if folder.exists() or folder.is_symlink():
        raise BadUsage(f"{folder} exists: name a folder that does not, or delete it first")


@contextmanager
def create_folder_atomically(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write to, and put it in place, whole and on the disk, once that is done.

    Args:
        folder: where it goes; nothing may be there. Its parents are made if need be.

    Raises:
        BadUsage: something is there already.
    """
    check_does_not_exist(folder)
    remove_stale_files_of(folder)
    make_folder(folder.parent)
    temporary = temporary_name(folder)
    with remove_on_failure(temporary):
        make_folder(temporary)
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            flush(path)
        check_does_not_exist(folder)
        rename(temporary, folder)
    flush(folder.parent)


def list_folders_with(parent: Place, name: str) -> list[Place]:
    """List the folders in a folder that hold a file of that name, in the order of their names."""
    return sorted(path.parent for path in parent.glob(f"*/{name}"))


def check_files_exist(folder: Place, names: Iterable[str]) -> None:
    """Check, before a record names them, that files of a folder are still there.

    They are gone if whoever waited for the job has given it up, and cleared the folder, while the engine went on.

    Raises:
        EngineFailed: one is not.
    """
    gone = sorted(set(names) - {path.name for path in folder.glob("*")})
    if gone:
        raise EngineFailed(f"{folder / gone[0]} is gone: the job was given up while the engine went on")


def list_files(folder: Place, pattern: str) -> list[Place]:
    """List the complete files below a folder that fit a pattern such as */*.json, in the order of their places."""
    return sorted((path for path in folder.glob(pattern) if not path.name.startswith(".")), key=str)


def count_files(folder: Place, ending: str = "") -> int:
    """Count the complete files of a folder whose names have an ending; 0 if it is not there."""
    return len(list_files(folder, f"*{ending}"))


def publish_folder(staged: Path, folder: Path) -> None:
    """Put a folder whose files are on the disk already in place, whole.

    Args:
        staged: where it was made, on the same file system.
        folder: where it goes. What is there already is the same, from an earlier try at the same work, and stays.
    """
    if not folder.exists():
        make_folder(folder.parent)
        rename(staged, folder)
        flush(folder.parent)
    remove_tree(staged)


def unpublish_folder(folder: Path, hidden: Path) -> None:
    """Delete a folder that readers may look at: for them it is gone at once, not file by file.

    Args:
        folder: what goes; nothing happens if it is not there.
        hidden: a folder on the same file system where no reader looks; made if need be.
    """
    if folder.exists():
        make_folder(hidden)
        place = hidden / uuid.uuid4().hex
        rename(folder, place)
        flush(folder.parent)
        remove_tree(place)


def make_empty_folder(folder: Place) -> None:
    """Make a folder, without anything that an interrupted run left there; a store has no folders without a file."""
    remove_tree(folder)
    if isinstance(folder, Path):
        make_folder(folder)


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Give an empty folder where temporary files are, and delete it at the end."""
    with changing("make a folder in", Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    with remove_afterwards(folder):
        yield folder


def remove_tree(path: Place) -> None:
    """Delete a folder and what is in it, or a file, if it is there."""
    if isinstance(path, RemotePath):
        check_held(path.uri)
        path.remove_below()
    elif path.is_dir():
        delete_folder(path)
    elif path.exists():
        delete_file(path)


def remove_tree_except(folder: Place, *names: str) -> None:
    """Delete what lies in a folder but for files and folders of these names; of a store's folders only files."""
    found: list[Place] = list(folder.glob("*"))
    for path in found:
        if path.name not in names:
            (remove_file if path.is_file() else remove_tree)(path)


def remove_file(path: Place) -> None:
    """Delete a file, if it is there, and make sure that it stays away."""
    if isinstance(path, RemotePath):
        check_held(path.uri)
        path.unlink()
    elif path.exists():
        delete_file(path)
        flush(path.parent)


@contextmanager
def remove_on_failure(*places: Place, record: Place | None = None) -> Iterator[None]:
    """Delete folders or files if what is done inside does not come to its end, interruptions included.

    Args:
        places: what is being made.
        record: what is written last, if anything: once it is there, all that it names is, and stays.
    """
    try:
        yield
    except BaseException:
        with suppress_storage_errors():
            if record is None or not record.exists():
                for place in places:
                    with suppress_storage_errors():
                        remove_tree(place)
        raise


@contextmanager
def remove_afterwards(place: Place) -> Iterator[None]:
    """Delete a folder or file at the end of what is done inside, whether it comes to its end or not."""
    with remove_on_failure(place):
        yield
    remove_tree(place)


def suppress_storage_errors() -> suppress:
    """Return the context for clearing away after a failure: what failed first is what to say, not a second refusal."""
    return suppress(StorageFailed, Locked)


@contextmanager
def _collected(chunks: bytes | Iterable[bytes]) -> Iterator[IO[bytes]]:
    """Give a stream of all that goes to a store: nothing is sent before all of it is there."""
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as collected:
        collected.writelines([chunks] if isinstance(chunks, bytes) else chunks)
        yield collected


def _check(path: Place, found: object, expected: object, what: str) -> None:
    if found is None:
        raise CorruptArtefact(f"{path} is missing: expected {expected} {what}; {MEND}")
    if found != expected:
        raise CorruptArtefact(f"{path} is corrupt: expected {expected} {what}, found {found}; {MEND}")
