"""Where files lie: a `pathlib.Path`, or a `RemotePath` with the part of its interface that is used here.

Whatever handles a file of a workspace takes either. How bytes get there and back is in `stores`, which is imported
only when a remote place is used.
"""

import errno
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
_NO_NAMES = ("", ".", "..")
_ALMOST_REMOTE = re.compile(r"[a-z0-9]{2,}:/")


def is_remote(uri: str) -> bool:
    """Tell whether a place is a URI of a remote file system rather than a path."""
    return _SEPARATOR in uri


@dataclass(frozen=True, order=True)
class RemotePath:
    """An object of a store, or the objects below it as a folder; a value that travels to workers.

    Attributes:
        uri: scheme://bucket/name, or scheme://bucket; nothing in it is escaped, and no name is empty, `.` or `..`.
    """

    uri: str

    def __post_init__(self) -> None:
        scheme, _, rest = self.uri.partition(_SEPARATOR)
        if not scheme or any(name in _NO_NAMES for name in rest.split("/")):
            raise BadUsage(f"{self.uri}: expected SCHEME://BUCKET/NAME/NAME")

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, below: str) -> "RemotePath":
        return RemotePath(f"{self.uri}/{below}")

    @property
    def name(self) -> str:
        """What stands after the last slash; of a bucket, the bucket."""
        return self.uri.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return Path(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """The folder that it is in; raises BadUsage for a bucket, which is in none."""
        return RemotePath(self.uri.rpartition("/")[0])

    def with_name(self, name: str) -> "RemotePath":
        """Return the place of another name in the same folder."""
        return self.parent / name

    def absolute(self) -> "RemotePath":
        """Return itself: it means the same everywhere."""
        return self

    def size(self) -> int | None:
        """Return the length of the object in bytes; None if there is none."""
        return self._store.size(self.uri)

    def exists(self) -> bool:
        """Tell whether there is an object of this name; a folder is none."""
        return self.size() is not None

    def is_file(self) -> bool:
        """Tell whether there is an object of this name."""
        return self.exists()

    def is_dir(self) -> bool:
        """Tell whether there is any object below this name."""
        return next(self._store.walk(self.uri), None) is not None

    def read_bytes(self) -> bytes:
        """Return the object's bytes; raises FileNotFoundError if there is none."""
        return self._store.read(self.uri)

    def put(self, content: IO[bytes]) -> None:
        """Put an object of all the bytes of a stream, whole or not at all; one that stands there is replaced."""
        num_bytes = content.seek(0, os.SEEK_END)
        content.seek(0)
        self._store.put(self.uri, content, num_bytes)

    def put_new(self, content: IO[bytes]) -> bool:
        """Put an object of all the bytes of a stream, whole, unless one stands there; returns whether it was put."""
        num_bytes = content.seek(0, os.SEEK_END)
        content.seek(0)
        return self._store.put_new(self.uri, content, num_bytes)

    def unlink(self) -> None:
        """Delete the object, if there is one."""
        self._store.delete([self.uri])

    def remove_below(self) -> None:
        """Delete every object below this name; those of a longer name, as a-10 is than a-1, are not below it."""
        self._store.delete(self._store.walk(self.uri))

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the objects below whose names fit a pattern part by part, such as */manifest.json, in no order."""
        wanted, start = pattern.split("/"), len(self.uri) + 1
        for uri in self._store.walk(self.uri):
            parts = uri[start:].split("/")
            ours = not any(part in _NO_NAMES for part in parts)  # others may have put there what they like
            if ours and len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
                yield RemotePath(uri)

    @property
    def _store(self) -> "ObjectStore":
        from pipeline.storage.object_store import find_store

        return find_store(self.uri)


Place: TypeAlias = Path | RemotePath


def place_of(text: str | Place) -> Place:
    """Return the place that a user names by a path or a URI; raises BadUsage if the URI is none of a folder."""
    if isinstance(text, str) and is_remote(text):
        scheme, _, rest = text.partition(_SEPARATOR)
        return RemotePath(f"{scheme}{_SEPARATOR}{rest.rstrip('/')}")
    if isinstance(text, str) and _ALMOST_REMOTE.match(text):
        raise BadUsage(f"{text}: expected SCHEME://BUCKET/NAME, or ./{text} for a folder of that name")
    return text if isinstance(text, RemotePath) else Path(text)


def file_not_found(uri: str) -> FileNotFoundError:
    """Return the error of an object that is not there, as a local file's would be."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri)
