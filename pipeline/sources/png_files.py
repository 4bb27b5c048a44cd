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
    rows: bytes

    def decode(self) -> Image.Image:
        """Decode the rows; raises ValueError if they are damaged."""
        return Image.frombytes(self.mode, (self.width, self.height), self.rows, "zip", self.mode, False)


def read_plain_png(data: bytes) -> PlainPng | None:
    """Verify the checksums of a file with the signature of PNG; return its picture, or None if it is no plain one.

    Raises ValueError if a checksum is wrong or the file ends too early.
    """
    chunks = list(_read_chunks(data))
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND" or set(kinds[1:-1]) != {b"IDAT"}:
        return None
    if len(chunks[0][1]) != _HEADER.size:
        return None
    width, height, bits, colour, *rest = _HEADER.unpack(chunks[0][1])
    if (bits, *rest) != _PLAIN or colour not in _MODES or not width or not height:
        return None
    return PlainPng(_MODES[colour], width, height, b"".join(rows for _, rows in chunks[1:-1]))


def _read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the data of each chunk; what follows the last one, IEND, is ignored."""
    start = _SIGNATURE_BYTES
    kind = b""
    while kind != b"IEND":
        if start + _CHUNK.size > len(data):
            raise ValueError("truncated")
        length, kind = _CHUNK.unpack_from(data, start)
        end = start + _CHUNK.size + length
        checksum = data[end : end + _CRC_BYTES]
        if len(checksum) < _CRC_BYTES:
            raise ValueError("truncated")
        if zlib.crc32(data[start + _CRC_BYTES : end]) != int.from_bytes(checksum, "big"):
            raise ValueError(f"the checksum of the chunk {kind!r} is wrong")
        yield kind, data[start + _CHUNK.size : end]
        start = end + _CRC_BYTES
