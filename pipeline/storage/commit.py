"""Commits: writing a record, or a file that it names, without overwriting another machine's."""

import json
from collections.abc import Iterator
from pathlib import Path

from model.errors import Locked
from pipeline.storage.files import write_atomically, write_if_absent
from pipeline.storage.places import Place


def commit_file(path: Place, data: bytes) -> None:
    """Write a file atomically; in a store, never replace an existing object.

    On a disk the workspace's lock keeps other processes out. The lease of a store can be lost to another machine while
    this process is suspended; the objects that the other machine wrote are left as they are.

    Args:
        path: the file.
        data: its content. An existing record with the same file digests counts as success.

    Raises:
        Locked: another process wrote a different object.
    """
    if isinstance(path, Path):
        write_atomically(path, data)
    elif not write_if_absent(path, data) and not _is_equivalent(path.read_bytes(), data):
        raise Locked(f"{path} was written by another process in the meantime, and stays; run again")


def _is_equivalent(existing: bytes, data: bytes) -> bool:
    """Return whether two files are equal, or are records that name the same files with the same digests."""
    if existing == data:
        return True
    try:
        existing_files = sorted(_find_named_files(json.loads(existing)))
        files = sorted(_find_named_files(json.loads(data)))
    except ValueError:  # not JSON
        return False
    return bool(files) and files == existing_files


def _find_named_files(node: object) -> Iterator[tuple[str, str]]:
    """Yield the name and digest of every file in a record."""
    children: list[object] = []
    if isinstance(node, dict):
        if {"name", "sha256"} <= node.keys():
            yield node["name"], node["sha256"]
        children = list(node.values())
    elif isinstance(node, list):
        children = node
    for child in children:
        yield from _find_named_files(child)
