"""IDX files as a source: scanned once, decompressed if needed, and read in ranges.

The scan reads each file from end to end, so that a damaged file is reported before any work starts, and records the
checksum of each block. A worker checks the block that it reads, so that a change after the scan is detected.
"""

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from model.errors import BadInput
from model.examples import Examples, Integers
from pipeline.progress import warn
from pipeline.sources.blocks import (
    BLOCK_BYTES,
    Block,
    BlockRange,
    ExampleFormat,
    RejectedExample,
    SourceInfo,
    SourceScan,
)
from pipeline.sources.catalog import FILE_NAMES, KNOWN, SPLITS, IdxSource
from pipeline.sources.classes import name_classes
from pipeline.sources.idx_format import (
    IMAGES_MAGIC,
    LABELS_MAGIC,
    Header,
    check_room,
    decompressed,
    is_gzip,
    read_body,
    read_header,
)
from pipeline.storage.files import file_digest, file_size, open_binary, read_range, write_atomically
from pipeline.storage.places import Place

MANY_BLOCKS = 32  # blocks are enlarged only if there are more than this: enough to keep all cores busy
MAX_BLOCK_BYTES = 2**25  # a block then takes no more memory than writing a shard of the default size
_SCAN_BYTES = 2**20


class BlockCutting(NamedTuple):
    """How the files of a split are cut into blocks, and blocks into pieces.

    Attributes:
        piece_examples: examples that the scan reads at a time.
        num_pieces: pieces of a block.
    """

    piece_examples: int
    num_pieces: int

    @property
    def num_examples(self) -> int:
        """Examples of a block."""
        return self.piece_examples * self.num_pieces


class FileScan(NamedTuple):
    """The result of one pass over an IDX file.

    Attributes:
        place: the file.
        header: its header.
        info: its identity.
        checksums: CRC-32C of each block's bytes.
        label_counts: int64[256], occurrences of each byte value in a file of labels; zeros for images.
    """

    place: Place
    header: Header
    info: SourceInfo
    checksums: tuple[int, ...]
    label_counts: Integers


class IdxSplitScan(NamedTuple):
    """The scans of a split's two files, which have the same number of examples.

    Attributes:
        images: scan of the images file.
        labels: scan of the labels file.
        block_examples: examples of every block except the last, which may have fewer.
    """

    images: FileScan
    labels: FileScan
    block_examples: int

    @property
    def num_examples(self) -> int:
        """Examples in the split."""
        return self.labels.header.sizes[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        _, height, width = self.images.header.sizes
        return height, width

    @property
    def infos(self) -> tuple[SourceInfo, ...]:
        """The identity of both files."""
        return self.images.info, self.labels.info

    def ranges(self, split: str) -> Iterator[BlockRange]:
        """Cut the split into ranges of one block each."""
        starts = range(0, self.num_examples, self.block_examples)
        for start, images, labels in zip(starts, self.images.checksums, self.labels.checksums, strict=True):
            num_examples = min(self.block_examples, self.num_examples - start)
            yield IdxRange(split, start, num_examples, images, labels)

    def open(self, stack: ExitStack, target: ExampleFormat, scratch: Place) -> "IdxReader":
        """Decompress gzip files into scratch and make a reader; see `SplitScan.open`."""
        scans = (self.images, self.labels)
        places = [stack.enter_context(decompressed_file(scan, scratch / scan.info.name)) for scan in scans]
        return IdxReader(places[0], self.images.header.num_bytes, places[1], self.labels.header.num_bytes, target)


@dataclass(frozen=True)
class IdxRange(BlockRange):
    """A block and the CRC-32C of its bytes in both files."""

    images_checksum: int
    labels_checksum: int


@dataclass(frozen=True)
class IdxReader:
    """Reads blocks from a split's two decompressed files; the offsets are the lengths of the headers."""

    images: Place
    images_offset: int
    labels: Place
    labels_offset: int
    target: ExampleFormat

    def read(self, block: IdxRange) -> Iterator[Block]:
        """Yield the one block of a range; raises BadInput if its bytes have changed since the scan."""
        pixels = self.target.num_pixels
        images = _read_block_bytes(self.images, self.images_offset, block, pixels, block.images_checksum)
        labels = _read_block_bytes(self.labels, self.labels_offset, block, 1, block.labels_checksum).astype(np.int64)
        indices = np.arange(block.start, block.start + block.num_examples)
        yield self._reject_bad_labels(block.split, Examples(indices, images.reshape(-1, pixels), labels))

    def _reject_bad_labels(self, split: str, examples: Examples) -> Block:
        valid = examples.labels < self.target.num_classes
        if valid.all():
            return Block(split, examples)
        bad = examples.take(np.flatnonzero(~valid))
        rejected = tuple(
            RejectedExample(split, self.labels.name, index, self.target.describe_label_fault(label))
            for index, label in zip(bad.indices.tolist(), bad.labels.tolist(), strict=True)
        )
        return Block(split, examples.take(np.flatnonzero(valid)), rejected)


def scan(source: IdxSource, num_classes: int | None) -> SourceScan:
    """Read the four files; arguments and errors as for `pipeline.sources.scan.scan_source`."""
    pairs = zip(SPLITS, source.files[::2], source.files[1::2], FILE_NAMES[::2], FILE_NAMES[1::2], strict=True)
    splits = {split: _scan_split(images, labels, names) for split, images, labels, *names in pairs}
    _check_same_size(splits)
    _check_known(source, splits)
    labels = splits["train"].labels
    source_names = source.known.class_names if source.known else None
    used_labels = set(labels.label_counts.nonzero()[0].tolist())
    name = source.name if source_names else str(labels.place)
    return SourceScan(dict(splits), name_classes(source_names, used_labels, num_classes, name))


@contextmanager
def decompressed_file(scan: FileScan, place: Place) -> Iterator[Place]:
    """Return a file that can be read from any offset: the source itself, or its decompressed copy at place."""
    with open_binary(scan.place) as stream:
        if not is_gzip(stream):
            yield scan.place
            return
        with gzip.open(stream) as unzipped:
            write_atomically(place, iter(lambda: unzipped.read(BLOCK_BYTES), b""))
    yield place


def _scan_split(images: Place, labels: Place, names: list[str]) -> IdxSplitScan:
    images_header = _read_header(images, IMAGES_MAGIC)
    labels_header = _read_header(labels, LABELS_MAGIC)
    num_images = images_header.sizes[0]
    num_labels = labels_header.sizes[0]
    # Checked before the bodies are read: a small gzip file of labels may decompress to a very long one.
    if num_labels != num_images:
        raise BadInput(f"{labels}: {num_labels} labels, expected {num_images}, one for each image of {images}")
    cutting = _choose_cutting(images_header)
    return IdxSplitScan(
        _scan_file(images, IMAGES_MAGIC, names[0], cutting),
        _scan_file(labels, LABELS_MAGIC, names[1], cutting),
        cutting.num_examples,
    )


def _read_header(place: Place, magic: int) -> Header:
    """Read a file's header; raises BadInput if the file is too short for the sizes in it."""
    with open_binary(place) as stored:
        compressed = is_gzip(stored)
        with decompressed(stored, str(place)) as stream:
            header = read_header(stream, magic, str(place))
    check_room(header, file_size(place), compressed, str(place))
    return header


def _scan_file(place: Place, magic: int, name: str, cutting: BlockCutting) -> FileScan:
    """Read a file, whose header `_read_header` has accepted, from end to end."""
    with open_binary(place) as stored, decompressed(stored, str(place)) as stream:
        header = read_header(stream, magic, str(place))
        # The digest is of the decompressed file, header included, so that it can be compared with published ones.
        digest = hashlib.sha256(_header_bytes(header))
        checksums = list[int]()
        counts = np.zeros(256, np.int64)
        piece_bytes = cutting.piece_examples * header.example_bytes
        for number, piece in enumerate(read_body(stream, header, piece_bytes, str(place))):
            digest.update(piece)
            if number % cutting.num_pieces == 0:
                checksums.append(0)
            checksums[-1] = google_crc32c.extend(checksums[-1], piece)
            if magic == LABELS_MAGIC:
                counts += np.bincount(np.frombuffer(piece, np.uint8), minlength=256)
    info = SourceInfo(name=name, num_bytes=header.total_bytes, sha256=digest.hexdigest())
    return FileScan(place, header, info, tuple(checksums), counts)


def _choose_cutting(header: Header) -> BlockCutting:
    """Choose the size of blocks for a file of images.

    Blocks grow with the file, because each block adds a run to every shard.
    """
    block_bytes = min(MAX_BLOCK_BYTES, max(BLOCK_BYTES, header.total_bytes // MANY_BLOCKS))
    piece_examples = max(1, min(_SCAN_BYTES, block_bytes) // header.example_bytes)
    return BlockCutting(piece_examples, max(1, block_bytes // (piece_examples * header.example_bytes)))


def _header_bytes(header: Header) -> bytes:
    return np.array([header.magic, *header.sizes], ">u4").tobytes()


def _check_same_size(splits: dict[str, IdxSplitScan]) -> None:
    sizes = {name: split.image_size for name, split in splits.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
        raise BadInput(f"images differ in size between splits: {listed}; expected one size")


def _check_known(source: IdxSource, splits: dict[str, IdxSplitScan]) -> None:
    """Compare the content of a known data set with the published digests."""
    if source.known is None:
        return
    scans = [scan for split in splits.values() for scan in (split.images, split.labels)]
    if not source.known.content_digests:
        _check_not_another(source.name, [scan.info.sha256 for scan in scans])
        for scan, expected in zip(scans, source.known.gzip_digests, strict=True):
            _warn_if_not_as_served(source.name, scan, expected)
        return
    for scan, expected in zip(scans, source.known.content_digests, strict=True):
        if scan.info.sha256 != expected:
            raise BadInput(
                f"{scan.place}: not the {scan.info.name} of {source.name}: expected content with SHA-256 {expected}, "
                f"found {scan.info.sha256}; to use it as a data set of your own, name its folder with --dataset"
            )


def _check_not_another(dataset: str, digests: list[str]) -> None:
    """Raise BadInput if a file belongs to another known data set."""
    known_digests = {digest: name for name, known in KNOWN.items() for digest in known.content_digests}
    for digest in digests:
        if digest in known_digests:
            raise BadInput(
                f"these are files of {known_digests[digest]}, not of {dataset} (content with SHA-256 {digest})"
            )


def _warn_if_not_as_served(dataset: str, scan: FileScan, expected: str) -> None:
    """Warn if the stored file differs from that of the mirrors: it may be the same content, compressed anew."""
    if file_digest(scan.place) != expected:
        warn(
            f"warning: {scan.place} is not the file that the mirrors of {dataset} serve (SHA-256 {expected}) and "
            f"nobody publishes the digest of its content, so it is used as it is: {scan.info.sha256}"
        )


def _read_block_bytes(place: Place, offset: int, block: IdxRange, example_bytes: int, checksum: int) -> Any:
    """Return uint8[n * example_bytes]; raises BadInput if the checksum is another."""
    data = read_range(place, offset + block.start * example_bytes, block.num_examples * example_bytes)
    if google_crc32c.value(data) != checksum:
        raise BadInput(f"{place} changed while it was read: run again once nothing writes to it")
    return np.frombuffer(data, np.uint8)
