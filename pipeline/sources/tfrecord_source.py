"""TFRecord files of `tf.train.Example` as a source, gzipped or not, of any writer.

A record holds an image, as a file of a picture or as pixels, and a label. The identity of a split is the digest of the
labels and images in order, not of the files or of other features.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import NamedTuple

import google_crc32c
import numpy as np

from model.errors import BadInput, BadUsage
from pipeline.sources.blocks import (
    BLOCK_BYTES,
    Block,
    BlockRange,
    ClassCount,
    ExampleFormat,
    SourceInfo,
    SourceScan,
    SplitScan,
    changed_since_scan,
    choose_class_names,
)
from pipeline.sources.catalog import TFRECORD_NAME, PictureOptions
from pipeline.sources.compressed import decompress_files, open_decompressed
from pipeline.sources.held_out import with_held_out
from pipeline.sources.image_blocks import EncodedImage, EncodedRange, FormatFinder
from pipeline.sources.labels import NUMBERS, LabelCodes, LabelSet
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.pixel_rows import PixelRows, check_not_resized, to_block
from pipeline.sources.scan_tasks import Content, MapTasks, map_here, scan_contents
from pipeline.sources.split_column import with_split_column
from pipeline.sources.split_files import FileKind, find_folder_source, find_named_source, holds_split_files
from pipeline.sources.tfrecord_features import (
    ExampleFeatures,
    ShardsManifest,
    StoredExample,
    detect_features,
    find_image_size,
    read_manifest,
    read_pixels,
    read_split_word,
    read_stored,
)
from pipeline.sources.tfrecord_format import Values, parse_example, read_records, split_records
from pipeline.sources.tfrecord_tasks import FoundRecords, ReadAs, plan_records, read_task
from pipeline.storage.files import read_range
from pipeline.storage.places import Place

_TRIED = 1000  # records; the first of them that has an image decides which features are read
_TFRECORD = FileKind("TFRecord", ".tfrecord", TFRECORD_NAME)


class TfrecordSource(NamedTuple):
    """A data set of TFRecord files: those of each split, in order."""

    name: str
    files: dict[str, tuple[Place, ...]]
    options: PictureOptions


@dataclass(frozen=True)
class _Records:
    """Consecutive records of a file, decompressed if they are read, and the CRC-32C of their bytes."""

    place: Place
    file: str  # name, in reasons of rejections
    features: ExampleFeatures
    first_record: int  # position in the file
    offset: int
    num_bytes: int
    checksum: int
    codes: LabelCodes = NUMBERS

    def read(self) -> Iterator[StoredExample]:
        """Yield the examples; raises BadInput if the bytes have changed since the scan."""
        data = read_range(self.place, self.offset, self.num_bytes)
        if google_crc32c.value(data) != self.checksum:
            raise changed_since_scan(self.place)
        for payload in split_records(data):
            yield read_stored(parse_example(payload, self.file), self.features)


@dataclass(frozen=True)
class PixelRecordsRange(BlockRange):
    """Records whose images are pixels."""

    records: _Records

    def read(self, target: ExampleFormat) -> Iterator[Block]:
        """Yield the blocks of a range; see `BlockRange.read`."""
        examples = self.records.read()
        number = 0
        while batch := list(islice(examples, max(1, BLOCK_BYTES // target.num_pixels))):
            pixels = np.empty((len(batch), target.num_pixels), np.uint8)
            faults = dict[int, str]()
            for position, example in enumerate(batch):
                pixels[position], fault = read_pixels(example, (target.height, target.width))
                if fault:
                    faults[position] = fault
            labels = self.records.codes.encode([example.label for example in batch])
            first_row = self.records.first_record + number
            yield to_block(
                self.split, PixelRows(self.records.file, first_row, self.start + number, pixels, labels, faults), target
            )
            number += len(batch)


@dataclass(frozen=True)
class PictureRecordsRange(EncodedRange):
    """Records whose images are files of pictures."""

    records: _Records

    def read_images(self) -> Iterator[list[EncodedImage]]:
        """Yield all images at once; raises BadInput if they have changed since the scan."""
        examples = list(self.records.read())
        labels = self.records.codes.encode([example.label for example in examples])
        images = []
        for number, (example, label) in enumerate(zip(examples, labels, strict=True)):
            data = example.image if isinstance(example.image, bytes) else None
            name = f"row {self.records.first_record + number}"
            index = self.start + number
            images.append(EncodedImage(index, self.records.file, name, data, label.number, label_fault=label.fault))
        yield images


AnyRecordsRange = PixelRecordsRange | PictureRecordsRange


@dataclass(frozen=True)
class TfrecordSplitScan(SplitScan):
    """The scan of a split's files."""

    ranges: tuple[AnyRecordsRange, ...]

    def open(self, stack: ExitStack, scratch: Place) -> tuple[BlockRange, ...]:
        """Decompress gzip files into scratch and return ranges of the decompressed files; see `SplitScan.open`."""
        files = list(dict.fromkeys(each.records.place for each in self.ranges))
        copies = decompress_files(files, stack, scratch, f"{self.ranges[0].split}-records")
        return tuple(
            replace(each, records=replace(each.records, place=copies[each.records.place])) for each in self.ranges
        )


def scan(
    source: TfrecordSource, num_classes: ClassCount, first_label: int = 0, map_tasks: MapTasks = map_here
) -> SourceScan:
    """Read every record of a source's files; raises as `source_lookup.scan_source`."""
    first = str(source.files["train"][0])
    manifest = read_manifest(source.files["train"][0].parent)
    read_as = _choose_how_to_read(source, manifest)
    finder = FormatFinder(source.options)
    labels = LabelSet()
    codes = NUMBERS
    splits = dict[str, SplitScan]()
    contents = plan_records(source.files, read_as, map_tasks)
    found = scan_contents(read_task, list(contents.values()), FoundRecords, map_tasks)
    for (split, content), results in zip(contents.items(), found, strict=True):
        for each in results:
            finder.add(each.format)
        ranges = tuple(_join_ranges(split, content, results, read_as.features))
        if not ranges:
            raise BadInput(f"{source.files[split][0]}: the split is empty: it has no records")
        image_size = read_as.size or finder.size(first)  # the train split is the first, so its images decide
        if split == "train":
            for each in results:
                labels.update(each.labels)
            codes = labels.codes(first)
        info = _identify(split, content, results, read_as.size, finder)
        coded = tuple(replace(each, records=replace(each.records, codes=codes)) for each in ranges)
        splits[split] = TfrecordSplitScan(coded, image_size, (info,))
    names = codes.names or manifest.class_names
    class_names = choose_class_names(names, labels.numbers, num_classes, source.name if names else first, first_label)
    return SourceScan(splits, class_names, finder.channel, first_label, source.options.resizing)


def _choose_how_to_read(source: TfrecordSource, manifest: ShardsManifest) -> ReadAs:
    """Find the features, and the size of images of pixels; raises BadInput, and BadUsage if options do not fit."""
    values, features, name = _find_features(source)
    if features.is_encoded:
        return ReadAs(features, None, source.options)
    check_not_resized(source.options, name)
    stated = source.options.image_size or manifest.image_size
    try:
        return ReadAs(features, find_image_size(values, features, stated, name), source.options)
    except BadUsage as error:
        if source.options.image_size:
            raise
        raise BadInput(f"{error}; manifest.json beside the file says so: put it elsewhere") from None


def _identify(
    split: str, content: Content, found: list[FoundRecords], size: tuple[int, int] | None, finder: FormatFinder
) -> SourceInfo:
    digest = content.close()
    # The size is part of it: it decides which records are rejected.
    digest.update((finder.identity if size is None else f"pixels {size}").encode())
    num_bytes = sum(each.num_bytes for each in found)
    return SourceInfo(name=f"{split}-records", num_bytes=num_bytes, sha256=digest.hexdigest())


def _find_features(source: TfrecordSource) -> tuple[dict[str, Values], ExampleFeatures, str]:
    """Return the first record of train that has an image, the features to read, and its name in messages.

    Raises BadInput if none of the first records has one; BadUsage as `detect_features`.
    """
    files = source.files["train"]
    problem = None
    for values, name in islice(_read_values(files), _TRIED):
        try:
            features = detect_features(values, source.options, name)
        except BadInput as error:
            problem = problem or error
            continue
        if read_stored(values, features).image:
            return values, features, name
        problem = problem or BadInput(f"{name}: the feature {features.image!r} holds no image")
    raise problem or BadInput(f"{files[0]}: the split is empty: it has no records")


def _read_values(files: tuple[Place, ...]) -> Iterator[tuple[dict[str, Values], str]]:
    """Yield the values of every record of files, and its name in messages."""
    for file in files:
        with open_decompressed(file) as stream:
            for number, record in enumerate(read_records(stream, str(file))):
                name = f"{file}: record {number}"
                yield parse_example(record.payload, name), name


def _join_ranges(
    split: str, content: Content, found: list[FoundRecords], features: ExampleFeatures
) -> Iterator[AnyRecordsRange]:
    """Yield the ranges of a split, given what its tasks have found."""
    kind = PictureRecordsRange if features.is_encoded else PixelRecordsRange
    start = 0
    for task, each in zip(content.tasks, found, strict=True):
        for run in each.runs:
            file = task.files[run.file]
            records = _Records(file, file.name, features, run.record, run.offset, run.num_bytes, run.checksum)
            yield kind(split, start, run.num_records, records)
            start += run.num_records


def _read_split_column(source: TfrecordSource) -> Iterator[str | None]:
    for values, _ in _read_values(source.files["train"]):
        yield read_split_word(values, source.options.split_by or "")


LAYOUT = SourceLayout(
    kind=TfrecordSource,
    title="TFRecord files",
    example="one of train*.tfrecord and test*.tfrecord with images and labels in tf.train.Example",
    options=frozenset(
        {"image_column", "label_column", "image_size", "resize", "resize_mode", "split_by", "test_share"}
    ),
    holds=partial(holds_split_files, kind=_TFRECORD),
    find=partial(find_folder_source, TfrecordSource, _TFRECORD),
    scan=with_split_column(with_held_out(scan), _read_split_column),
    file_name=_TFRECORD.pattern,
    find_files=partial(find_named_source, TfrecordSource, _TFRECORD),
)
