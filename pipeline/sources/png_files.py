"""Read PNG files as most programs write them without Pillow's parser, which takes longer than decoding small pictures.

Source of the format: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)",
https://www.w3.org/TR/png-3/.
"""

import zlib
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from PIL import Image

_SIGNATURE_BYTES = 8
_CHUNK = Struct(">I4s")  # bytes of data, and kind; the data and a CRC-32 follow
_CRC_BYTES = 4
_HEADER = Struct(">IIBBBBB")  # width, height, bits, kind of colour, compression, filter, interlacing
_MODES = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}  # by the kind of colour
_PLAIN = (8, 0, 0, 0)  # bits, compression, filter, interlacing


class PlainPng(NamedTuple):
    """A picture of 8 bits a channel, its rows one after the other, without metadata: its mode and compressed rows."""

    mode: str
    width: int
    height: int
    rows: bytes | bytearray

    def decode(self) -> Image.Image:
        """Decode the rows; raises ValueError if they are damaged."""
        return Image.frombytes(self.mode, (self.width, self.height), self.rows, "zip", self.mode, False)


def read_plain_png(data: bytes) -> PlainPng | None:
    """Verify the checksums of a file with the signature of PNG; return its picture, or None if it is no plain one.

    Raises ValueError if a checksum is wrong or the file ends too early.
    """
    chunks = _read_chunks(data)
    kind, header = next(chunks)
    rows = bytearray()  # a list of chunks would take far more memory than a file of tiny ones
    others = set[bytes]()
    for other, content in chunks:
        if other == b"IDAT":
            rows += content
        else:
            others.add(other)
    if kind != b"IHDR" or len(header) != _HEADER.size or others != {b"IEND"}:
        return None
    width, height, bits, colour, *rest = _HEADER.unpack(header)
    if (bits, *rest) != _PLAIN or colour not in _MODES or not width or not height:
        return None
    return PlainPng(_MODES[colour], width, height, rows)


def _read_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and the data of each chunk; what follows the last one, IEND, is ignored."""
    view = memoryview(data)
    start = _SIGNATURE_BYTES
    kind = b""
    while kind != b"IEND":
        if start + _CHUNK.size > len(data):
            raise ValueError("truncated")
        length, kind = _CHUNK.unpack_from(data, start)
        end = start + _CHUNK.size + length
        checksum = view[end : end + _CRC_BYTES]
        if len(checksum) < _CRC_BYTES:
            raise ValueError("truncated")
        if zlib.crc32(view[start + _CRC_BYTES : end]) != int.from_bytes(checksum, "big"):
            raise ValueError(f"the checksum of the chunk {kind!r} is wrong")
        yield kind, view[start + _CHUNK.size : end]
        start = end + _CRC_BYTES
