"""Source files made ready for workers: scanned once for identity, cut into blocks, decompressed where need be.

Here are the four files of IDX; `pipeline.sources.parquet_source` and `pipeline.sources.image_folder` do the same for
Parquet and for folders of images.

A scan reads each file from end to end, so every fault of the files shows before any work starts, and notes the
checksum of each block. A worker that reads a block later checks it: a source that changes meanwhile cannot slip in.
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
from pipeline.sources import image_folder, parquet_source
from pipeline.sources.blocks import (
    BLOCK_BYTES,
    Block,
    BlockRange,
    ExampleFormat,
    RejectedExamples,
    SourceInfo,
    SourceScan,
)
from pipeline.sources.catalog import FILE_NAMES, KNOWN, SPLITS, AnySource, RowsSource, Source, TreeSource
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

MANY_BLOCKS = 32  # more than there are cores to share them
MOST_BLOCK_BYTES = 2**25  # a worker that holds one takes no more than one that writes a shard of the usual size
_SCANNED_BYTES = 2**20


class BlockCutting(NamedTuple):
    """How the files of a split are cut.

    Attributes:
        piece_examples: what a scan holds at a time.
        num_pieces: of a block.
    """

    piece_examples: int
    num_pieces: int

    @property
    def num_examples(self) -> int:
        """Examples of a block."""
        return self.piece_examples * self.num_pieces


class FileScan(NamedTuple):
    """What one pass over a source file found.

    Attributes:
        place: the file.
        header: as read.
        info: its identity.
        checksums: CRC-32C of each block's bytes.
        label_counts: int64[256], how often each byte value stands in a file of labels.
    """

    place: Place
    header: Header
    info: SourceInfo
    checksums: tuple[int, ...]
    label_counts: Integers


class IdxSplitScan(NamedTuple):
    """The two files of a split, which fit together.

    Attributes:
        images: their scan.
        labels: their scan.
        block_examples: examples of every block but perhaps the last.
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
        """Cut the split into blocks."""
        starts = range(0, self.num_examples, self.block_examples)
        for start, images, labels in zip(starts, self.images.checksums, self.labels.checksums, strict=True):
            num_examples = min(self.block_examples, self.num_examples - start)
            yield IdxRange(split, start, num_examples, images, labels)

    def open(self, stack: ExitStack, target: ExampleFormat, scratch: Place) -> "IdxReader":
        """Decompress what must be, for as long as the stack lasts."""
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
    """The two files of a split, decompressed, with the bytes to skip in each."""

    images: Place
    images_offset: int
    labels: Place
    labels_offset: int
    target: ExampleFormat

    def read(self, block: IdxRange) -> Iterator[Block]:
        """Yield the one block of a range; raises BadInput if its bytes are not those that were scanned."""
        pixels = self.target.num_pixels
        images = _read_scanned(self.images, self.images_offset, block, pixels, block.images_checksum)
        labels = _read_scanned(self.labels, self.labels_offset, block, 1, block.labels_checksum).astype(np.int64)
        index = np.arange(block.start, block.start + block.num_examples)
        yield self._checked(block.split, Examples(index, images.reshape(-1, pixels), labels))

    def _checked(self, split: str, examples: Examples) -> Block:
        valid = examples.labels < self.target.num_classes
        if valid.all():
            return Block(split, examples)
        bad = examples.take(np.flatnonzero(~valid))
        file, pairs = self.labels.name, zip(bad.indices.tolist(), bad.labels.tolist(), strict=True)
        rejected = tuple(RejectedExamples(split, file, i, self.target.fault_of(label)) for i, label in pairs)
        return Block(split, examples.take(np.flatnonzero(valid)), rejected)


def scan_source(source: AnySource, num_classes: int | None = None) -> SourceScan:
    """Read all files of a source and check that they are sound, fit together and are what was asked for.

    Args:
        source: the files.
        num_classes: how many classes there are, where the data set does not name its own; by default as many as the
            train labels show.

    Raises:
        BadInput: a file is damaged, is not what it claims to be, or does not fit the others.
        BadUsage: num_classes is not the number of the classes that the data set names.
    """
    if isinstance(source, RowsSource):
        return parquet_source.scan(source, num_classes)
    if isinstance(source, TreeSource):
        return image_folder.scan(source, num_classes)
    return _scan_idx(source, num_classes)


def _scan_idx(source: Source, num_classes: int | None) -> SourceScan:
    pairs = list(zip(SPLITS, source.files[::2], source.files[1::2], FILE_NAMES[::2], FILE_NAMES[1::2], strict=True))
    splits = {name: _scan_split(images, labels, names) for name, images, labels, *names in pairs}
    _check_same_size(splits)
    _check_known(source, splits)
    labels = splits["train"].labels
    own = source.known.class_names if source.known else None
    seen = set(labels.label_counts.nonzero()[0].tolist())
    return SourceScan(dict(splits), name_classes(own, seen, num_classes, source.name if own else str(labels.place)))


@contextmanager
def decompressed_file(scan: FileScan, place: Place) -> Iterator[Place]:
    """Give the place at which the file can be read from any offset, decompressing it into place if need be."""
    with open_binary(scan.place) as stream:
        if not is_gzip(stream):
            yield scan.place
            return
        with gzip.open(stream) as unzipped:
            write_atomically(place, iter(lambda: unzipped.read(BLOCK_BYTES), b""))
    yield place


def _scan_split(images: Place, labels: Place, names: list[str]) -> IdxSplitScan:
    headers = [_read_header(images, IMAGES_MAGIC), _read_header(labels, LABELS_MAGIC)]
    expected, found = (header.sizes[0] for header in headers)
    if found != expected:  # before either is read: a short label file may unpack to a very long one
        raise BadInput(f"{labels}: {found} labels, expected {expected}, one for each image of {images}")
    cutting = _cut(headers[0])
    return IdxSplitScan(
        _scan_file(images, IMAGES_MAGIC, names[0], cutting),
        _scan_file(labels, LABELS_MAGIC, names[1], cutting),
        cutting.num_examples,
    )


def _read_header(place: Place, magic: int) -> Header:
    """Read a file's header and refuse it if the file cannot hold what it promises."""
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
        digest, checksums = hashlib.sha256(_header_bytes(header)), list[int]()
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


def _cut(header: Header) -> BlockCutting:
    """Cut images into blocks: larger ones where there are many, as each block has a run of every shard."""
    block_bytes = min(MOST_BLOCK_BYTES, max(BLOCK_BYTES, header.total_bytes // MANY_BLOCKS))
    piece = max(1, min(_SCANNED_BYTES, block_bytes) // header.example_bytes)
    return BlockCutting(piece, max(1, block_bytes // (piece * header.example_bytes)))


def _header_bytes(header: Header) -> bytes:
    return np.array([header.magic, *header.sizes], ">u4").tobytes()


def _check_same_size(splits: dict[str, IdxSplitScan]) -> None:
    sizes = {name: split.images.header.sizes[1:] for name, split in splits.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
        raise BadInput(f"images differ in size between splits: {found}; expected one size")


def _check_known(source: Source, splits: dict[str, IdxSplitScan]) -> None:
    """Compare the content with the published digests, where there are any."""
    if source.known is None:
        return
    scans = [scan for split in splits.values() for scan in (split.images, split.labels)]
    if not source.known.content_digests:
        _check_no_other(source.name, [scan.info.sha256 for scan in scans])
        for scan, expected in zip(scans, source.known.gzip_digests, strict=True):
            _check_as_served(source.name, scan, expected)
        return
    for scan, expected in zip(scans, source.known.content_digests, strict=True):
        if scan.info.sha256 != expected:
            found = scan.info.sha256
            raise BadInput(
                f"{scan.place}: not the {scan.info.name} of {source.name}: expected content with SHA-256 {expected}, "
                f"found {found}; to use it as a data set of your own, name its folder with --dataset"
            )


def _check_no_other(dataset: str, digests: list[str]) -> None:
    others = {digest: name for name, known in KNOWN.items() for digest in known.content_digests}
    for digest in digests:
        if digest in others:
            raise BadInput(f"these are files of {others[digest]}, not of {dataset} (content with SHA-256 {digest})")


def _check_as_served(dataset: str, scan: FileScan, expected: str) -> None:
    """Compare the stored file with what the mirrors serve; another compression of it can only be warned about."""
    if file_digest(scan.place) != expected:
        warn(
            f"warning: {scan.place} is not the file that the mirrors of {dataset} serve (SHA-256 {expected}) and "
            f"nobody publishes the digest of its content, so it is used as it is: {scan.info.sha256}"
        )


def _read_scanned(place: Place, offset: int, block: IdxRange, example_bytes: int, checksum: int) -> Any:
    start, num_bytes = offset + block.start * example_bytes, block.num_examples * example_bytes
    data = read_range(place, start, num_bytes)
    if google_crc32c.value(data) != checksum:
        raise BadInput(f"{place} changed while it was read: run again once nothing writes to it")
    return np.frombuffer(data, np.uint8)
