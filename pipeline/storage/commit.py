"""Commits: records and what they name, put in place so that no other machine's work is written over."""

import json
from collections.abc import Iterator
from pathlib import Path

from model.errors import Locked
from pipeline.storage.files import write_atomically, write_if_absent
from pipeline.storage.places import Place


def commit_file(path: Place, data: bytes) -> None:
    """Put a file in place that no other process may have made; in a store it never replaces one.

    On a disk the workspace's lock is enough for that. One in a store may be lost to another machine while this one does
    not come to run, and then what the other has written stays as it is.

    Args:
        path: where it goes.
        data: the content. A record that names the same files as one that is there is as good as that.

    Raises:
        Locked: something else is there.
    """
    if isinstance(path, Path):
        write_atomically(path, data)
    elif not write_if_absent(path, data) and not _says_the_same(path.read_bytes(), data):
        raise Locked(f"{path} was written by another process in the meantime, and stays; run again")


def _says_the_same(one: bytes, other: bytes) -> bool:
    """Tell whether two files are the same, or two records that name the same files."""
    if one == other:
        return True
    try:
        named = [sorted(_named_files(json.loads(data))) for data in (one, other)]
    except ValueError:  # no records
        return False
    return bool(named[0]) and named[0] == named[1]


def _named_files(part: object) -> Iterator[tuple[str, str]]:
    """Yield the name and the digest of every file in a record."""
    if isinstance(part, dict) and {"name", "sha256"} <= part.keys():
        yield part["name"], part["sha256"]
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _named_files(each)
