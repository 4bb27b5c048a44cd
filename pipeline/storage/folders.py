"""Atomic creation, publication and removal of folders on a disk."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import BadUsage
from pipeline.storage.cleanup import remove_stale_files_of, temporary_name
from pipeline.storage.files import remove_on_failure, remove_tree
from pipeline.storage.local_disk import flush, make_folder, rename


def check_does_not_exist(folder: Path) -> None:
    """Raise BadUsage if something of this name exists."""
    if folder.exists() or folder.is_symlink():
        raise BadUsage(f"{folder} exists: name a folder that does not, or delete it first")


@contextmanager
def create_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to write to; at the end, flush it and rename it.

    Parents of the folder are created. Raises BadUsage if something of its name exists.
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


def publish_folder(staged: Path, folder: Path) -> None:
    """Rename a staged folder, whose files have been flushed, on the same file system.

    If the final name exists, an earlier attempt at the same work made it, and the staged folder is deleted.
    """
    if not folder.exists():
        make_folder(folder.parent)
        rename(staged, folder)
        flush(folder.parent)
    remove_tree(staged)


def unpublish_folder(folder: Path, hidden: Path) -> None:
    """Delete a folder, if it exists, atomically for its readers: it is first renamed into a hidden one."""
    if folder.exists():
        make_folder(hidden)
        renamed = hidden / uuid.uuid4().hex
        rename(folder, renamed)
        flush(folder.parent)
        remove_tree(renamed)
