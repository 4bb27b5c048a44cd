"""NumPy files as a source: one .npz file of four arrays, or four files of one array each; six with a validation split.

The identity of a split is that of the IDX files with the same pixels and labels, wherever there are such files.
Arrays are copied into temporary files, decompressed, and read in ranges as IDX files are.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NamedTuple

import google_crc32c
import numpy as np

from model.errors import BadInput
from model.examples import Examples
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
from pipeline.sources.catalog import FILE_NAMES_OF, NUMPY_NAME, SPLITS, UNDIVIDED_SPLITS, PictureOptions
from pipeline.sources.held_out import with_held_out
from pipeline.sources.idx_format import IMAGES_MAGIC, LABELS_MAGIC
from pipeline.sources.idx_source import MANY_BLOCKS, MAX_BLOCK_BYTES
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.npy_format import ArrayFile, ArrayHeader, open_array, read_array_items
from pipeline.sources.numpy_files import EXAMPLE, NumpySource, find_in_files, find_in_folder, holds_numpy_file
from pipeline.sources.numpy_tasks import ArrayTask, FoundInArray, decode_labels, read_array_task
from pipeline.sources.scan_tasks import (
    Content,
    MapTasks,
    Span,
    choose_runner,
    cut_span,
    map_here,
    scan_contents,
    whole_span,
)
from pipeline.storage.files import read_range, write_atomically
from pipeline.storage.places import Place


class _ArraySplitPlan(NamedTuple):
    """How a split is scanned: images, then labels."""

    split: str
    arrays: tuple[ArrayFile, ArrayFile]
    image_array: ImageArray
    contents: tuple[Content, Content]


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
        labels = decode_labels(stored, self.label_dtype) - target.first_label
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
                write_atomically(place, read_array_items(stream, header, _part_items(header), array))
        return tuple(replace(block, images=places[0], labels=places[1]) for block in self.ranges)


def scan(
    source: NumpySource, num_classes: ClassCount, first_label: int = 0, map_tasks: MapTasks = map_here
) -> SourceScan:
    """Read the arrays of each split; arguments and errors as for `source_lookup.scan_source`."""
    names = SPLITS if source.options.test_share is None else UNDIVIDED_SPLITS
    pairs = zip(names, source.arrays[::2], source.arrays[1::2], strict=False)  # not all have a validation split
    plans = [_plan_split(split, (images, labels), source.options) for split, images, labels in pairs]
    contents = [content for plan in plans for content in plan.contents]
    headers = [content.tasks[0].header for content in contents]
    run = choose_runner(sum(header.item_bytes * header.shape[0] for header in headers), map_tasks)
    found = scan_contents(read_array_task, contents, FoundInArray, run)
    splits = {plan.split: _join_split(plan, next(found), next(found)) for plan in plans}
    if len({split.image_size for split in splits.values()}) > 1:
        sizes = [f"{name} {split.image_size[0]} x {split.image_size[1]}" for name, split in splits.items()]
        raise BadInput(f"images differ in size between splits: {', '.join(sizes)}; expected one size")
    class_names = choose_class_names(None, splits["train"].labels, num_classes, str(source.arrays[1]), first_label)
    return SourceScan(dict(splits), class_names, first_label=first_label)


def _plan_split(split: str, arrays: tuple[ArrayFile, ArrayFile], options: PictureOptions) -> _ArraySplitPlan:
    """Read the headers of a split's arrays; raises BadInput if they do not fit together."""
    with open_array(arrays[0]) as (images, _):
        image_array = find_image_array(images, options, str(arrays[0]))
    with open_array(arrays[1]) as (labels, _):
        _check_labels(labels, images.shape[0], arrays)
    num_images = images.shape[0]
    # Conversions are part of what is read.
    digest = hashlib.sha256("".join(image_array.conversions).encode())
    digest.update(np.array([IMAGES_MAGIC, num_images, *image_array.size], ">u4").tobytes())
    labels_digest = hashlib.sha256(np.array([LABELS_MAGIC, num_images], ">u4").tobytes())
    part_items = _part_items(images)
    block_items = part_items * _num_parts(images)
    image_tasks = [
        ArrayTask(arrays[0], images, span, image_array, part_items, block_items) for span in _cut(arrays[0], images)
    ]
    label_tasks = [
        ArrayTask(arrays[1], labels, span, None, block_items, block_items) for span in _cut(arrays[1], labels)
    ]
    contents = (Content(image_tasks, (digest,)), Content(label_tasks, (labels_digest,)))
    return _ArraySplitPlan(split, arrays, image_array, contents)


def _cut(array: ArrayFile, header: ArrayHeader) -> list[Span]:
    """Cut an array into spans for tasks; one of a .npz file is only read from its beginning on."""
    return cut_span(header.shape[0]) if array.member is None else [whole_span(header.shape[0])]


def _join_split(plan: _ArraySplitPlan, images: list[FoundInArray], labels: list[FoundInArray]) -> ArraySplitScan:
    """Return the scan of a split, given what the tasks of its two arrays have found."""
    image_tasks = plan.contents[0].tasks
    label_tasks = plan.contents[1].tasks
    blocks = [block for task in image_tasks for block in task.span.blocks(task.block_items)]
    images_place = plan.arrays[0].place
    labels_place = plan.arrays[1].place
    dtype = label_tasks[0].header.dtype.str
    checksums = [[checksum for each in found for checksum in each.checksums] for found in (images, labels)]
    ranges = tuple(
        ArrayRange(
            plan.split,
            block.start,
            len(block),
            images_place,
            labels_place,
            labels_place.name,
            plan.image_array,
            dtype,
            first,
            second,
        )
        for block, first, second in zip(blocks, *checksums, strict=True)
    )
    height, width = plan.image_array.size
    num_images = image_tasks[0].header.shape[0]
    sizes = (16 + num_images * height * width, 8 + num_images)  # bytes of the same IDX files
    infos = tuple(
        SourceInfo(name=name, num_bytes=num_bytes, sha256=content.digests[0].hexdigest())
        for name, num_bytes, content in zip(FILE_NAMES_OF[plan.split], sizes, plan.contents, strict=True)
    )
    values = frozenset(value for each in labels for value in each.values)
    return ArraySplitScan(ranges, plan.image_array.size, infos, plan.arrays, values)


def _part_items(header: ArrayHeader) -> int:
    """Return how many items are read at a time: about BLOCK_BYTES."""
    return max(1, BLOCK_BYTES // header.item_bytes)


def _num_parts(header: ArrayHeader) -> int:
    """Return of how many parts a block consists; blocks grow with the array, as those of IDX files do."""
    total = header.item_bytes * header.shape[0]
    return max(1, min(MAX_BLOCK_BYTES, total // MANY_BLOCKS) // BLOCK_BYTES)


def _check_labels(labels: ArrayHeader, num_images: int, arrays: tuple[ArrayFile, ArrayFile]) -> None:
    if labels.dtype.kind not in "iu" or labels.item_bytes != labels.dtype.itemsize:
        raise BadInput(f"{arrays[1]}: {labels}, expected integer labels, one for each image: of shape [n] or [n, 1]")
    if labels.shape[0] != num_images:
        raise BadInput(
            f"{arrays[1]}: {labels.shape[0]} labels, expected {num_images}, one for each image of {arrays[0]}"
        )


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
