"""The record contract: one example as a serialized tf.train.Example in TFRecord framing, encoded and decoded by NumPy.

A record holds three features, in this order: `image` (bytes: uint8 rows, height * width of them), `index` (int64: the
position in the source) and `label` (int64). Everything but the pixels, the two varints and the checksums is the same
in every record of a shape, so whole arrays are framed at once. The bytes equal those of protobuf's deterministic
serialization, and this file imports no TensorFlow: a Beam worker that encodes starts without it.
"""

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
_Words = npt.NDArray[np.uint64]

_LENGTH = Struct("<Q")
_HEADER_BYTES = 12  # uint64 length, uint32 masked checksum of the length
_FOOTER_BYTES = 4  # uint32 masked checksum of the payload
_GATHERED_BYTES = 2**17  # of one copy, so that it stays in the cache of the processor
_FRAME_BYTES = _HEADER_BYTES + _FOOTER_BYTES
_WORD_BYTES = 8  # that are compared at once
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


class _Part(NamedTuple):
    """Consecutive bytes of a record, as words, and which of them are the same in all records of a layout.

    Attributes:
        place: of the bytes in the record.
        mask: uint64[words], ones in the constant bytes.
        expected: uint64[words], the constant bytes; zeros in the others.
    """

    place: slice
    mask: _Words
    expected: _Words

    def match(self, found: Bytes) -> npt.NDArray[np.bool_]:
        """bool[n] from uint8[n, bytes]: whether the constant bytes are as expected."""
        wrong = np.zeros(len(found), np.uint64)
        # a loop over the few columns: NumPy takes longer for many short rows
        for column, mask, expected in zip(found.view(np.uint64).T, self.mask, self.expected, strict=True):
            wrong |= (column ^ expected) & mask
        same: npt.NDArray[np.bool_] = wrong == 0
        return same


class _Layout(NamedTuple):
    """Where the parts of a record lie when index and label take the given numbers of varint bytes."""

    template: Bytes  # uint8[record bytes], zero in the three slots and the payload's checksum
    image_slot: slice
    index_slot: slice
    label_slot: slice
    head: _Part  # what is before the image, and more
    tail: _Part  # what is after the image, and more

    def parse(self, data: Bytes, starts: Integers) -> tuple[npt.NDArray[np.bool_], Integers, Integers]:
        """bool[n], int64[n] and int64[n]: which of the records that begin there fit, their indices and labels.

        What comes of the others is undefined. All of the records are within the data, if they have the template's size.
        """
        head = _gather(data, starts, self.head.place)
        tail = _gather(data, starts, self.tail.place)
        before = self.tail.place.start
        index = tail[:, self.index_slot.start - before : self.index_slot.stop - before]
        label = tail[:, self.label_slot.start - before : self.label_slot.stop - before]
        fits = self.head.match(head) & self.tail.match(tail) & _are_varints(index) & _are_varints(label)
        return fits, _from_varints(index), _from_varints(label)


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
    ends = np.cumsum(sizes)
    starts = ends - sizes
    data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    for kind, layout in enumerate(layouts):
        chosen = np.flatnonzero(kind_of == kind)
        _fill(data, starts[chosen], layout, examples if len(layouts) == 1 else examples.take(chosen))
    _seal(data, starts, sizes)
    return data.tobytes()


def decode(data: bytes | Bytes, num_pixels: int, name: str = "shard", images: Bytes | None = None) -> Examples:
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
    content = np.frombuffer(data, np.uint8)
    starts, sizes = _find_records(content, name)
    if images is None:
        images = np.empty((len(starts), num_pixels), np.uint8)
    if len(starts) != len(images):
        raise CorruptArtefact(f"{name}: {len(starts)} records, expected {len(images)}")
    indices, labels, image_starts = (np.zeros(len(starts), np.int64) for _ in range(3))
    num_others = 0
    for size in np.unique(sizes).tolist():
        rest = np.flatnonzero(sizes == size)
        for layout in _layouts_of_size(num_pixels, size):
            fits, index, label = layout.parse(content, starts[rest])
            chosen = rest[fits]
            indices[chosen] = index[fits]
            labels[chosen] = label[fits]
            image_starts[chosen] = starts[chosen] + layout.image_slot.start
            rest = rest[~fits]
            if not len(rest):
                break
        num_others += len(rest)
    if num_others:
        raise CorruptArtefact(f"{name}: {num_others} records are not an image of {num_pixels} bytes")
    _gather(content, image_starts, slice(0, num_pixels), images)
    return Examples(indices, images, labels)


def _fill(data: Bytes, starts: Integers, layout: _Layout, examples: Examples) -> None:
    """Write records of one layout, without payload checksums; they begin at int64[n] starts."""
    _scatter(data, starts, layout.template)
    _scatter(data, starts + layout.image_slot.start, examples.images)
    for slot, values in ((layout.index_slot, examples.indices), (layout.label_slot, examples.labels)):
        _scatter(data, starts + slot.start, _to_varints(values, slot))


def _seal(data: Bytes, starts: Integers, sizes: Integers) -> None:
    """Write the masked checksum of the payload of every record after it."""
    whole = data.tobytes()  # a slice of bytes takes less time than one of an array
    ends = starts + sizes - _FOOTER_BYTES
    payloads = zip((starts + _HEADER_BYTES).tolist(), ends.tolist(), strict=True)
    found = [google_crc32c.value(whole[start:end]) for start, end in payloads]
    _scatter(data, ends, _masked(np.array(found, np.uint32)).astype("<u4").view(np.uint8).reshape(-1, _FOOTER_BYTES))


def _header(size: int) -> bytes:
    length = _LENGTH.pack(size)
    return length + _masked(np.array([google_crc32c.value(length)], np.uint32)).astype("<u4").tobytes()


def _find_records(data: Bytes, name: str) -> tuple[Integers, Integers]:
    """Walk the framing: where each record starts and how many bytes it has."""
    starts = []
    offset = 0
    end = len(data)
    content = data.data  # a memoryview is read faster than an array
    unpack = _LENGTH.unpack_from  # looked up once, not for every record
    try:
        while offset < end:
            starts.append(offset)
            offset += unpack(content, offset)[0] + _FRAME_BYTES
    except error:
        offset = -1
    if offset != end:
        raise CorruptArtefact(f"{name}: record {len(starts)} runs past the end of the file")
    records = np.array(starts, np.int64)
    return records, np.diff(records, append=end)


def _gather(data: Bytes, starts: Integers, part: slice, found: Bytes | None = None) -> Bytes:
    """Copy the same part of each record, all within the data, from where the records start: uint8[n, part's length]."""
    width = part.stop - part.start
    found = np.empty((len(starts), width), np.uint8) if found is None else found
    if not (len(starts) and width):
        return found
    items = _every_item(data, width)
    found_items = found.view(items.dtype)[:, 0]
    length = max(1, _GATHERED_BYTES // width)
    for piece in (slice(start, start + length) for start in range(0, len(starts), length)):
        found_items[piece] = items[starts[piece] + part.start]
    return found


def _scatter(data: Bytes, starts: Integers, parts: Bytes) -> None:
    """Write uint8[n, width] to where each start is, or the one uint8[width] to all of them."""
    width = parts.shape[-1]
    if len(starts) and width:
        _every_item(data, width)[starts] = np.ascontiguousarray(parts).view(f"V{width}").reshape(parts.shape[:-1])


def _every_item(data: Bytes, width: int) -> npt.NDArray[np.void]:
    """Overlapping items, one per byte offset, so that NumPy copies width bytes at once instead of one by one."""
    return np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))


def _layouts_of_size(num_pixels: int, size: int) -> list[_Layout]:
    """List the layouts whose records are that long, the likeliest first: positions are larger numbers than classes."""
    return [layout for layout in _list_layouts(num_pixels) if len(layout.template) == size]


@cache
def _list_layouts(num_pixels: int) -> list[_Layout]:
    widths = range(_MAX_VARINT_BYTES, 0, -1)
    return [_layout(num_pixels, *pair) for pair in product(widths, widths)]


@cache
def _layout(num_pixels: int, index_bytes: int, label_bytes: int) -> _Layout:
    """Lay out Features{map<string, Feature>}: field numbers as in tensorflow/core/example/{example,feature}.proto."""
    image = _map_entry(b"image", 0x0A, num_pixels)  # Feature.bytes_list = 1
    index = _map_entry(b"index", 0x1A, index_bytes)  # Feature.int64_list = 3
    label = _map_entry(b"label", 0x1A, label_bytes)
    num_bytes = sum(map(len, (image, index, label))) + num_pixels + index_bytes + label_bytes
    features = b"\x0a" + _varint(num_bytes)  # Example.features = 1
    head = _header(len(features) + num_bytes) + features + image
    sizes = [len(head), num_pixels, len(index), index_bytes, len(label), label_bytes, _FOOTER_BYTES]
    edges = list(accumulate(sizes, initial=0))
    image_slot = slice(edges[1], edges[2])
    index_slot = slice(edges[3], edges[4])
    label_slot = slice(edges[5], edges[6])
    template = np.zeros(edges[-1], np.uint8)
    constant = np.zeros(edges[-1], np.uint8)
    for part, start in ((head, 0), (index, edges[2]), (label, edges[4])):
        place = slice(start, start + len(part))
        template[place] = np.frombuffer(part, np.uint8)
        constant[place] = 0xFF
    constant[_LENGTH.size : _HEADER_BYTES] = 0  # the checksum of the length
    head_bytes = _whole_words(len(head))
    tail_bytes = _whole_words(edges[-1] - edges[2])
    head_part = _constant_part(template, constant, slice(0, head_bytes))
    tail_part = _constant_part(template, constant, slice(edges[-1] - tail_bytes, edges[-1]))
    return _Layout(template, image_slot, index_slot, label_slot, head_part, tail_part)


def _map_entry(key: bytes, kind: int, num_bytes: int) -> bytes:
    """Everything of one Features.feature map entry that stands before its num_bytes of value."""
    values = b"\x0a" + _varint(num_bytes)  # BytesList.value = 1, Int64List.value = 1 (packed)
    feature = bytes([kind]) + _varint(len(values) + num_bytes) + values
    entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(feature) + num_bytes) + feature
    return b"\x0a" + _varint(len(entry) + num_bytes) + entry


def _whole_words(num_bytes: int) -> int:
    return -(-num_bytes // _WORD_BYTES) * _WORD_BYTES


def _constant_part(template: Bytes, constant: Bytes, place: slice) -> _Part:
    """Return the part of a template at a place; a byte is compared if `constant` is 0xFF there, and not if it is 0."""
    mask = constant[place].copy()  # aligned
    return _Part(place, mask.view(np.uint64), (template[place] & mask).view(np.uint64))


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
    *others, last = groups.T
    fits: npt.NDArray[np.bool_] = last < 0x80
    if others:
        fits &= last > 0
    for group in others:  # a loop over the few columns: NumPy reduces short rows slowly
        fits &= group >= 0x80
    return fits


def _from_varints(groups: Bytes) -> Integers:
    """int64[n] from uint8[n, width]."""
    values = np.zeros(len(groups), np.int64)
    for group in groups.T[::-1]:
        values <<= 7
        values |= group & 0x7F
    return values


def _masked(checksums: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """uint32[n] from the CRC-32C of each: rotated and offset as tensorflow/core/lib/hash/crc32c.h does."""
    return (checksums >> np.uint32(15) | checksums << np.uint32(17)) + np.uint32(0xA282EAD8)
