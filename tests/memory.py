"""Remote file systems in memory, as Beam sees them: found by the scheme of a URI. One without folders, one with."""

import io
from collections.abc import Iterator
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem


class _Written(io.BytesIO):
    def __init__(self, files: dict[str, bytes], path: str) -> None:
        super().__init__()
        self._files, self._path = files, path

    def close(self) -> None:
        if not self.closed:
            self._files[self._path] = self.getvalue()
        super().close()


class MemoryFileSystem(FileSystem):
    """One without folders, as object stores are."""

    files: dict[str, bytes] = {}  # noqa: RUF012

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def has_dirs(self) -> bool:
        return False

    def exists(self, path: str) -> bool:
        return path in self.files

    def open(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> io.BytesIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return io.BytesIO(self.files[path])

    def create(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> io.BytesIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return _Written(self.files, path)

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            if destination in self.files:
                raise BeamIOError("exists", {destination: FileExistsError(destination)})
            self.files[destination] = self.files.pop(source)

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            del self.files[path]

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(self.files[path]))

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        yield from (self.metadata(path) for path in list(self.files) if path.startswith(dir_or_prefix))

    def _unused(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("not called")

    join = split = mkdirs = copy = size = last_updated = checksum = _unused


class FolderFileSystem(MemoryFileSystem):
    """One with folders, as hdfs:// is: they must be made, are listed alone, and show in lists as empty."""

    folders: set[str] = set()  # noqa: RUF012

    @classmethod
    def scheme(cls) -> str:
        return "folders"

    def has_dirs(self) -> bool:
        return True

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.folders

    def mkdirs(self, path: str) -> None:
        while path.count("/") > 1:
            self.folders.add(path)
            path = path.rpartition("/")[0]

    def create(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> io.BytesIO:
        assert path.rpartition("/")[0] in self.folders
        return super().create(path, mime_type, compression_type)

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        if dir_or_prefix in self.files:
            raise BeamIOError("no folder", {dir_or_prefix: NotADirectoryError(dir_or_prefix)})
        found = [path for path in (*self.files, *self.folders) if path.rpartition("/")[0] == dir_or_prefix]
        yield from (FileMetadata(path, len(self.files.get(path, b""))) for path in found)
