"""Locations of files: a `pathlib.Path`, or a `RemotePath` with the part of its interface that is used here.

`object_store` transfers the bytes; it is imported only when a RemotePath is used, because obstore takes time to import.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from model.errors import BadUsage

if TYPE_CHECKING:
    from pipeline.storage.object_store import ObjectStore

_SEPARATOR = "://"
_FILE = "file://"
_INVALID_NAMES = ("", ".", "..")
_SINGLE_SLASH = re.compile(r"[a-z0-9]{2,}:/")  # a URI with a slash missing


def is_remote(uri: str) -> bool:
    """Return whether a location is a URI of a store rather than a path, or a URI of one as file:///folder."""
    return _SEPARATOR in uri and not uri.startswith(_FILE)


@dataclass(frozen=True, order=True)
class RemotePath:
    """An object of a store, or the folder of the objects below it. Instances can be pickled for workers.

    Methods that send requests raise StorageFailed if the store refuses them or does not answer.
    """

    uri: str  # scheme://bucket/name or scheme://bucket, not percent-encoded; no part is empty, `.` or `..`

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
    def is_bucket(self) -> bool:
        """Whether this is a whole bucket, which is in no folder."""
        return "/" not in self.uri.partition(_SEPARATOR)[2]

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

    def exists(self) -> bool:
        """Return whether there is an object of this name; a folder is not an object."""
        return self._store.size(self.uri) is not None

    is_file = exists

    def is_dir(self) -> bool:
        """Return whether there is any object below this name."""
        return next(self._store.walk(self.uri), None) is not None

    def read_bytes(self) -> bytes:
        """Return the object's bytes; raises FileNotFoundError if it does not exist."""
        return self._store.read(self.uri)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the objects below whose names match a pattern, part by part, such as */manifest.json; in any order."""
        part_patterns = pattern.split("/")
        prefix_length = len(self.uri) + 1
        for uri in self._list_objects(len(part_patterns)):
            parts = uri[prefix_length:].split("/")
            # Other programs may have written objects whose names a RemotePath cannot have.
            if len(parts) != len(part_patterns) or any(part in _INVALID_NAMES for part in parts):
                continue
            if all(map(fnmatchcase, parts, part_patterns)):
                yield RemotePath(uri)

    def list_children(self) -> list["RemotePath"]:
        """List the objects and the folders that are directly in this folder."""
        objects, folders = self._store.list_folder(self.uri)
        return [RemotePath(uri) for uri in (*objects, *folders) if uri.rpartition("/")[2] not in _INVALID_NAMES]

    def _list_objects(self, depth: int) -> Iterable[str]:
        """List at least the objects at a depth below."""
        return self._store.list_folder(self.uri)[0] if depth == 1 else self._store.walk(self.uri)

    @property
    def _store(self) -> "ObjectStore":
        from pipeline.storage.object_store import find_store

        return find_store(self.uri)


class ListedFolder(RemotePath):
    """A folder of a store that is listed once, the first time that its content is needed."""

    @cached_property
    def _objects(self) -> tuple[str, ...]:
        return tuple(self._store.walk(self.uri))

    def is_dir(self) -> bool:
        """Return whether there is any object below this name."""
        return bool(self._objects)

    def _list_objects(self, depth: int) -> Iterable[str]:
        return self._objects


def list_once(place: "Place") -> "Place":
    """Return a place that, if it is in a store, is listed once however often its content is asked for."""
    return ListedFolder(place.uri) if type(place) is RemotePath else place


Place: TypeAlias = Path | RemotePath


def place_of(text: str | Place) -> Place:
    """Return the location that a path or URI names; a ~ at its beginning is the user's home folder.

    Raises BadUsage if the name is empty, as that of a variable of a shell that is not set, the URI is malformed, or
    there is no home folder.
    """
    if text == "":
        raise BadUsage("the name of a file or folder is empty: write one, or . for the current folder")
    if isinstance(text, str) and text.startswith(_FILE):
        return _path_of(text)
    if isinstance(text, str) and is_remote(text):
        scheme, _, rest = text.partition(_SEPARATOR)
        return RemotePath(f"{scheme}{_SEPARATOR}{rest.rstrip('/')}")
    if isinstance(text, str) and _SINGLE_SLASH.match(text):
        raise BadUsage(f"{text}: expected SCHEME://BUCKET/NAME, or ./{text} for a folder of that name")
    if isinstance(text, str) and text.startswith("~"):
        return expand_home(Path(text))
    return text if isinstance(text, RemotePath) else Path(text)


def local_path(text: str | Path) -> Path:
    """Return a path of this machine, which text may name as `place_of` takes it; raises BadUsage for a store's URI."""
    place = place_of(str(text))
    if isinstance(place, RemotePath):
        raise BadUsage(f"{text} is a URI, expected a path of this machine")
    return place


def expand_home(path: Path) -> Path:
    """Return a path with ~ or ~USER at its beginning replaced by the home folder; raises BadUsage if there is none.

    A shell does so only at the beginning of a word, so not in --workspace=~/ws, nor in files.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise BadUsage(f"{path}: no home folder is known for it; write the whole path, or ./{path}") from None


def _path_of(uri: str) -> Path:
    host, _, path = uri.removeprefix(_FILE).partition("/")
    if host not in ("", "localhost"):
        raise BadUsage(f"{uri}: expected a file of this machine, such as file:///folder/name, or a path")
    return Path("/", unquote(path))
