"""IDX files as a source: scanned once, decompressed if needed, and read in ranges.

The scan reads each file from end to end, so that a damaged file is reported before any work starts, and records the
checksum of each block. A worker checks the block that it reads, so that a change after the scan is detected.
"""

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from model.errors import BadInput, BadUsage
from model.examples import Examples
from pipeline.progress import warn
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
from pipeline.sources.catalog import FILE_NAMES_OF, KNOWN, SPLITS, UNDIVIDED_SPLITS, IdxSource, PictureOptions
from pipeline.sources.held_out import with_held_out
from pipeline.sources.idx_files import choose_transpose, find_idx_files, holds_idx_files, is_emnist, read_mapping
from pipeline.sources.idx_format import IMAGES_MAGIC, LABELS_MAGIC, is_gzip, open_idx, read_body
from pipeline.sources.image_decoding import TRANSPOSED
from pipeline.sources.layouts import SourceLayout
from pipeline.storage.files import file_digest, open_binary, read_range, write_atomically
from pipeline.storage.places import Place

MANY_BLOCKS = 32  # blocks are enlarged only if there are more than this: enough to keep all cores busy
MAX_BLOCK_BYTES = 2**25  # a block then takes no more memory than writing a shard of the default size
_IMAGES_OFFSET = 16  # the lengths of the headers
_LABELS_OFFSET = 8
_SCAN_BYTES = 2**20


class FileScan(NamedTuple):
    """One pass over an IDX file: its identity, the CRC-32C of each block's bytes, and the values of labels."""

    place: Place
    info: SourceInfo
    checksums: tuple[int, ...]
    values: frozenset[int]


@dataclass(frozen=True)
class IdxRange(BlockRange):
    """A block of a split's two files, decompressed if they are read, and the CRC-32C of its bytes in both."""

    images: Place
    labels: Place
    images_checksum: int
    labels_checksum: int
    transposed: bool = False  # the stored images, whose height and width are the data set's width and height

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the one block of a range; raises BadInput if its bytes have changed since the scan."""
        pixels = self._read(self.images, _IMAGES_OFFSET, target.num_pixels, self.images_checksum)
        stored = self._read(self.labels, _LABELS_OFFSET, 1, self.labels_checksum)
        labels = stored.astype(np.int64) - target.first_label
        indices = np.arange(self.start, self.start + self.num_examples)
        conversions = (TRANSPOSED,) * self.num_examples if self.transposed else ()
        if self.transposed:
            pixels = pixels.reshape(-1, target.width, target.height).transpose(0, 2, 1)
        examples = Examples(indices, pixels.reshape(-1, target.num_pixels), labels)
        valid = (labels >= 0) & (labels < target.num_classes)
        if valid.all():
            yield Block(self.split, examples, conversions=conversions)
            return
        bad = examples.take(np.flatnonzero(~valid))
        rejected = tuple(
            RejectedExample(self.split, self.labels.name, index, target.describe_label_fault(label))
            for index, label in zip(bad.indices.tolist(), bad.labels.tolist(), strict=True)
        )
        usable = examples.take(np.flatnonzero(valid))
        yield Block(self.split, usable, rejected, conversions[: int(np.count_nonzero(valid))])

    def _read(self, place: Place, offset: int, example_bytes: int, checksum: int) -> Any:
        """Return uint8[n * example_bytes]; raises BadInput if the checksum is another."""
        data = read_range(place, offset + self.start * example_bytes, self.num_examples * example_bytes)
        if google_crc32c.value(data) != checksum:
            raise changed_since_scan(place)
        return np.frombuffer(data, np.uint8)


@dataclass(frozen=True)
class IdxSplitScan(SplitScan):
    """The scans of a split's two files, which have the same number of examples."""

    ranges: tuple[IdxRange, ...]
    images: FileScan
    labels: FileScan

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Decompress gzip files into scratch and return ranges of the decompressed files; see `SplitScan.open`."""
        images = stack.enter_context(_decompress(self.images.place, scratch / self.images.info.name))
        labels = stack.enter_context(_decompress(self.labels.place, scratch / self.labels.info.name))
        return tuple(replace(block, images=images, labels=labels) for block in self.ranges)


def _find(name: str, folder: Place, options: PictureOptions) -> IdxSource:
    return IdxSource(name, find_idx_files(folder, options.test_share), None, options)


def scan(source: IdxSource, num_classes: ClassCount, first_label: int = 0) -> SourceScan:
    """Read the files of each split; arguments and errors as for `source_lookup.scan_source`."""
    names = SPLITS if source.options.test_share is None else UNDIVIDED_SPLITS
    pairs = zip(names, source.files[::2], source.files[1::2], strict=False)  # not all have a validation split
    transposed = _is_transposed(source)
    splits = {split: _scan_split(split, images, labels, transposed) for split, images, labels in pairs}
    sizes = {name: split.image_size for name, split in splits.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
        raise BadInput(f"images differ in size between splits: {listed}; expected one size")
    _check_known(source, [file for split in splits.values() for file in (split.images, split.labels)])
    labels = splits["train"].labels
    mapping = read_mapping(source.files[0]) if source.known is None else None
    if mapping:
        if first_label not in (0, mapping.first_label):
            raise BadUsage(
                f"--first-label {first_label}: {source.name} has a mapping, whose first is {mapping.first_label}"
            )
        class_names = choose_class_names(mapping.class_names, labels.values, num_classes, source.name)
        return SourceScan(dict(splits), class_names, first_label=mapping.first_label)
    source_names = source.known.class_names if source.known else None
    name = source.name if source_names else str(labels.place)
    class_names = choose_class_names(source_names, labels.values, num_classes, name, first_label)
    return SourceScan(dict(splits), class_names, first_label=first_label)


def _is_transposed(source: IdxSource) -> bool:
    has_emnist_name = source.known is None and is_emnist(source.files[0].name)
    return choose_transpose(source.options.transpose, has_emnist_name, source.name)


@contextmanager
def _decompress(file: Place, place: Place) -> Iterator[Place]:
    """Return a file that can be read from any offset: the source itself, or its decompressed copy at place."""
    with open_binary(file) as stream:
        if not is_gzip(stream):
            yield file
            return
        with gzip.open(stream) as unzipped:
            write_atomically(place, iter(lambda: unzipped.read(BLOCK_BYTES), b""))
    yield place


def _scan_split(split: str, images: Place, labels: Place, transposed: bool) -> IdxSplitScan:
    with open_idx(images, IMAGES_MAGIC) as (images_header, _):
        num_images, height, width = images_header.sizes
    with open_idx(labels, LABELS_MAGIC) as (labels_header, _):
        [num_labels] = labels_header.sizes
    # Checked before the bodies are read: a small gzip file of labels may decompress to a very long one.
    if num_labels != num_images:
        raise BadInput(f"{labels}: {num_labels} labels, expected {num_images}, one for each image of {images}")
    # Blocks grow with the file, because each block adds a run to every shard. The scan reads them in pieces.
    block_bytes = min(MAX_BLOCK_BYTES, max(BLOCK_BYTES, images_header.total_bytes // MANY_BLOCKS))
    piece_examples = max(1, min(_SCAN_BYTES, block_bytes) // images_header.example_bytes)
    num_pieces = max(1, block_bytes // (piece_examples * images_header.example_bytes))
    names = FILE_NAMES_OF[split]
    scans = (
        _scan_file(images, IMAGES_MAGIC, names[0], piece_examples, num_pieces, transposed),
        _scan_file(labels, LABELS_MAGIC, names[1], piece_examples, num_pieces),
    )
    block_examples = piece_examples * num_pieces
    starts = range(0, num_images, block_examples)
    checksums = zip(starts, scans[0].checksums, scans[1].checksums, strict=True)
    ranges = tuple(
        IdxRange(split, start, min(block_examples, num_images - start), images, labels, first, second, transposed)
        for start, first, second in checksums
    )
    size = (width, height) if transposed else (height, width)
    return IdxSplitScan(ranges, size, tuple(file.info for file in scans), *scans)


def _scan_file(
    place: Place, magic: int, name: str, piece_examples: int, num_pieces: int, transposed: bool = False
) -> FileScan:
    """Read a file from end to end, in pieces of which num_pieces are a block."""
    checksums = list[int]()
    values = set[int]()
    with open_idx(place, magic) as (header, stream):
        # The digest is of the decompressed file, header included, so that it can be compared with published ones.
        # That the images are transposed is part of the identity: it decides the pixels.
        digest = hashlib.sha256(b"transposed" if transposed else b"")
        digest.update(np.array([header.magic, *header.sizes], ">u4").tobytes())
        pieces = read_body(stream, header, piece_examples * header.example_bytes, str(place))
        for number, piece in enumerate(pieces):
            digest.update(piece)
            if number % num_pieces == 0:
                checksums.append(0)
            checksums[-1] = google_crc32c.extend(checksums[-1], piece)
            if magic == LABELS_MAGIC:
                values.update(np.flatnonzero(np.bincount(np.frombuffer(piece, np.uint8))).tolist())
    name = f"{name}-transposed" if transposed else name
    info = SourceInfo(name=name, num_bytes=header.total_bytes, sha256=digest.hexdigest())
    return FileScan(place, info, tuple(checksums), frozenset(values))


def _check_known(source: IdxSource, files: list[FileScan]) -> None:
    if source.known is None:
        return
    if not source.known.content_digests:
        _check_unpublished(source.name, files, source.known.gzip_digests)
        return
    for file, expected in zip(files, source.known.content_digests, strict=True):
        if file.info.sha256 != expected:
            raise BadInput(
                f"{file.place}: not the {file.info.name} of {source.name}: expected content with SHA-256 {expected}, "
                f"found {file.info.sha256}; to use it as a data set of your own, name its folder with --dataset"
            )


def _check_unpublished(dataset: str, files: list[FileScan], gzip_digests: tuple[str, ...]) -> None:
    """Refuse files of another known data set; warn of files that the mirrors do not serve.

    The same content may have been compressed anew.
    """
    others = {digest: name for name, known in KNOWN.items() for digest in known.content_digests}
    for file, expected in zip(files, gzip_digests, strict=True):
        digest = file.info.sha256
        if digest in others:
            raise BadInput(f"these are files of {others[digest]}, not of {dataset} (content with SHA-256 {digest})")
        if file_digest(file.place) != expected:
            warn(
                f"warning: {file.place} is not the file that the mirrors of {dataset} serve (SHA-256 {expected}) and "
                f"nobody publishes the digest of its content, so it is used as it is: {digest}"
            )


LAYOUT = SourceLayout(
    kind=IdxSource,
    title="IDX files",
    example=(
        "a folder of the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
        "t10k-labels-idx1-ubyte (each may end in .gz), and perhaps two of validation"
    ),
    options=frozenset({"test_share", "transpose"}),
    holds=holds_idx_files,
    find=_find,
    scan=with_held_out(scan),
)
