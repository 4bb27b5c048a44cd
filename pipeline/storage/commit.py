"""Commits: writing a record, or a file that it names, without overwriting another machine's."""

import json
from collections.abc import Iterator
from pathlib import Path

from model.errors import Locked
from pipeline.storage.files import write_atomically, write_if_absent
from pipeline.storage.places import Place


def commit_file(path: Place, data: bytes) -> None:
    """Write a file atomically; in a store, never replace an object, unlike on a disk, where the lock keeps others out.

    The lease of a store can be lost to another machine while this process is suspended. An existing record with the
    same file digests counts as success.

    Raises:
        Locked: another process wrote a different object.
    """
    if isinstance(path, Path):
        write_atomically(path, data)
    elif not write_if_absent(path, data) and not _is_equivalent(path.read_bytes(), data):
        raise Locked(f"{path} was written by another process in the meantime, and stays; run again")


def _is_equivalent(existing: bytes, data: bytes) -> bool:
    """Return whether two files are equal, or are records that name the same files with the same digests."""
    try:
        files = sorted(_find_named_files(json.loads(data)))
        return existing == data or (bool(files) and files == sorted(_find_named_files(json.loads(existing))))
    except ValueError:  # not JSON
        return existing == data


def _find_named_files(node: object) -> Iterator[tuple[str, str]]:
    """Yield the name and digest of every file in a record."""
    if isinstance(node, dict):
        if {"name", "sha256"} <= node.keys():
            yield node["name"], node["sha256"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _find_named_files(child)
