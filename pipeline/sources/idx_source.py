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
from pipeline.sources.idx_format import IMAGES_MAGIC, LABELS_MAGIC, Header, is_gzip, open_idx, read_examples
from pipeline.sources.image_decoding import TRANSPOSED
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.scan_tasks import (
    Content,
    DigestsOf,
    MapTasks,
    Span,
    choose_runner,
    cut_span,
    map_here,
    scan_contents,
    whole_span,
)
from pipeline.storage.files import file_digest, open_binary, read_range, write_atomically
from pipeline.storage.places import Place

MANY_BLOCKS = 32  # blocks are enlarged only if there are more than this: enough to keep all cores busy
MAX_BLOCK_BYTES = 2**25  # a block then takes no more memory than writing a shard of the default size
_IMAGES_OFFSET = 16  # the lengths of the headers
_LABELS_OFFSET = 8
_SCAN_BYTES = 2**20


class FileScan(NamedTuple):
    """The scan of an IDX file: its identity, the CRC-32C of each block's bytes, and the values of labels."""

    place: Place
    info: SourceInfo
    checksums: tuple[int, ...]
    values: frozenset[int]


class IdxTask(NamedTuple):
    """A part of the scan of a file: how many examples it reads at once, and how many are a block."""

    place: Place
    header: Header
    span: Span
    part_examples: int
    block_examples: int


class FoundInFile(NamedTuple):
    """What a task found in a file: the CRC-32C of each block's bytes, and the values of labels."""

    checksums: tuple[int, ...]
    values: tuple[int, ...]


class _FilePlan(NamedTuple):
    """How a file is scanned, known from its header."""

    place: Place
    name: str  # in its identity
    header: Header
    content: Content


class _SplitPlan(NamedTuple):
    """How a split is scanned."""

    split: str
    transposed: bool
    images: _FilePlan
    labels: _FilePlan


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


def scan(
    source: IdxSource, num_classes: ClassCount, first_label: int = 0, map_tasks: MapTasks = map_here
) -> SourceScan:
    """Read the files of each split; arguments and errors as for `source_lookup.scan_source`."""
    names = SPLITS if source.options.test_share is None else UNDIVIDED_SPLITS
    pairs = zip(names, source.files[::2], source.files[1::2], strict=False)  # not all have a validation split
    transposed = _is_transposed(source)
    plans = [_plan_split(split, images, labels, transposed) for split, images, labels in pairs]
    files = [file for plan in plans for file in (plan.images, plan.labels)]
    run = choose_runner(sum(file.header.total_bytes for file in files), map_tasks)
    found = scan_contents(_read_task, [file.content for file in files], FoundInFile, run)
    scanned = map(_join_file, files, found)
    splits = {plan.split: _join_split(plan, next(scanned), next(scanned)) for plan in plans}
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


def _plan_split(split: str, images: Place, labels: Place, transposed: bool) -> _SplitPlan:
    """Read the headers of a split's files; raises BadInput if they do not fit together."""
    with open_idx(images, IMAGES_MAGIC) as (images_header, _):
        num_images = images_header.sizes[0]
    with open_idx(labels, LABELS_MAGIC) as (labels_header, _):
        [num_labels] = labels_header.sizes
    # Checked before the bodies are read: a small gzip file of labels may decompress to a very long one.
    if num_labels != num_images:
        raise BadInput(f"{labels}: {num_labels} labels, expected {num_images}, one for each image of {images}")
    # Blocks grow with the file, because each block adds a run to every shard. The scan reads them in parts.
    block_bytes = min(MAX_BLOCK_BYTES, max(BLOCK_BYTES, images_header.total_bytes // MANY_BLOCKS))
    part_examples = max(1, min(_SCAN_BYTES, block_bytes) // images_header.example_bytes)
    num_parts = max(1, block_bytes // (part_examples * images_header.example_bytes))
    sizes = (part_examples, part_examples * num_parts)
    names = FILE_NAMES_OF[split]
    files = (
        _plan_file(images, images_header, names[0], sizes, transposed),
        _plan_file(labels, labels_header, names[1], sizes),
    )
    return _SplitPlan(split, transposed, *files)


def _plan_file(place: Place, header: Header, name: str, sizes: tuple[int, int], transposed: bool = False) -> _FilePlan:
    num_examples = header.sizes[0]
    # The digest is of the decompressed file, header included, so that it can be compared with published ones.
    # That the images are transposed is part of the identity: it decides the pixels.
    digest = hashlib.sha256(b"transposed" if transposed else b"")
    digest.update(np.array([header.magic, *header.sizes], ">u4").tobytes())
    with open_binary(place) as stream:
        is_sequential = is_gzip(stream)  # only read from its beginning on
    spans = [whole_span(num_examples)] if is_sequential else cut_span(num_examples)
    content = Content([IdxTask(place, header, span, *sizes) for span in spans], (digest,))
    return _FilePlan(place, f"{name}-transposed" if transposed else name, header, content)


def _read_task(task: IdxTask, digests_of: DigestsOf) -> FoundInFile:
    """Read the examples of a task from its file, and add those of each piece to the only digest of the piece."""
    checksums = list[int]()
    values = set[int]()
    part_bytes = task.part_examples * task.header.example_bytes
    with open_idx(task.place, task.header.magic) as (header, stream):
        if header != task.header:
            raise changed_since_scan(task.place)
        if task.span.start:
            stream.seek(header.offset_of(task.span.start))
        for block in task.span.blocks(task.block_examples):
            [digest] = digests_of(task.span.piece_of(block.start))
            checksums.append(0)
            for part in read_examples(stream, header, block, part_bytes, str(task.place)):
                digest.update(part)
                checksums[-1] = google_crc32c.extend(checksums[-1], part)
                if header.magic == LABELS_MAGIC:
                    values.update(np.flatnonzero(np.bincount(np.frombuffer(part, np.uint8))).tolist())
    return FoundInFile(tuple(checksums), tuple(values))


def _join_file(plan: _FilePlan, found: list[FoundInFile]) -> FileScan:
    """Return the scan of a file, given what its tasks have found."""
    [digest] = plan.content.digests
    info = SourceInfo(name=plan.name, num_bytes=plan.header.total_bytes, sha256=digest.hexdigest())
    checksums = tuple(checksum for each in found for checksum in each.checksums)
    values = frozenset(value for each in found for value in each.values)
    return FileScan(plan.place, info, checksums, values)


def _join_split(plan: _SplitPlan, images: FileScan, labels: FileScan) -> IdxSplitScan:
    """Return the scan of a split, given those of its files."""
    blocks = [block for task in plan.images.content.tasks for block in task.span.blocks(task.block_examples)]
    ranges = tuple(
        IdxRange(plan.split, block.start, len(block), images.place, labels.place, first, second, plan.transposed)
        for block, first, second in zip(blocks, images.checksums, labels.checksums, strict=True)
    )
    _, height, width = plan.images.header.sizes
    size = (width, height) if plan.transposed else (height, width)
    return IdxSplitScan(ranges, size, (images.info, labels.info), images, labels)


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
