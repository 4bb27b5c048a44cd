"""Reading an object of a store as a seekable stream."""

import io
from typing import BinaryIO

from pipeline.storage.local_disk import file_not_found
from pipeline.storage.object_store import BUFFER_BYTES, find_store


def open_remote(uri: str) -> BinaryIO:
    """Open an object as a seekable stream; raises FileNotFoundError if it does not exist."""
    metadata = find_store(uri).head(uri)
    if metadata is None:
        raise file_not_found(uri)
    return io.BufferedReader(RemoteStream(uri, metadata["size"], metadata["e_tag"]), BUFFER_BYTES)


class RemoteStream(io.RawIOBase):
    """A stream of one state of an object; each read is a request, and fails if the object has been replaced since."""

    def __init__(self, uri: str, num_bytes: int, e_tag: str | None = None) -> None:
        self._uri = uri
        self._num_bytes = num_bytes
        self._e_tag = e_tag
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # the type of buffers has no name in 3.11
        """Fill a buffer, up to the end of the object, and return the number of bytes."""
        num_bytes = max(0, min(len(buffer), self._num_bytes - self._position))
        data = find_store(self._uri).read(self._uri, self._position, num_bytes, self._e_tag)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
