"""Files that may be gzipped: their decompressed content, as a stream or as a copy that can be read from any offset."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from model.errors import BadInput
from pipeline.sources.idx_format import is_gzip
from pipeline.storage.files import open_binary, write_atomically
from pipeline.storage.places import Place

_COPY_BYTES = 2**22


@contextmanager
def open_decompressed(place: Place) -> Iterator[BinaryIO]:
    """Open a file, gzipped or not; raises BadInput, also while it is read, if its compression is damaged."""
    try:
        with open_binary(place) as stored:
            if not is_gzip(stored):
                yield stored
                return
            with gzip.GzipFile(fileobj=stored) as unzipped:
                yield unzipped  # type: ignore[misc]  # reads like any other binary stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{place}: corrupt gzip: {error}; expected a whole gzip file") from None


def is_compressed(place: Place) -> bool:
    """Return whether a file is gzipped."""
    with open_binary(place) as stored:
        return is_gzip(stored)


def decompress_files(files: list[Place], stack: ExitStack, scratch: Place, prefix: str) -> dict[Place, Place]:
    """Return for each file one that can be read from any offset: itself, or its copy in scratch if it is gzipped."""
    copies: dict[Place, Place] = {}
    for number, file in enumerate(files):
        compressed = is_compressed(file)
        copies[file] = scratch / f"{prefix}-{number}" if compressed else file
        if compressed:
            unzipped = stack.enter_context(open_decompressed(file))
            write_atomically(copies[file], iter(lambda stream=unzipped: stream.read(_COPY_BYTES), b""))  # type: ignore[misc]
    return copies
