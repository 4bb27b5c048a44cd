"""The record contract: one example as a serialized tf.train.Example in TFRecord framing, encoded and decoded by NumPy.

A record holds three features, in this order: `image` (bytes: uint8 rows, height * width of them), `index` (int64: the
position in the source) and `label` (int64). Everything but the pixels, the two varints and the checksums is the same
in every record of a shape, so whole arrays are framed at once. The bytes equal those of protobuf's deterministic
serialization, and this file imports no TensorFlow: a Beam worker that encodes starts without it.
"""

from functools import cache
from itertools import accumulate, product, starmap
from struct import Struct, error
from typing import NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from model.errors import CorruptArtefact

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

_LENGTH = Struct("<Q")
_HEADER_BYTES = 12  # uint64 length, uint32 masked checksum of the length
_FOOTER_BYTES = 4  # uint32 masked checksum of the payload
_GATHERED_BYTES = 2**17  # of one copy, so that it stays in the cache of the processor
_FRAME_BYTES = _HEADER_BYTES + _FOOTER_BYTES
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

    def fits(self, data: bytes, starts: Integers) -> npt.NDArray[np.bool_]:
        """bool[n]: whether the payloads that begin there have the template's bytes wherever all of this layout do."""
        slots = (self.image_slot, self.index_slot, self.label_slot)
        edges = [0, *(edge for slot in slots for edge in (slot.start, slot.stop)), len(self.template)]
        found = np.ones(len(starts), bool)
        for part in starmap(slice, zip(edges[::2], edges[1::2], strict=True)):
            same = _gather(data, starts, part) == self.template[part]
            if not same.all():  # one test of all bytes first: it takes a tenth of the time of a test per record
                found &= same.all(axis=1)
        for slot in (self.index_slot, self.label_slot):
            found &= _are_varints(_gather(data, starts, slot))
        return found


def concatenate(parts: list[Examples], num_pixels: int) -> Examples:
    """Join examples end to end; no parts give no examples of num_pixels pixels."""
    empty = Examples(np.zeros(0, np.int64), np.zeros((0, num_pixels), np.uint8), np.zeros(0, np.int64))
    return Examples(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))


def worst_mistakes(labels: Integers, predicted: Integers, confidence: npt.NDArray[np.float32]) -> Integers:
    """Return the positions of the misclassified examples, int64[m], the most confident first; the sort is stable.

    All arguments have the shape [n]; `confidence` is the output of the predicted class.
    """
    wrong = np.flatnonzero(labels != predicted)
    return wrong[np.argsort(-confidence[wrong], kind="stable")]


def encode(examples: Examples) -> bytes:
    """Serialize examples, in the order given, as the bytes of a TFRecord file.

    Args:
        examples: index and labels must not be negative.

    Returns:
        the records, byte-equal to protobuf's deterministic serialization in TFRecord framing.
    """
    num_pixels = examples.images.shape[1]
    widths = np.stack([_varint_widths(examples.indices), _varint_widths(examples.labels)], axis=1)
    kinds, kind_of = np.unique(widths, axis=0, return_inverse=True)
    layouts = [_layout(num_pixels, *kind) for kind in kinds.tolist()]
    sizes = np.array([len(layout.template) for layout in layouts], np.int64)[kind_of]
    ends = np.cumsum(sizes + _FRAME_BYTES)
    starts = ends - sizes - _FOOTER_BYTES
    data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    for kind, layout in enumerate(layouts):
        chosen = np.flatnonzero(kind_of == kind)
        _fill(data, starts[chosen], layout, examples if len(layouts) == 1 else examples.take(chosen))
    _seal(data, starts, sizes)
    return data.tobytes()


def decode(data: bytes, num_pixels: int, name: str = "shard", images: Bytes | None = None) -> Examples:
    """Parse the bytes of a TFRecord file that `encode` could have written.

    The checksums of single records are not read again: callers verify the digest of the whole file first.

    Args:
        data: the file.
        num_pixels: height * width of the images.
        name: what to call the file in an error.
        images: uint8[n, num_pixels] to write the pixels to; None to allocate.

    Returns:
        the examples in file order.

    Raises:
        CorruptArtefact: the framing or a record is not as the contract says, or their number is not that of
            `images`.
    """
    starts, lengths = _find_records(data, name)
    if images is not None and len(starts) != len(images):
        raise CorruptArtefact(f"{name}: {len(starts)} records, expected {len(images)}")
    indices, labels, image_starts = (np.zeros(len(starts), np.int64) for _ in range(3))
    parsed = np.zeros(len(starts), bool)
    for length in np.unique(lengths).tolist():
        for layout in _layouts_of_length(num_pixels, length):
            chosen = np.flatnonzero((lengths == length) & ~parsed)
            chosen = chosen[layout.fits(data, starts[chosen])]
            indices[chosen] = _from_varints(_gather(data, starts[chosen], layout.index_slot))
            labels[chosen] = _from_varints(_gather(data, starts[chosen], layout.label_slot))
            image_starts[chosen] = starts[chosen] + layout.image_slot.start
            parsed[chosen] = True
    if not parsed.all():
        raise CorruptArtefact(f"{name}: {int((~parsed).sum())} records are not an image of {num_pixels} bytes")
    return Examples(indices, _gather(data, image_starts, slice(0, num_pixels), images), labels)


def _fill(data: Bytes, starts: Integers, layout: _Layout, examples: Examples) -> None:
    """Write records of one layout, without payload checksums; the payloads begin at int64[n] starts."""
    _scatter(data, starts - _HEADER_BYTES, np.frombuffer(_header(len(layout.template)), np.uint8))
    _scatter(data, starts, layout.template)
    _scatter(data, starts + layout.image_slot.start, examples.images)
    for slot, values in ((layout.index_slot, examples.indices), (layout.label_slot, examples.labels)):
        _scatter(data, starts + slot.start, _to_varints(values, slot))


def _seal(data: Bytes, starts: Integers, sizes: Integers) -> None:
    """Write the masked checksum of every payload after it."""
    whole = data.tobytes()  # google_crc32c takes only bytes
    ends = starts + sizes
    found = [google_crc32c.value(whole[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    _scatter(data, ends, _masked(np.array(found, np.uint32)).astype("<u4").view(np.uint8).reshape(-1, _FOOTER_BYTES))


def _header(size: int) -> bytes:
    length = _LENGTH.pack(size)
    return length + _masked(np.array([google_crc32c.value(length)], np.uint32)).astype("<u4").tobytes()


def _find_records(data: bytes, name: str) -> tuple[Integers, Integers]:
    """Walk the framing: where each payload starts and how long it is."""
    starts = []
    offset = 0
    end = len(data)
    unpack = _LENGTH.unpack_from  # looked up once, not for every record
    try:
        while offset < end:
            starts.append(offset)
            offset += unpack(data, offset)[0] + _FRAME_BYTES
    except error:
        offset = -1
    if offset != end:
        raise CorruptArtefact(f"{name}: record {len(starts)} runs past the end of the file")
    records = np.array(starts, np.int64)
    lengths = np.diff(records, append=end) - _FRAME_BYTES
    return records + _HEADER_BYTES, lengths


def _gather(data: bytes, starts: Integers, part: slice, found: Bytes | None = None) -> Bytes:
    """uint8[n, part's length]: the same part of what begins at each start, all of it within the data."""
    width = part.stop - part.start
    found = np.empty((len(starts), width), np.uint8) if found is None else found
    if not (len(starts) and width):
        return found
    items = _every_item(data, width)
    length = max(1, _GATHERED_BYTES // width)
    for piece in (slice(start, start + length) for start in range(0, len(starts), length)):
        found[piece] = items[starts[piece] + part.start].view(np.uint8).reshape(-1, width)
    return found


def _scatter(data: Bytes, starts: Integers, parts: Bytes) -> None:
    """Write uint8[n, width] to where each start is, or the one uint8[width] to all of them."""
    width = parts.shape[-1]
    if len(starts) and width:
        _every_item(data, width)[starts] = np.ascontiguousarray(parts).view(f"V{width}").reshape(parts.shape[:-1])


def _every_item(data: bytes | Bytes, width: int) -> npt.NDArray[np.void]:
    """Overlapping items, one per byte offset, so that NumPy copies width bytes at once instead of one by one."""
    return np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))


def _layouts_of_length(num_pixels: int, length: int) -> list[_Layout]:
    """List the layouts whose payloads are that long, the likeliest first: positions are larger numbers than classes."""
    widths = range(_MAX_VARINT_BYTES, 0, -1)
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
    more = value >> 7
    last = value & 0x7F
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


def _are_varints(groups: Bytes) -> npt.NDArray[np.bool_]:
    """bool[n] from uint8[n, width]: whether each is one varint of exactly that width, in its shortest form."""
    last = groups[:, -1]
    fits: npt.NDArray[np.bool_] = (last < 0x80) & ((last > 0) | (groups.shape[1] == 1))
    return fits & (groups[:, :-1] >= 0x80).all(axis=1)


def _from_varints(groups: Bytes) -> Integers:
    """int64[n] from uint8[n, width]."""
    shifts = np.arange(0, 7 * groups.shape[1], 7)
    values: Integers = ((groups & 0x7F).astype(np.int64) << shifts).sum(axis=1, dtype=np.int64)
    return values


def _masked(checksums: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """uint32[n] from the CRC-32C of each: rotated and offset as tensorflow/core/lib/hash/crc32c.h does."""
    return (checksums >> np.uint32(15) | checksums << np.uint32(17)) + np.uint32(0xA282EAD8)
