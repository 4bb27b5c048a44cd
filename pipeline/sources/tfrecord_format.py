"""TFRecord files of `tf.train.Example` of any writer, read without TensorFlow: framing, checksums and messages.

TensorFlow itself ends the process for a record of 2**40 bytes, so lengths are checked here before anything is read.
"""

from collections.abc import Iterator
from os import SEEK_CUR
from struct import Struct
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import google_crc32c
from google.protobuf.message import DecodeError

from model.errors import BadInput

MAX_RECORD_BYTES = 2**24 + 2**16  # an image of MAX_EXAMPLE_BYTES and what describes it; a parsed one takes some more
_HEADER = Struct("<QI")  # length, masked checksum of the length
_FOOTER_BYTES = 4  # masked checksum of the payload
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # how streams of ZLIB begin
_FRAME_BYTES = _HEADER.size + _FOOTER_BYTES
_LENGTH_BYTES = 8

Values: TypeAlias = list[bytes] | list[int] | list[float]


class StoredRecord(NamedTuple):
    """A serialized record and the bytes of its frame."""

    payload: bytes
    frame: bytes


def read_records(stream: BinaryIO, name: str, number: int = 0) -> Iterator[StoredRecord]:
    """Yield the records of a file whose checksums are right, of which the stream is at the one of that number.

    Raises BadInput for the first one that is damaged.
    """
    while header := stream.read(_HEADER.size):
        where = f"{name}: record {number}"
        length = _check_header(header, where)
        rest = stream.read(length + _FOOTER_BYTES)
        if len(rest) < length + _FOOTER_BYTES:
            raise BadInput(f"{where}: truncated: its header promises {length} bytes")
        payload = rest[:length]
        if int.from_bytes(rest[length:], "little") != mask_checksum(google_crc32c.value(payload)):
            raise BadInput(f"{where}: its checksum is wrong: the file is damaged")
        yield StoredRecord(payload, header + rest)
        number += 1


def _check_header(header: bytes, where: str) -> int:
    """Return the length of a record's payload; raises BadInput if its header is damaged."""
    if len(header) < _HEADER.size:
        raise BadInput(f"{where}: truncated: {len(header)} bytes of a header, expected {_HEADER.size}")
    length, checksum = _HEADER.unpack(header)
    if checksum != mask_checksum(google_crc32c.value(header[:_LENGTH_BYTES])):
        kind = "compressed by ZLIB: write it with GZIP" if header[:2] in _ZLIB else "damaged, or no TFRecord file"
        raise BadInput(f"{where}: the checksum of its length is wrong: the file is {kind}")
    if length > MAX_RECORD_BYTES:
        raise BadInput(f"{where}: {length} bytes, expected at most {MAX_RECORD_BYTES}")
    return int(length)


def skip_records(stream: BinaryIO, name: str) -> Iterator[int]:
    """Yield the size of each record with its frame, without reading payloads; raises BadInput for a damaged header.

    A record that is cut off counts as whole.
    """
    number = 0
    while header := stream.read(_HEADER.size):
        num_rest = _check_header(header, f"{name}: record {number}") + _FOOTER_BYTES
        stream.seek(num_rest, SEEK_CUR)
        yield len(header) + num_rest
        number += 1


def may_be_records(start: bytes) -> bool:
    """Return whether a file with these first bytes begins with a record: its length has the right checksum."""
    if len(start) < _HEADER.size:
        return False
    _, checksum = _HEADER.unpack(start[: _HEADER.size])
    return bool(checksum == mask_checksum(google_crc32c.value(start[:_LENGTH_BYTES])))


def split_records(data: bytes) -> Iterator[bytes]:
    """Yield the payloads of whole records that `read_records` has checked."""
    offset = 0
    while offset < len(data):
        length = int.from_bytes(data[offset : offset + _LENGTH_BYTES], "little")
        yield data[offset + _HEADER.size : offset + _HEADER.size + length]
        offset += length + _FRAME_BYTES


def mask_checksum(checksum: int) -> int:
    """Return the masked form of a CRC-32C, as in tensorflow/core/lib/hash/crc32c.h."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(payload: bytes, name: str) -> dict[str, Values]:
    """Return the values of each feature of an Example; raises BadInput if it is none."""
    from pipeline.sources.example_message import example_type  # protobuf's descriptors are slow to import

    try:
        example: Any = example_type().FromString(payload)
    except DecodeError:
        raise BadInput(f"{name}: no tf.train.Example") from None
    found = dict[str, Values]()
    for key, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        found[key] = list(getattr(feature, kind).value) if kind else list[int]()
    return found
