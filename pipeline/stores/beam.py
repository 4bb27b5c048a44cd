"""Every other scheme, such as hdfs://, by Beam's file systems."""

import getpass
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import SEEK_SET
from typing import IO, Any
from uuid import uuid4

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.places import missing
from pipeline.stores.store import failed, not_installed

_PLAIN = CompressionTypes.UNCOMPRESSED
_HDFS_PORT = "9870"  # of the name node's WebHDFS


class BeamStore:
    """A file system that Beam knows by its scheme.

    Args:
        server: HOST or HOST:PORT of the name node's WebHDFS, for hdfs://; nothing for others.
    """

    def __init__(self, server: str) -> None:
        self._options = _hdfs_options(server) if server else []

    def size(self, uri: str) -> int | None:
        """See `store.Store`."""
        system = self._system(uri)
        with _failures(uri):
            if not system.exists(uri):
                return None
            [found] = system.match([uri])
            return int(found.metadata_list[0].size_in_bytes)

    def read(self, uri: str, start: int = 0, num_bytes: int | None = None) -> bytes:
        """See `store.Store`."""
        system = self._system(uri)
        with _failures(uri):
            if not system.exists(uri):
                raise missing(uri)
            with system.open(uri, compression_type=_PLAIN) as stream:
                stream.seek(start, SEEK_SET)
                data: bytes = stream.read() if num_bytes is None else stream.read(num_bytes)
        return data

    def put(self, uri: str, content: IO[bytes], num_bytes: int) -> None:
        """See `store.Store`: written under another name in the same folder, and renamed."""
        system = self._system(uri)
        with _failures(uri):
            temporary = _write_beside(system, uri, content)
            if system.exists(uri):
                system.delete([uri])  # these file systems do not rename over a file
            system.rename([temporary], [uri])

    def put_new(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        """See `store.Store`: written beside, and renamed, which these file systems refuse to do over a file.

        That is one step for hdfs://, whose name node decides it. For a file system that would rename over a file, all
        that is done is to look first whether there is one.
        """
        system = self._system(uri)
        with _failures(uri):
            if system.exists(uri):
                return False
            temporary = _write_beside(system, uri, content)
            try:
                system.rename([temporary], [uri])
            except BeamIOError:
                if not system.exists(uri):
                    raise
                system.delete([temporary])
                return False
        return True

    def walk(self, uri: str) -> Iterator[str]:
        """See `store.Store`."""
        system = self._system(uri)
        with _failures(uri):
            yield from _walk(system, uri) if system.has_dirs() else _list(system, f"{uri}/")

    def delete(self, uris: Iterable[str]) -> None:
        """See `store.Store`."""
        for uri in uris:
            system = self._system(uri)
            with _failures(uri):
                if system.exists(uri):
                    system.delete([uri])

    def _system(self, uri: str) -> Any:
        FileSystems.set_options(PipelineOptions(self._options))  # some refuse to be asked without any
        try:
            return FileSystems.get_filesystem(uri)
        except (ValueError, BeamIOError):
            raise not_installed(uri) from None


def _write_beside(system: Any, uri: str, content: IO[bytes]) -> str:
    """Write a file under another name in the folder of the one that is wanted, and return where."""
    folder, _, name = uri.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid4().hex}.tmp"
    if system.has_dirs() and not system.exists(folder):
        system.mkdirs(folder)
    with system.create(temporary, compression_type=_PLAIN) as stream:
        while some := content.read(2**20):
            stream.write(some)
    return temporary


def _walk(system: Any, folder: str) -> Iterator[str]:
    """Yield every file below a folder; a folder is told from an empty file by trying to list it."""
    if not system.exists(folder):
        return
    for found in list(system._list(folder)):
        try:
            yield from _walk(system, found.path) if not found.size_in_bytes else [found.path]
        except BeamIOError:
            yield found.path


def _list(system: Any, prefix: str) -> Iterator[str]:
    yield from (found.path for found in system._list(prefix))


def _hdfs_options(server: str) -> list[str]:
    """Return what Beam must be told of a name node. The user is Hadoop's, by its customary variable."""
    host, _, port = server.partition(":")
    user = os.environ.get("HADOOP_USER_NAME") or getpass.getuser()
    return [f"--hdfs_host={host}", f"--hdfs_port={port or _HDFS_PORT}", f"--hdfs_user={user}", "--hdfs_full_urls"]


@contextmanager
def _failures(uri: str) -> Iterator[None]:
    """Turn what a file system raises into StorageFailed."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BeamIOError, OSError) as problem:
        reasons = getattr(problem, "exception_details", None) or {uri: problem}
        first = next(iter(reasons.values()))
        raise failed(uri, f"{type(first).__name__}: {str(first).partition(chr(10))[0][:200]}") from None
