"""NumPy files as a source: one .npz file of four arrays, or four files of one array each; six with a validation split.

The identity of a split is that of the IDX files with the same pixels and labels, wherever there are such files.
Arrays are copied into temporary files, decompressed, and read in ranges as IDX files are.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NamedTuple

import google_crc32c
import numpy as np

from model.errors import BadInput, BadUsage
from model.examples import Examples, Integers
from pipeline.progress import warn
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
from pipeline.sources.catalog import ALL_FILE_NAMES, MAX_CLASSES, MAX_INTEGER, SPLITS, PictureOptions
from pipeline.sources.held_out import with_held_out
from pipeline.sources.idx_format import IMAGES_MAGIC, LABELS_MAGIC
from pipeline.sources.idx_source import MANY_BLOCKS, MAX_BLOCK_BYTES
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.npy_format import ArrayFile, ArrayHeader, list_arrays, open_array, read_array_items
from pipeline.sources.split_files import HasTestSplit, check_order, read_validation_as_test
from pipeline.storage.files import read_range, write_atomically
from pipeline.storage.places import Place

# The names of images and labels of train, test and validation: those of Keras and of MedMNIST.
_NAMES = (
    ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"),
    ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"),
)
_NAMES_OF_ONE = (*(names[:2] for names in _NAMES), ("x", "y"), ("images", "labels"))  # of one split
_NUMBERS = (4, 6)  # of arrays, without and with a validation split
_NUMBER_OF_ONE = 2
_EXAMPLE = "FILE.npz with the arrays x_train, y_train, x_test and y_test"


class NumpySource(NamedTuple):
    """A data set of arrays: images and labels of train, then of test, then of validation; or of train alone."""

    name: str
    arrays: tuple[ArrayFile, ...]
    options: PictureOptions


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


def _find_in_folder(name: str, folder: Place, options: PictureOptions) -> NumpySource:
    files = sorted((file for file in folder.glob("*.npz") if file.is_file()), key=str)
    if len(files) != 1:
        listed = ", ".join(file.name for file in files[:10])
        raise BadInput(f"{folder}: {len(files)} NumPy files ({listed}): name one with --dataset {folder}/FILE.npz")
    return NumpySource(name, _find_arrays(files[0], options), options)


def _find_in_files(name: str, files: tuple[Place, ...], options: PictureOptions) -> NumpySource:
    listed = ",".join(map(str, files))
    if len(files) == 1 and files[0].name.lower().endswith(".npz"):
        _check_file(files[0])
        return NumpySource(name, _find_arrays(files[0], options), options)
    if len(files) not in (_NUMBERS if options.test_share is None else (_NUMBER_OF_ONE,)):
        problem = HasTestSplit if len(files) in _NUMBERS else BadUsage
        raise problem(
            f"--dataset {listed}: expected {_EXAMPLE}, or four files of one array each: "
            "TRAIN_IMAGES.npy,TRAIN_LABELS.npy,TEST_IMAGES.npy,TEST_LABELS.npy, and two of validation, if there are "
            "any; or, with --test-share 0.2, two: IMAGES.npy,LABELS.npy"
        )
    if options.arrays is not None:
        raise BadUsage(f"--arrays names the arrays of one .npz file, and --dataset names {len(files)} files")
    _check_order([file.name for file in files], "--dataset")
    return NumpySource(name, tuple(map(_only_array, files)), options)


def _check_file(place: Place) -> None:
    if not place.is_file():
        raise BadInput(f"no file {place}")


def _only_array(place: Place) -> ArrayFile:
    _check_file(place)
    if not place.name.lower().endswith(".npz"):
        return ArrayFile(place, None)
    names = list_arrays(place)
    if len(names) != 1:
        raise BadInput(f"{place}: {len(names)} arrays ({', '.join(names[:10])}), expected one")
    return ArrayFile(place, names[0])


def _find_arrays(place: Place, options: PictureOptions) -> tuple[ArrayFile, ...]:
    """Find the arrays of a .npz file: those of the given names, else of customary ones.

    Raises:
        BadInput: there are none of customary names.
        BadUsage: a requested one is missing, or their number is that of another number of splits.
        HasTestSplit: there is a test split beside the one to be held out.
    """
    names = list_arrays(place)
    if options.arrays is not None:
        return _find_requested(place, names, options.arrays, options.test_share)
    by_lower_case = {name.lower(): name for name in names}
    several = next((found for each in _NAMES if len(found := _choose_names(each, by_lower_case, place)) > 2), ())
    one = next((each for each in _NAMES_OF_ONE if by_lower_case.keys() >= {*each}), ())
    if options.test_share is not None and several:
        raise HasTestSplit(
            f"--test-share {options.test_share}: {place} has a test split, {several[2]}: leave out the option, or name "
            "the arrays to split: --arrays IMAGES,LABELS"
        )
    chosen = several if options.test_share is None else one
    if not chosen:
        advice = f"; {', '.join(one)} are of one split: --test-share 0.2 holds out a test split" if one else ""
        raise BadInput(
            f"{place}: its arrays are {', '.join(names[:20]) or 'none'}; expected {', '.join(_NAMES[0][:4])}, or "
            f"{', '.join(_NAMES[1][:4])}; or name them: --arrays TRAIN_IMAGES,TRAIN_LABELS,TEST_IMAGES,TEST_LABELS"
            f"{advice}"
        )
    others = [name for name in names if name.lower() not in chosen]
    if others:
        warn(f"{place}: the arrays {', '.join(others[:10])} are not used")
    return tuple(ArrayFile(place, by_lower_case[name]) for name in chosen)


def _choose_names(usual: tuple[str, ...], there_are: Collection[str], place: Place) -> tuple[str, ...]:
    """Return the usual names of images and labels of those splits that have both, train first; empty without train."""
    pairs = {split: usual[2 * number : 2 * number + 2] for number, split in enumerate(SPLITS)}
    found = {split: pair for split, pair in pairs.items() if all(name in there_are for name in pair)}
    if "train" not in found:
        return ()
    return tuple(name for pair in read_validation_as_test(found, place).values() for name in pair)


def _check_order(names: Sequence[str], option: str) -> None:
    """Raise BadUsage if names with those of validation have the words of other splits than their places mean."""
    if len(names) == max(_NUMBERS):
        check_order(names, (split for split in SPLITS for _ in range(2)), option)


def _find_requested(
    place: Place, names: list[str], requested: tuple[str, ...], test_share: float | None
) -> tuple[ArrayFile, ...]:
    missing = [name for name in requested if name not in names]
    if missing:
        listed = ", ".join(names[:20]) or "none"
        raise BadUsage(f"--arrays: {place} has no array {missing[0]!r}; there are: {listed}")
    if len(requested) == _NUMBER_OF_ONE and test_share is None:
        raise BadUsage(f"--arrays {','.join(requested)}: one split, of which --test-share 0.2 holds out a test split")
    if len(requested) != _NUMBER_OF_ONE and test_share is not None:
        raise HasTestSplit(f"--test-share {test_share}: --arrays names {len(requested)} arrays, expected IMAGES,LABELS")
    _check_order(requested, "--arrays")
    return tuple(ArrayFile(place, name) for name in requested)


def scan(source: NumpySource, num_classes: ClassCount, first_label: int = 0) -> SourceScan:
    """Read the arrays of each split; arguments and errors as for `source_lookup.scan_source`."""
    names_of = (ALL_FILE_NAMES[::2], ALL_FILE_NAMES[1::2])
    pairs = zip(SPLITS, source.arrays[::2], source.arrays[1::2], *names_of, strict=False)  # not all have three splits
    splits = {
        split: _scan_split(split, (images, labels), names, source.options) for split, images, labels, *names in pairs
    }
    if len({split.image_size for split in splits.values()}) > 1:
        sizes = [f"{name} {split.image_size[0]} x {split.image_size[1]}" for name, split in splits.items()]
        raise BadInput(f"images differ in size between splits: {', '.join(sizes)}; expected one size")
    class_names = choose_class_names(None, splits["train"].labels, num_classes, str(source.arrays[1]), first_label)
    return SourceScan(dict(splits), class_names, first_label=first_label)


def _scan_split(
    split: str, arrays: tuple[ArrayFile, ArrayFile], names: list[str], options: PictureOptions
) -> ArraySplitScan:
    with open_array(arrays[0]) as (images, _):
        image_array = find_image_array(images, options, str(arrays[0]))
    with open_array(arrays[1]) as (labels, _):
        _check_labels(labels, images.shape[0], arrays)
    num_pieces = _num_pieces(images)
    piece_items = _piece_items(images)
    scanned = _scan_images(arrays[0], image_array, piece_items, num_pieces)
    found = _scan_labels(arrays[1], piece_items * num_pieces)
    height, width = image_array.size
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


def _holds_files(folder: Place) -> bool:
    return any(folder.glob("*.npz"))


LAYOUT = SourceLayout(
    kind=NumpySource,
    title="NumPy files",
    example=f"a NumPy file {_EXAMPLE}, such as Keras' mnist.npz, or a folder that holds it",
    options=frozenset({"arrays", "image_size", "test_share", "transpose"}),
    holds=_holds_files,
    find=_find_in_folder,
    scan=with_held_out(scan),
    file_finders={".npz": _find_in_files, ".npy": _find_in_files},
)
