"""Stores: what is asked of a remote file system, which one has a URI, and a stream to read an object with.

gs:// and s3:// are reached by the makers' own clients. Beam's file systems for them are built on the same clients, but
make a new client for every call, wait up to ten minutes for an endpoint that does not answer, complete an upload that
was broken off when its stream is collected, and cannot write an empty object to S3. Every other scheme goes by Beam's
file systems.

An object is put whole or not at all: by one request, or in parts that a last request puts together.
"""

import io
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import IO, BinaryIO, Protocol, runtime_checkable

from model.errors import BadUsage, StorageFailed
from pipeline.places import missing

TRIES = 4  # of each request; the waits between them add up to a few seconds
CONNECT_SECONDS = 10
READ_SECONDS = 30
_BUFFER_BYTES = 2**22  # asked for at a time where an object is read as a stream


class Store(Protocol):
    """A remote file system. Every method raises StorageFailed, which names the URI, if the store refuses or is away."""

    def size(self, uri: str) -> int | None:
        """Return the length of an object; None if there is none of that name."""

    def read(self, uri: str, start: int = 0, num_bytes: int | None = None) -> bytes:
        """Return an object's bytes from start on, to its end or num_bytes at most; raises FileNotFoundError."""

    def put(self, uri: str, content: IO[bytes], num_bytes: int) -> None:
        """Put an object of num_bytes, whole or not at all; one that stands there is replaced."""

    def put_new(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        """Put an object of num_bytes, whole, unless one stands there.

        Returns:
            whether it was put. Where the answer to an earlier try was lost, one of the same content is ours.
        """

    def walk(self, uri: str) -> Iterator[str]:
        """Yield every object below a folder, whatever the depth; raises StorageFailed if there is no such bucket."""

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects; one that is not there is none to delete."""


@runtime_checkable
class VersionedStore(Store, Protocol):
    """One that gives every state of an object a version, and can make a change depend on it, in one step."""

    def read_version(self, uri: str) -> tuple[bytes, str] | None:
        """Return an object's bytes and their version; None if there is none."""

    def replace(self, uri: str, data: bytes, version: str) -> bool:
        """Put an object in place of one of that version; returns whether that was still there."""


def holds(store: Store, uri: str, content: IO[bytes], num_bytes: int) -> bool:
    """Tell whether an object is, byte by byte, what a stream holds."""
    if store.size(uri) != num_bytes:
        return False
    content.seek(0)
    starts = range(0, num_bytes, _BUFFER_BYTES)
    return all(store.read(uri, start, _BUFFER_BYTES) == content.read(_BUFFER_BYTES) for start in starts)


def find_store(uri: str) -> Store:
    """Return the store that has a URI; raises BadUsage if nothing is installed that can read there."""
    scheme = uri.partition("://")[0]
    needed = {"gs": "google.cloud.storage", "s3": "boto3"}.get(scheme)
    if needed and not _installed(needed):
        raise not_installed(uri)
    return _open_store(scheme, uri.split("/")[2] if scheme == "hdfs" else "")


def not_installed(uri: str) -> BadUsage:
    """Return the error of a URI that nothing here can read."""
    return BadUsage(
        f"{uri}: no file system for {uri.split('://')[0]}:// is installed; "
        "backbeam[gcp] brings gs://, backbeam[aws] brings s3://, apache-beam[hadoop] brings hdfs://"
    )


def failed(uri: str, why: str) -> StorageFailed:
    """Return the error of a store that refused or did not answer."""
    return StorageFailed(f"storage: {uri}: {why}")


def split_uri(uri: str) -> tuple[str, str]:
    """Return the bucket and the name of an object there."""
    bucket, _, name = uri.partition("://")[2].partition("/")
    return bucket, name


def open_remote(uri: str) -> BinaryIO:
    """Open an object for reading, from any position; raises FileNotFoundError if there is none."""
    num_bytes = find_store(uri).size(uri)
    if num_bytes is None:
        raise missing(uri)
    return io.BufferedReader(RemoteStream(uri, num_bytes), _BUFFER_BYTES)


class RemoteStream(io.RawIOBase):
    """The bytes of an object, a request for each read."""

    def __init__(self, uri: str, num_bytes: int) -> None:
        self._uri, self._num_bytes, self._place = uri, num_bytes, 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._num_bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        """Return the position."""
        return self._place

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # the type of buffers has no name in 3.11
        """Fill a buffer as far as the object goes, and return how far."""
        wanted = min(len(buffer), self._num_bytes - self._place)
        data = find_store(self._uri).read(self._uri, self._place, wanted) if wanted > 0 else b""
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False


@cache
def _open_store(scheme: str, server: str) -> Store:
    if scheme == "gs":
        from pipeline.stores.google import GoogleStore

        return GoogleStore()
    if scheme == "s3":
        from pipeline.stores.amazon import AmazonStore

        return AmazonStore()
    from pipeline.stores.beam import BeamStore

    return BeamStore(server)
