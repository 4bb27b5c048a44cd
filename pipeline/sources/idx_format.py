"""IDX, the file format of the MNIST family: big-endian magic number and sizes, then the bytes.

The magic number's third byte is the type (8: uint8), its fourth the number of dimensions. Source: Y. LeCun, C. Cortes
and C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from struct import unpack
from typing import BinaryIO, NamedTuple

from model.errors import BadInput
from pipeline.storage.files import file_size, open_binary
from pipeline.storage.places import Place

IMAGES_MAGIC = 0x00000803
LABELS_MAGIC = 0x00000801
_KINDS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_GZIP_MAGIC = b"\x1f\x8b"
MAX_EXAMPLE_BYTES = 2**24  # bounds a worker's memory: it holds a block, and a block has at least one example
GZIP_MAX_RATIO = 1032  # deflate needs at least 2 bits for 258 bytes: https://zlib.net/zlib_tech.html


class Header(NamedTuple):
    """The header of an IDX file: its sizes are (examples, height, width) of images, (examples,) of labels."""

    magic: int
    sizes: tuple[int, ...]

    @property
    def example_bytes(self) -> int:
        """Length of one example."""
        return prod(self.sizes[1:])

    def offset_of(self, example: int) -> int:
        """Return the position of an example in the decompressed file."""
        return 4 + 4 * len(self.sizes) + example * self.example_bytes

    @property
    def total_bytes(self) -> int:
        """Length that the decompressed file must have."""
        return 4 + 4 * len(self.sizes) + prod(self.sizes)


@contextmanager
def open_idx(place: Place, magic: int) -> Iterator[tuple[Header, BinaryIO]]:
    """Open a file, gzipped or not.

    Returns:
        the header, whose sizes are at least 1, and the decompressed stream after it.

    Raises:
        BadInput: the file has another magic number, no examples, no pixels, more than MAX_EXAMPLE_BYTES in one, or
            fewer bytes than its header promises; or its compression is damaged, which may be found while it is read.
    """
    name = str(place)
    with open_binary(place) as stored:
        compressed = is_gzip(stored)
        with _decompress(stored, compressed, name) as stream:
            header = _read_header(stream, magic, name)
            _check_room(header, file_size(place), compressed, name)
            yield header, stream


@contextmanager
def _decompress(stored: BinaryIO, compressed: bool, name: str) -> Iterator[BinaryIO]:
    try:
        if compressed:
            with gzip.GzipFile(fileobj=stored) as unzipped:
                yield unzipped  # type: ignore[misc]  # reads like any other binary stream
        else:
            yield stored
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{name}: corrupt gzip: {error}; expected a whole gzip file") from error


def _read_header(stream: BinaryIO, magic: int, name: str) -> Header:
    file_magic = _read_integers(stream, 1, name)[0]
    if file_magic != magic:
        raise BadInput(
            f"{name}: the magic number is 0x{file_magic:08x} ({_describe_magic(file_magic)}), "
            f"expected 0x{magic:08x} ({_KINDS[magic]}: {_describe_magic(magic, False)})"
        )
    sizes = _read_integers(stream, magic & 0xFF, name)
    if not all(sizes):
        raise BadInput(
            f"{name}: the split is empty: the header says {' x '.join(map(str, sizes))}, expected at least 1"
        )
    header = Header(magic, sizes)
    if header.example_bytes > MAX_EXAMPLE_BYTES:
        size = " x ".join(map(str, sizes[1:]))
        raise BadInput(f"{name}: images of {size} bytes, expected at most {MAX_EXAMPLE_BYTES} bytes each")
    return header


def _describe_magic(magic: int, with_kind: bool = True) -> str:
    """Return the type and the number of dimensions that a magic number stands for."""
    kind = _TYPES.get(magic >> 8)
    if kind is None or magic & 0xFF == 0:
        return "no IDX file"
    if with_kind and magic in _KINDS:
        return _KINDS[magic]
    return f"{kind} of {magic & 0xFF} dimension{'s' * (magic & 0xFF > 1)}"


def _read_integers(stream: BinaryIO, count: int, name: str) -> tuple[int, ...]:
    data = stream.read(4 * count)
    if len(data) < 4 * count:
        raise BadInput(f"{name}: truncated: expected an IDX header, found only {len(data)} more bytes")
    return unpack(f">{count}I", data)


def _check_room(header: Header, stored_bytes: int, compressed: bool, name: str) -> None:
    """Compare a header with the size of the stored file, before memory is allocated for the header's sizes."""
    max_bytes = stored_bytes * GZIP_MAX_RATIO if compressed else stored_bytes
    if header.total_bytes > max_bytes:
        kind = f"compressed bytes, which hold at most {max_bytes}" if compressed else "bytes"
        raise BadInput(
            f"{name}: truncated: the header promises {header.total_bytes} bytes, found {stored_bytes} {kind}"
        )


def read_body(stream: BinaryIO, header: Header, block_bytes: int, name: str) -> Iterator[bytes]:
    """Yield the bytes after the header in blocks of block_bytes, of which the last may be shorter.

    Raises BadInput if the file, called by its name, is shorter or longer than the header promises.
    """
    return read_examples(stream, header, range(header.sizes[0]), block_bytes, name)


def read_examples(stream: BinaryIO, header: Header, examples: range, block_bytes: int, name: str) -> Iterator[bytes]:
    """Yield the bytes of consecutive examples, of which the first is next in the stream; see `read_body`."""
    remaining = len(examples) * header.example_bytes
    remaining_after = (header.sizes[0] - examples.stop) * header.example_bytes
    while remaining:
        block = stream.read(min(block_bytes, remaining))
        remaining -= len(block)
        if len(block) < block_bytes and remaining:
            num_read = header.total_bytes - remaining - remaining_after
            raise BadInput(f"{name}: truncated: the header promises {header.total_bytes} bytes, found {num_read}")
        yield block
    if not remaining_after and stream.read(1):
        raise BadInput(f"{name}: trailing bytes: the header promises {header.total_bytes} bytes, found more")


def may_be_idx(start: bytes) -> bool:
    """Return whether a file with these first bytes may be an IDX file, or a gzip file that may hold one."""
    return start.startswith((b"\0\0", _GZIP_MAGIC))


def is_gzip(stream: BinaryIO) -> bool:
    """Return whether a stream starts like a gzip file; leaves the stream at its start."""
    start = stream.read(2)
    stream.seek(0)
    return start == _GZIP_MAGIC
