"""Source files made ready for workers: scanned once for identity, cut into blocks, decompressed where need be.

A scan reads each file from end to end, so every fault of the files shows before any work starts, and notes the
checksum of each block. A worker that reads a block later checks it: a source that changes meanwhile cannot slip in.
"""

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from model.errors import BadInput, BadUsage
from model.examples import Integers
from pipeline import idx, storage
from pipeline.console import console
from pipeline.manifest import SourceInfo
from pipeline.sources import FILE_NAMES, KNOWN, SPLITS, Source

BLOCK_BYTES = 2**22


class Scan(NamedTuple):
    """What one pass over a source file found.

    Attributes:
        uri: the file.
        header: as read.
        info: its identity.
        checksums: CRC-32C of each block's bytes.
        label_counts: int64[256], how often each byte value stands in a file of labels.
    """

    uri: str
    header: idx.Header
    info: SourceInfo
    checksums: tuple[int, ...]
    label_counts: Integers


class SplitScan(NamedTuple):
    """The two files of a split, which fit together.

    Attributes:
        images: their scan.
        labels: their scan.
        block_examples: examples of every block but perhaps the last.
    """

    images: Scan
    labels: Scan
    block_examples: int

    @property
    def num_examples(self) -> int:
        """Examples in the split."""
        return self.labels.header.sizes[0]


class Scans(NamedTuple):
    """All files of a source, read and found sound.

    Attributes:
        splits: by name.
        class_names: in the order of the labels.
    """

    splits: dict[str, SplitScan]
    class_names: tuple[str, ...]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, the same in every split."""
        _, height, width = next(iter(self.splits.values())).images.header.sizes
        return height, width

    @property
    def infos(self) -> tuple[SourceInfo, ...]:
        """The identity of every file."""
        return tuple(scan.info for split in self.splits.values() for scan in (split.images, split.labels))


def scan_source(source: Source, num_classes: int | None = None) -> Scans:
    """Read all files of a source and check that they are sound, fit together and are what was asked for.

    Args:
        source: the files.
        num_classes: how many classes there are, where the data set is not a known one; by default as many as the
            train labels show.

    Raises:
        BadInput: a file is damaged, is not what it claims to be, or does not fit the others.
    """
    pairs = list(zip(SPLITS, source.files[::2], source.files[1::2], FILE_NAMES[::2], FILE_NAMES[1::2], strict=True))
    splits = {name: _scan_split(images, labels, names) for name, images, labels, *names in pairs}
    _check_same_size(splits)
    _check_known(source, splits)
    return Scans(splits, _class_names(source, splits["train"], num_classes))


@contextmanager
def decompressed_file(scan: Scan, place: Path) -> Iterator[str]:
    """Give a path or URI at which the file can be read from any offset, decompressing it into place if need be."""
    with storage.open_binary(scan.uri) as stream:
        if not idx.is_gzip(stream):
            yield scan.uri
            return
        with gzip.open(stream) as unzipped:
            storage.write_atomically(place, iter(lambda: unzipped.read(BLOCK_BYTES), b""))
    yield str(place)


def _scan_split(images_uri: str, labels_uri: str, names: list[str]) -> SplitScan:
    expected, found = (
        _read_header(uri, magic).sizes[0]
        for uri, magic in ((images_uri, idx.IMAGES_MAGIC), (labels_uri, idx.LABELS_MAGIC))
    )
    if found != expected:  # before either is read: a short label file may unpack to a very long one
        raise BadInput(f"{labels_uri}: {found} labels, expected {expected}, one for each image of {images_uri}")
    images = _scan_file(images_uri, idx.IMAGES_MAGIC, names[0], block_examples=None)
    block_examples = _block_examples(images.header)
    labels = _scan_file(labels_uri, idx.LABELS_MAGIC, names[1], block_examples)
    return SplitScan(images, labels, block_examples)


def _read_header(uri: str, magic: int) -> idx.Header:
    """Read a file's header and refuse it if the file cannot hold what it promises."""
    with storage.open_binary(uri) as stored:
        compressed = idx.is_gzip(stored)
        with idx.decompressed(stored, uri) as stream:
            header = idx.read_header(stream, magic, uri)
    idx.check_room(header, storage.size(uri), compressed, uri)
    return header


def _scan_file(uri: str, magic: int, name: str, block_examples: int | None) -> Scan:
    """Read a file, whose header `_read_header` has accepted, from end to end."""
    with storage.open_binary(uri) as stored, idx.decompressed(stored, uri) as stream:
        header = idx.read_header(stream, magic, uri)
        block_bytes = (block_examples or _block_examples(header)) * header.example_bytes
        digest, checksums = hashlib.sha256(_header_bytes(header)), []
        counts = np.zeros(256, np.int64)
        for block in idx.read_body(stream, header, block_bytes, uri):
            digest.update(block)
            checksums.append(google_crc32c.value(block))
            if magic == idx.LABELS_MAGIC:
                counts += np.bincount(np.frombuffer(block, np.uint8), minlength=256)
    info = SourceInfo(name=name, num_bytes=header.total_bytes, sha256=digest.hexdigest())
    return Scan(uri, header, info, tuple(checksums), counts)


def _block_examples(header: idx.Header) -> int:
    return max(1, BLOCK_BYTES // header.example_bytes)


def _header_bytes(header: idx.Header) -> bytes:
    return np.array([header.magic, *header.sizes], ">u4").tobytes()


def _check_same_size(splits: dict[str, SplitScan]) -> None:
    sizes = {name: split.images.header.sizes[1:] for name, split in splits.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
        raise BadInput(f"images differ in size between splits: {found}; expected one size")


def _check_known(source: Source, splits: dict[str, SplitScan]) -> None:
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
                f"{scan.uri}: not the {scan.info.name} of {source.name}: expected content with SHA-256 {expected}, "
                f"found {found}; to use it as a data set of your own, name its folder with --dataset"
            )


def _check_no_other(dataset: str, digests: list[str]) -> None:
    others = {digest: name for name, known in KNOWN.items() for digest in known.content_digests}
    for digest in digests:
        if digest in others:
            raise BadInput(f"these are files of {others[digest]}, not of {dataset} (content with SHA-256 {digest})")


def _check_as_served(dataset: str, scan: Scan, expected: str) -> None:
    """Compare the stored file with what the mirrors serve; another compression of it can only be warned about."""
    if storage.file_digest(scan.uri) != expected:
        console.print(
            f"warning: {scan.uri} is not the file that the mirrors of {dataset} serve (SHA-256 {expected}) and nobody "
            f"publishes the digest of its content, so it is used as it is: {scan.info.sha256}",
            markup=False,
        )


def _class_names(source: Source, train: SplitScan, num_classes: int | None) -> tuple[str, ...]:
    """Name the classes: as known, as many as were given, or as many as the train labels show without a gap."""
    if source.known is not None:
        if num_classes is not None:
            raise BadUsage(f"--num-classes goes with a folder's data set; {source.name} has its own classes")
        return source.known.class_names
    counts = train.labels.label_counts
    found = int(counts.nonzero()[0].max()) + 1
    absent = [str(label) for label in range(found) if not counts[label]]
    if num_classes is None and absent:
        raise BadInput(
            f"{train.labels.uri}: labels go up to {found - 1} but none is {', '.join(absent[:10])}"
            f"{' ...' if len(absent) > 10 else ''}; say how many classes there are with --num-classes"
        )
    return tuple(map(str, range(num_classes or found)))
