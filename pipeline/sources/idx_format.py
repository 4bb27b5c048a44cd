"""IDX, the format of the MNIST family: big-endian magic number and sizes, then the bytes. Trusts nothing.

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

IMAGES_MAGIC = 0x00000803
LABELS_MAGIC = 0x00000801
_KINDS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
_GZIP_MAGIC = b"\x1f\x8b"
MAX_EXAMPLE_BYTES = 2**24  # a worker holds a block of examples, and a block holds at least one
_GZIP_MAX_RATIO = 1032  # deflate spends at least one bit on 258 / 2 bytes: https://zlib.net/zlib_tech.html


class Header(NamedTuple):
    """What an IDX file says of itself.

    Attributes:
        magic: IMAGES_MAGIC or LABELS_MAGIC.
        sizes: (examples, height, width) of images, (examples,) of labels.
    """

    magic: int
    sizes: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Length of the header."""
        return 4 + 4 * len(self.sizes)

    @property
    def example_bytes(self) -> int:
        """Length of one example."""
        return prod(self.sizes[1:])

    @property
    def total_bytes(self) -> int:
        """Length that the decompressed file must have."""
        return self.num_bytes + prod(self.sizes)


def read_header(stream: BinaryIO, magic: int, name: str) -> Header:
    """Read and check the header of a decompressed IDX stream.

    Args:
        stream: at its start.
        magic: the kind of file that is wanted.
        name: what to call the file in an error.

    Returns:
        the header; every size is at least 1.

    Raises:
        BadInput: it is another kind of file, or one without examples or without pixels.
    """
    found = _read_integers(stream, 1, name)[0]
    if found != magic:
        raise BadInput(
            f"{name}: the magic number is 0x{found:08x} ({_KINDS.get(found, 'no IDX file of bytes')}), "
            f"expected 0x{magic:08x} ({_KINDS[magic]})"
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


def read_body(stream: BinaryIO, header: Header, block_bytes: int, name: str) -> Iterator[bytes]:
    """Yield what follows the header, block by block, and check that it is exactly as long as the header says.

    Args:
        stream: just after its header.
        header: as read.
        block_bytes: length of every block but perhaps the last.
        name: what to call the file in an error.

    Raises:
        BadInput: the file ends early or goes on.
    """
    left = prod(header.sizes)
    while left:
        block = stream.read(min(block_bytes, left))
        left -= len(block)
        if len(block) < block_bytes and left:
            found = header.total_bytes - left
            raise BadInput(f"{name}: truncated: the header promises {header.total_bytes} bytes, found {found}")
        yield block
    if stream.read(1):
        raise BadInput(f"{name}: trailing bytes: the header promises {header.total_bytes} bytes, found more")


def check_room(header: Header, stored_bytes: int, compressed: bool, name: str) -> None:
    """Refuse a header that promises more than the stored file can hold, before anything is allocated for it.

    Raises:
        BadInput: it does.
    """
    most = stored_bytes * _GZIP_MAX_RATIO if compressed else stored_bytes
    if header.total_bytes > most:
        kind = f"compressed bytes, which hold at most {most}" if compressed else "bytes"
        raise BadInput(
            f"{name}: truncated: the header promises {header.total_bytes} bytes, found {stored_bytes} {kind}"
        )


def starts_like_one(start: bytes) -> bool:
    """Tell by a file's first bytes whether it may be an IDX file or a gzip file, which may hold one."""
    return start.startswith((b"\0\0", _GZIP_MAGIC))


def is_gzip(stream: BinaryIO) -> bool:
    """Tell by the first two bytes, not by the name; leaves the stream at its start."""
    start = stream.read(2)
    stream.seek(0)
    return start == _GZIP_MAGIC


@contextmanager
def decompressed(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Give the stream's content, decompressed if it is gzip, with every fault of the compression as BadInput."""
    try:
        if is_gzip(stream):
            with gzip.GzipFile(fileobj=stream) as unzipped:
                yield unzipped  # type: ignore[misc]  # reads like any other binary stream
        else:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise BadInput(f"{name}: corrupt gzip: {problem}; expected a whole gzip file") from problem


def _read_integers(stream: BinaryIO, count: int, name: str) -> tuple[int, ...]:
    data = stream.read(4 * count)
    if len(data) < 4 * count:
        raise BadInput(f"{name}: truncated: expected an IDX header, found only {len(data)} more bytes")
    return unpack(f">{count}I", data)
