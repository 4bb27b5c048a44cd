"""Sizes and times of the files of a folder, on a disk or in a store."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline.storage.local_disk import file_not_found
from pipeline.storage.object_store import find_store
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.records import format_time


def list_sizes(folder: Place) -> dict[str, int]:
    """Return the size in bytes of every file below a folder, hidden ones too, by its path relative to the folder."""
    if isinstance(folder, RemotePath):
        found = find_store(folder.uri).walk_sizes(folder.uri)
        return {uri.removeprefix(f"{folder.uri}/"): num_bytes for uri, num_bytes in found}
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process has deleted it meanwhile
            if path.is_file() and not path.is_symlink():
                sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    return sizes


def modified_time(path: Place) -> str:
    """Return when a file was written, in the format of records; raises FileNotFoundError if it does not exist."""
    if isinstance(path, Path):
        return format_time(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    metadata = find_store(path.uri).head(path.uri)
    if metadata is None:
        raise file_not_found(path.uri)
    return format_time(metadata["last_modified"].astimezone(UTC))
