"""Locations of files: a `pathlib.Path`, or a `RemotePath` with the part of its interface that is used here.

Functions that handle files of a workspace accept either. `object_store` transfers the bytes; it is imported only when a
RemotePath is used, because obstore takes time to import.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

from model.errors import BadUsage

if TYPE_CHECKING:
    from pipeline.storage.object_store import ObjectStore

_SEPARATOR = "://"
_INVALID_NAMES = ("", ".", "..")
_SINGLE_SLASH = re.compile(r"[a-z0-9]{2,}:/")  # a URI with a slash missing


def is_remote(uri: str) -> bool:
    """Return whether a location is a URI rather than a path."""
    return _SEPARATOR in uri


@dataclass(frozen=True, order=True)
class RemotePath:
    """An object of a store, or the folder of the objects below it. Instances can be pickled for workers.

    Methods that send requests raise StorageFailed if the store refuses them or does not answer.

    Attributes:
        uri: scheme://bucket/name or scheme://bucket, not percent-encoded; no part is empty, `.` or `..`.
    """

    uri: str

    def __post_init__(self) -> None:
        scheme, _, rest = self.uri.partition(_SEPARATOR)
        if not scheme or any(name in _INVALID_NAMES for name in rest.split("/")):
            raise BadUsage(f"{self.uri}: expected SCHEME://BUCKET/NAME/NAME")

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, below: str) -> "RemotePath":
        return RemotePath(f"{self.uri}/{below}")

    @property
    def name(self) -> str:
        """The text after the last slash; of a bucket, its name."""
        return self.uri.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return Path(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """The enclosing folder; raises BadUsage for a bucket."""
        return RemotePath(self.uri.rpartition("/")[0])

    def with_name(self, name: str) -> "RemotePath":
        """Return the location of another name in the same folder."""
        return self.parent / name

    def absolute(self) -> "RemotePath":
        """Return self: a URI does not depend on the current folder."""
        return self

    def size(self) -> int | None:
        """Return the size of the object in bytes; None if it does not exist."""
        return self._store.size(self.uri)

    def exists(self) -> bool:
        """Return whether there is an object of this name; a folder is not an object."""
        return self.size() is not None

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        return self.exists()

    def is_dir(self) -> bool:
        """Return whether there is any object below this name."""
        return next(self._store.walk(self.uri), None) is not None

    def read_bytes(self) -> bytes:
        """Return the object's bytes; raises FileNotFoundError if it does not exist."""
        return self._store.read(self.uri)

    def put(self, content: IO[bytes]) -> None:
        """Write the whole of a seekable stream atomically; an existing object is replaced."""
        self._store.put(self.uri, content, _rewind(content))

    def put_new(self, content: IO[bytes]) -> bool:
        """Write the whole of a seekable stream atomically unless the object exists; return whether it was written."""
        return self._store.put_new(self.uri, content, _rewind(content))

    def unlink(self) -> None:
        """Delete the object; a missing object is ignored."""
        self._store.delete([self.uri])

    def remove_below(self) -> None:
        """Delete every object below this name. Objects below a-10 are not below a-1."""
        self._store.delete(self._store.walk(self.uri))

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the objects below whose names match a pattern, part by part, such as */manifest.json; in any order."""
        part_patterns = pattern.split("/")
        prefix_length = len(self.uri) + 1
        for uri in self._store.walk(self.uri):
            parts = uri[prefix_length:].split("/")
            # Other programs may have written objects whose names a RemotePath cannot have.
            if len(parts) != len(part_patterns) or any(part in _INVALID_NAMES for part in parts):
                continue
            if all(map(fnmatchcase, parts, part_patterns)):
                yield RemotePath(uri)

    @property
    def _store(self) -> "ObjectStore":
        from pipeline.storage.object_store import find_store

        return find_store(self.uri)


def _rewind(content: IO[bytes]) -> int:
    """Move a stream to its start and return its length in bytes."""
    num_bytes = content.seek(0, os.SEEK_END)
    content.seek(0)
    return num_bytes


Place: TypeAlias = Path | RemotePath


def place_of(text: str | Place) -> Place:
    """Return the location that a path or URI names; raises BadUsage if the URI is malformed."""
    if isinstance(text, str) and is_remote(text):
        scheme, _, rest = text.partition(_SEPARATOR)
        return RemotePath(f"{scheme}{_SEPARATOR}{rest.rstrip('/')}")
    if isinstance(text, str) and _SINGLE_SLASH.match(text):
        raise BadUsage(f"{text}: expected SCHEME://BUCKET/NAME, or ./{text} for a folder of that name")
    return text if isinstance(text, RemotePath) else Path(text)
