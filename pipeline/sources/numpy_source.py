"""NumPy files as a source: one .npz file of four arrays, or four files of one array each; six with a validation split.

The identity of a split is that of the IDX files with the same pixels and labels, wherever there are such files.
Arrays are copied into temporary files, decompressed, and read in ranges as IDX files are.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import google_crc32c
import numpy as np

from model.errors import BadInput
from model.examples import Examples, Integers
from pipeline.sources.array_images import ImageArray, find_image_array
from pipeline.sources.blocks import (
    BLOCK_BYTES,
    Block,
    BlockRange,
    ClassCount,
    ExampleFormat,
    RejectedExample,
    SourceInfo,
    SourceScan,
    SplitScan,
    changed_since_scan,
    choose_class_names,
)
from pipeline.sources.catalog import (
    FILE_NAMES_OF,
    MAX_CLASSES,
    MAX_INTEGER,
    NUMPY_NAME,
    SPLITS,
    UNDIVIDED_SPLITS,
    PictureOptions,
)
from pipeline.sources.held_out import with_held_out
from pipeline.sources.idx_format import IMAGES_MAGIC, LABELS_MAGIC
from pipeline.sources.idx_source import MANY_BLOCKS, MAX_BLOCK_BYTES
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.npy_format import ArrayFile, ArrayHeader, open_array, read_array_items
from pipeline.sources.numpy_files import EXAMPLE, NumpySource, find_in_files, find_in_folder, holds_numpy_file
from pipeline.storage.files import read_range, write_atomically
from pipeline.storage.places import Place


@dataclass(frozen=True)
class ArrayRange(BlockRange):
    """A range of a split's two arrays, whose bytes are in temporary files when it is read, and their CRC-32C."""

    images: Place
    labels: Place
    file: str  # of the labels, in the reason of a rejection
    image_array: ImageArray
    label_dtype: str
    images_checksum: int
    labels_checksum: int

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the one block of a range; raises BadInput if its bytes have changed since the scan."""
        pixels = self.image_array.decode(self._read(self.images, self.image_array.num_bytes, self.images_checksum))
        stored = self._read(self.labels, np.dtype(self.label_dtype).itemsize, self.labels_checksum)
        labels = _decode_labels(stored, self.label_dtype) - target.first_label
        indices = np.arange(self.start, self.start + self.num_examples)
        examples = Examples(indices, pixels.reshape(-1, target.num_pixels), labels)
        valid = (labels >= 0) & (labels < target.num_classes)
        bad = examples.take(np.flatnonzero(~valid))
        rejected = tuple(
            RejectedExample(self.split, self.file, index, target.describe_label_fault(label))
            for index, label in zip(bad.indices.tolist(), bad.labels.tolist(), strict=True)
        )
        conversions = self.image_array.conversions * int(np.count_nonzero(valid))
        yield Block(self.split, examples.take(np.flatnonzero(valid)), rejected, conversions)

    def _read(self, place: Place, item_bytes: int, checksum: int) -> bytes:
        data = read_range(place, self.start * item_bytes, self.num_examples * item_bytes)
        if google_crc32c.value(data) != checksum:
            raise changed_since_scan(place)
        return data


@dataclass(frozen=True)
class ArraySplitScan(SplitScan):
    """The scan of a split's two arrays."""

    ranges: tuple[ArrayRange, ...]
    arrays: tuple[ArrayFile, ArrayFile]
    labels: frozenset[int]

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Copy the arrays into scratch and return ranges of the copies; see `SplitScan.open`."""
        places = [scratch / info.name for info in self.infos]
        for array, place in zip(self.arrays, places, strict=True):
            with open_array(array) as (header, stream):
                write_atomically(place, read_array_items(stream, header, _piece_items(header), array))
        return tuple(replace(block, images=places[0], labels=places[1]) for block in self.ranges)


def scan(source: NumpySource, num_classes: ClassCount, first_label: int = 0) -> SourceScan:
    """Read the arrays of each split; arguments and errors as for `source_lookup.scan_source`."""
    names = SPLITS if source.options.test_share is None else UNDIVIDED_SPLITS
    pairs = zip(names, source.arrays[::2], source.arrays[1::2], strict=False)  # not all have a validation split
    splits = {split: _scan_split(split, (images, labels), source.options) for split, images, labels in pairs}
    if len({split.image_size for split in splits.values()}) > 1:
        sizes = [f"{name} {split.image_size[0]} x {split.image_size[1]}" for name, split in splits.items()]
        raise BadInput(f"images differ in size between splits: {', '.join(sizes)}; expected one size")
    class_names = choose_class_names(None, splits["train"].labels, num_classes, str(source.arrays[1]), first_label)
    return SourceScan(dict(splits), class_names, first_label=first_label)


def _scan_split(split: str, arrays: tuple[ArrayFile, ArrayFile], options: PictureOptions) -> ArraySplitScan:
    with open_array(arrays[0]) as (images, _):
        image_array = find_image_array(images, options, str(arrays[0]))
    with open_array(arrays[1]) as (labels, _):
        _check_labels(labels, images.shape[0], arrays)
    num_pieces = _num_pieces(images)
    piece_items = _piece_items(images)
    scanned = _scan_images(arrays[0], image_array, piece_items, num_pieces)
    found = _scan_labels(arrays[1], piece_items * num_pieces)
    height, width = image_array.size
    names = FILE_NAMES_OF[split]
    infos = (
        SourceInfo(name=names[0], num_bytes=16 + images.shape[0] * height * width, sha256=scanned[0]),
        SourceInfo(name=names[1], num_bytes=8 + images.shape[0], sha256=found[0]),
    )
    block_items = piece_items * num_pieces
    ranges = tuple(
        ArrayRange(
            split,
            start,
            min(block_items, images.shape[0] - start),
            arrays[0].place,
            arrays[1].place,
            arrays[1].place.name,
            image_array,
            labels.dtype.str,
            first,
            second,
        )
        for start, first, second in zip(range(0, images.shape[0], block_items), scanned[1], found[1], strict=True)
    )
    return ArraySplitScan(ranges, image_array.size, infos, arrays, found[2])


def _piece_items(header: ArrayHeader) -> int:
    """Return how many items are read at a time: about BLOCK_BYTES."""
    return max(1, BLOCK_BYTES // header.item_bytes)


def _num_pieces(header: ArrayHeader) -> int:
    """Return of how many pieces a block consists; blocks grow with the array, as those of IDX files do."""
    total = header.item_bytes * header.shape[0]
    return max(1, min(MAX_BLOCK_BYTES, total // MANY_BLOCKS) // BLOCK_BYTES)


def _check_labels(labels: ArrayHeader, num_images: int, arrays: tuple[ArrayFile, ArrayFile]) -> None:
    if labels.dtype.kind not in "iu" or labels.item_bytes != labels.dtype.itemsize:
        raise BadInput(f"{arrays[1]}: {labels}, expected integer labels, one for each image: of shape [n] or [n, 1]")
    if labels.shape[0] != num_images:
        raise BadInput(
            f"{arrays[1]}: {labels.shape[0]} labels, expected {num_images}, one for each image of {arrays[0]}"
        )


def _scan_images(array: ArrayFile, image_array: ImageArray, piece_items: int, num_pieces: int) -> tuple[str, list[int]]:
    """Read an array of images; return the digest of the split's images, and the CRC-32C of each block's bytes."""
    checksums = list[int]()
    with open_array(array) as (header, stream):
        digest = hashlib.sha256("".join(image_array.conversions).encode())  # which are part of what is read
        digest.update(np.array([IMAGES_MAGIC, header.shape[0], *image_array.size], ">u4").tobytes())
        for number, piece in enumerate(read_array_items(stream, header, piece_items, array)):
            digest.update(image_array.decode(piece).tobytes())
            if number % num_pieces == 0:
                checksums.append(0)
            checksums[-1] = google_crc32c.extend(checksums[-1], piece)
    return digest.hexdigest(), checksums


def _scan_labels(array: ArrayFile, block_items: int) -> tuple[str, list[int], frozenset[int]]:
    """Read an array of labels; as `_scan_images`, and the labels that occur among those that may be classes."""
    checksums = list[int]()
    values = set[int]()
    with open_array(array) as (header, stream):
        digest = hashlib.sha256(np.array([LABELS_MAGIC, header.shape[0]], ">u4").tobytes())
        for piece in read_array_items(stream, header, block_items, array):
            checksums.append(google_crc32c.value(piece))
            labels = _decode_labels(piece, header.dtype.str)
            are_bytes = (labels >= 0) & (labels < MAX_CLASSES)
            digest.update(labels.astype(np.uint8).tobytes() if are_bytes.all() else b"int64" + labels.tobytes())
            values.update(np.flatnonzero(np.bincount(labels[are_bytes])).tolist())
    return digest.hexdigest(), checksums, frozenset(values)


def _decode_labels(data: bytes, dtype: str) -> Integers:
    """Return int64[n]; numbers above those become the largest one, which is no class either."""
    labels = np.frombuffer(data, dtype)
    if labels.dtype.kind == "u":
        labels = np.minimum(labels.astype(np.uint64), np.uint64(MAX_INTEGER))
    return labels.astype(np.int64)


LAYOUT = SourceLayout(
    kind=NumpySource,
    title="NumPy files",
    example=f"a NumPy file {EXAMPLE}, such as Keras' mnist.npz, or a folder that holds it",
    options=frozenset({"arrays", "image_size", "test_share", "transpose"}),
    holds=holds_numpy_file,
    find=find_in_folder,
    scan=with_held_out(scan),
    file_name=NUMPY_NAME,
    find_files=find_in_files,
)
