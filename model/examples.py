"""The record contract: one example as a serialized tf.train.Example in TFRecord framing, encoded and decoded by NumPy.

A record holds three features, in this order: `image` (bytes: uint8 rows, height * width of them), `index` (int64: the
position in the source) and `label` (int64). Everything but the pixels, the two varints and the checksums is the same
in every record of a shape, so whole arrays are framed at once. The bytes equal those of protobuf's deterministic
serialization, and this file imports no TensorFlow: a Beam worker that encodes starts without it.
"""

from collections.abc import Iterator
from functools import cache
from itertools import accumulate, product
from struct import Struct, error
from typing import NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from model.errors import CorruptArtefact

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

_LENGTH = Struct("<Q")
_CHECKSUM = Struct("<I")
_HEADER_BYTES = 12  # uint64 length, uint32 masked checksum of the length
_FOOTER_BYTES = 4  # uint32 masked checksum of the payload
_MAX_VARINT_BYTES = 9  # a non-negative int64


class Examples(NamedTuple):
    """Many decoded examples.

    Attributes:
        indices: int64[n], positions in the source.
        images: uint8[n, height * width], pixel values 0 to 255 in row order.
        labels: int64[n], classes.
    """

    indices: Integers
    images: Bytes
    labels: Integers

    def take(self, positions: Integers) -> "Examples":
        """Return the examples at int64[m] positions, in that order."""
        return Examples(self.indices[positions], self.images[positions], self.labels[positions])


class _Layout(NamedTuple):
    """Where the parts of a payload lie when index and label take the given numbers of varint bytes."""

    template: Bytes  # uint8[payload bytes], zero in the three slots
    image_slot: slice
    index_slot: slice
    label_slot: slice

    @property
    def fixed(self) -> npt.NDArray[np.bool_]:
        """bool[payload bytes]: True where every record of this layout has the template's byte."""
        mask = np.ones(len(self.template), bool)
        for slot in (self.image_slot, self.index_slot, self.label_slot):
            mask[slot] = False
        return mask


def concatenate(parts: list[Examples], num_pixels: int) -> Examples:
    """Join examples end to end; no parts give no examples of num_pixels pixels."""
    empty = Examples(np.zeros(0, np.int64), np.zeros((0, num_pixels), np.uint8), np.zeros(0, np.int64))
    return Examples(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))


def encode(examples: Examples) -> bytes:
    """Serialize examples, in the order given, as the bytes of a TFRecord file.

    Args:
        examples: index and labels must not be negative.

    Returns:
        the records, byte-equal to protobuf's deterministic serialization in TFRecord framing.
    """
    widths = np.stack([_varint_widths(examples.indices), _varint_widths(examples.labels)], axis=1)
    records: list[bytes] = [b""] * len(examples.indices)
    for index_bytes, label_bytes in np.unique(widths, axis=0).tolist():
        positions = np.flatnonzero((widths == (index_bytes, label_bytes)).all(axis=1))
        layout = _layout(examples.images.shape[1], index_bytes, label_bytes)
        framed = _frame(layout, examples.take(positions))
        for position, record in zip(positions.tolist(), framed, strict=True):
            records[position] = record
    return b"".join(records)


def decode(data: bytes, num_pixels: int, name: str = "shard") -> Examples:
    """Parse the bytes of a TFRecord file that `encode` could have written.

    The checksums of single records are not read again: callers verify the digest of the whole file first.

    Args:
        data: the file.
        num_pixels: height * width of the images.
        name: what to call the file in an error.

    Returns:
        the examples in file order.

    Raises:
        CorruptArtefact: the framing or a record is not as the contract says.
    """
    starts, lengths = _find_records(data, name)
    parts, order = [], []
    for length in np.unique(lengths).tolist():
        positions = np.flatnonzero(lengths == length)
        payloads = b"".join([data[start : start + length] for start in starts[positions].tolist()])
        rows = np.frombuffer(payloads, np.uint8).reshape(len(positions), length)
        for chosen, examples in _parse_rows(rows, num_pixels, name):
            parts.append(examples)
            order.append(positions[chosen])
    if not parts:
        return concatenate([], num_pixels)
    return concatenate(parts, num_pixels).take(np.argsort(np.concatenate(order)).astype(np.int64))


def _frame(layout: _Layout, examples: Examples) -> Iterator[bytes]:
    """Yield one framed record for each example of the layout."""
    rows = np.broadcast_to(layout.template, (len(examples.indices), len(layout.template))).copy()
    rows[:, layout.image_slot] = examples.images
    rows[:, layout.index_slot] = _to_varints(examples.indices, layout.index_slot)
    rows[:, layout.label_slot] = _to_varints(examples.labels, layout.label_slot)
    payloads, size = rows.tobytes(), len(layout.template)
    length = _LENGTH.pack(size)
    header = length + _CHECKSUM.pack(_masked_checksum(length))
    for start in range(0, len(payloads), size):
        payload = payloads[start : start + size]
        yield header + payload + _CHECKSUM.pack(_masked_checksum(payload))


def _find_records(data: bytes, name: str) -> tuple[Integers, Integers]:
    """Walk the framing: where each payload starts and how long it is."""
    starts, lengths, offset, unpack = [], [], 0, _LENGTH.unpack_from
    try:
        while offset < len(data):
            (length,) = unpack(data, offset)
            starts.append(offset + _HEADER_BYTES)
            lengths.append(length)
            offset += length + _HEADER_BYTES + _FOOTER_BYTES
    except error:
        offset = -1
    if offset != len(data):
        raise CorruptArtefact(f"{name}: record {len(starts)} runs past the end of the file")
    return np.array(starts, np.int64), np.array(lengths, np.int64)


def _parse_rows(rows: Bytes, num_pixels: int, name: str) -> Iterator[tuple[Integers, Examples]]:
    """Split payloads of one length by layout and read their fields."""
    num_parsed = 0
    for layout in _layouts_of_length(num_pixels, rows.shape[1]):
        fixed = layout.fixed
        chosen = np.flatnonzero((rows[:, fixed] == layout.template[fixed]).all(axis=1))
        num_parsed += len(chosen)
        found = rows[chosen]
        index, labels = _from_varints(found[:, layout.index_slot]), _from_varints(found[:, layout.label_slot])
        yield chosen, Examples(index, found[:, layout.image_slot], labels)
    if num_parsed != len(rows):
        raise CorruptArtefact(f"{name}: {len(rows) - num_parsed} records are not an image of {num_pixels} bytes")


def _layouts_of_length(num_pixels: int, length: int) -> list[_Layout]:
    widths = range(1, _MAX_VARINT_BYTES + 1)
    layouts = [_layout(num_pixels, *pair) for pair in product(widths, widths)]
    return [layout for layout in layouts if len(layout.template) == length]


@cache
def _layout(num_pixels: int, index_bytes: int, label_bytes: int) -> _Layout:
    """Lay out Features{map<string, Feature>}: field numbers as in tensorflow/core/example/{example,feature}.proto."""
    image = _map_entry(b"image", 0x0A, num_pixels)  # Feature.bytes_list = 1
    index = _map_entry(b"index", 0x1A, index_bytes)  # Feature.int64_list = 3
    label = _map_entry(b"label", 0x1A, label_bytes)
    num_bytes = sum(map(len, (image, index, label))) + num_pixels + index_bytes + label_bytes
    head = b"\x0a" + _varint(num_bytes) + image  # Example.features = 1
    sizes = [len(head), num_pixels, len(index), index_bytes, len(label), label_bytes]
    edges = list(accumulate(sizes, initial=0))
    template = head + bytes(num_pixels) + index + bytes(index_bytes) + label + bytes(label_bytes)
    slots = [slice(edges[i], edges[i + 1]) for i in (1, 3, 5)]
    return _Layout(np.frombuffer(template, np.uint8), *slots)


def _map_entry(key: bytes, kind: int, num_bytes: int) -> bytes:
    """Everything of one Features.feature map entry that stands before its num_bytes of value."""
    values = b"\x0a" + _varint(num_bytes)  # BytesList.value = 1, Int64List.value = 1 (packed)
    feature = bytes([kind]) + _varint(len(values) + num_bytes) + values
    entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(feature) + num_bytes) + feature
    return b"\x0a" + _varint(len(entry) + num_bytes) + entry


def _varint(value: int) -> bytes:
    more, last = value >> 7, value & 0x7F
    return bytes([last | 0x80]) + _varint(more) if more else bytes([last])


def _varint_widths(values: Integers) -> Integers:
    """int64[n]: how many bytes each value takes as a varint."""
    if values.size and values.min() < 0:
        raise ValueError("index and label must not be negative")
    thresholds = np.int64(1) << np.arange(7, 63, 7, dtype=np.int64)
    return np.searchsorted(thresholds, values, side="right").astype(np.int64) + 1


def _to_varints(values: Integers, slot: slice) -> Bytes:
    """uint8[n, width]: values that all take the slot's number of bytes."""
    width = slot.stop - slot.start
    groups = (values[:, None] >> np.arange(0, 7 * width, 7)) & 0x7F
    groups[:, :-1] |= 0x80
    return groups.astype(np.uint8)


def _from_varints(groups: Bytes) -> Integers:
    """int64[n] from uint8[n, width]."""
    shifts = np.arange(0, 7 * groups.shape[1], 7)
    values: Integers = ((groups & 0x7F).astype(np.int64) << shifts).sum(axis=1, dtype=np.int64)
    return values


def _masked_checksum(data: bytes) -> int:
    """CRC-32C, rotated and offset as tensorflow/core/lib/hash/crc32c.h does."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
