"""TFRecord files of `tf.train.Example` as a source, gzipped or not, of any writer.

A record holds an image, as a file of a picture or as pixels, and a label. The identity of a split is the digest of the
labels and images in order, not of the files or of other features.
"""

import hashlib
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
from pipeline.sources.layouts import SourceLayout, one_task
from pipeline.sources.picture_style import Channel
from pipeline.sources.pixel_rows import PixelRows, check_not_resized, to_block
from pipeline.sources.split_column import with_split_column
from pipeline.sources.split_files import FileKind, find_folder_source, find_named_source, holds_split_files
from pipeline.sources.tfrecord_features import (
    ExampleFeatures,
    StoredExample,
    detect_features,
    find_image_size,
    read_manifest,
    read_pixels,
    read_split_word,
    read_stored,
)
from pipeline.sources.tfrecord_format import Values, parse_example, read_records, split_records
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


class _Scanner:
    """What is found out while the records of all splits are read once."""

    def __init__(self, source: TfrecordSource) -> None:
        self.name = str(source.files["train"][0])
        self.options = source.options
        self.manifest = read_manifest(source.files["train"][0].parent)
        self.labels = LabelSet()
        self._finder = FormatFinder(source.options)
        values, self.features, name = _find_features(source)
        self._size = None if self.features.is_encoded else self._find_size(values, name)
        self.begin_split()

    def begin_split(self) -> None:
        """Begin the digest of another split."""
        self.digest = hashlib.sha256()
        self.num_bytes = 0

    def _find_size(self, values: dict[str, Values], name: str) -> tuple[int, int]:
        check_not_resized(self.options, name)
        stated = self.options.image_size or self.manifest.image_size
        try:
            return find_image_size(values, self.features, stated, name)
        except BadUsage as error:
            if self.options.image_size:
                raise
            raise BadInput(f"{error}; manifest.json beside the file says so: put it elsewhere") from None

    def add(self, example: StoredExample, split: str, name: str) -> None:
        """Take up an example of a split."""
        content = example.digest_bytes
        self.digest.update(content)
        self.num_bytes += len(content)
        if self._size is not None and example.size not in (None, self._size):
            self.digest.update(f"{example.size}\n".encode())  # it decides that the record is rejected
        if split == "train":
            self.labels.update([example.label])
        if self._size is None:
            self._finder.offer(example.image if isinstance(example.image, bytes) else None, name)

    @property
    def channel(self) -> Channel:
        """What of encoded images is read."""
        return self._finder.channel

    def image_size(self) -> tuple[int, int]:
        """Return height and width; raises BadInput if no image of the train split is sound."""
        return self._size or self._finder.size(self.name)

    def info(self, split: str) -> SourceInfo:
        """Return the identity of the split that has been read."""
        # The size is part of it: it decides which records are rejected.
        self.digest.update((self._finder.identity if self._size is None else f"pixels {self._size}").encode())
        return SourceInfo(name=f"{split}-records", num_bytes=self.num_bytes, sha256=self.digest.hexdigest())


def scan(source: TfrecordSource, num_classes: ClassCount, first_label: int = 0) -> SourceScan:
    """Read every record of a source's files; raises as `source_lookup.scan_source`."""
    scanner = _Scanner(source)
    splits = dict[str, SplitScan]()
    codes = NUMBERS
    for split, files in source.files.items():
        scanner.begin_split()
        ranges = tuple(_scan_files(split, files, scanner))
        if not ranges:
            raise BadInput(f"{files[0]}: the split is empty: it has no records")
        image_size = scanner.image_size()  # the train split is the first, so its images decide
        if split == "train":
            codes = scanner.labels.codes(scanner.name)
        coded = tuple(replace(each, records=replace(each.records, codes=codes)) for each in ranges)
        splits[split] = TfrecordSplitScan(coded, image_size, (scanner.info(split),))
    names = codes.names or scanner.manifest.class_names
    name = source.name if names else scanner.name
    class_names = choose_class_names(names, scanner.labels.numbers, num_classes, name, first_label)
    return SourceScan(splits, class_names, scanner.channel, first_label, source.options.resizing)


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


def _scan_files(split: str, files: tuple[Place, ...], scanner: _Scanner) -> Iterator[AnyRecordsRange]:
    start = 0
    for file in files:
        offset = 0
        first_record = 0
        for frames in _cut_frames(file, split, scanner):
            num_bytes, num_records, checksum = frames
            records = _Records(file, file.name, scanner.features, first_record, offset, num_bytes, checksum)
            kind = PictureRecordsRange if scanner.features.is_encoded else PixelRecordsRange
            yield kind(split, start, num_records, records)
            offset += num_bytes
            start += num_records
            first_record += num_records


def _read_split_column(source: TfrecordSource) -> Iterator[str | None]:
    for values, _ in _read_values(source.files["train"]):
        yield read_split_word(values, source.options.split_by or "")


def _cut_frames(file: Place, split: str, scanner: _Scanner) -> Iterator[tuple[int, int, int]]:
    """Read a file's records; yield bytes, records and CRC-32C of runs of them of about BLOCK_BYTES."""
    num_bytes = num_records = checksum = 0
    with open_decompressed(file) as stream:
        for number, record in enumerate(read_records(stream, str(file))):
            name = f"{file}: record {number}"
            scanner.add(read_stored(parse_example(record.payload, name), scanner.features), split, name)
            checksum = google_crc32c.extend(checksum, record.frame)
            num_bytes += len(record.frame)
            num_records += 1
            if num_bytes >= BLOCK_BYTES:
                yield num_bytes, num_records, checksum
                num_bytes = num_records = checksum = 0
    if num_records:
        yield num_bytes, num_records, checksum


LAYOUT = SourceLayout(
    kind=TfrecordSource,
    title="TFRecord files",
    example="one of train*.tfrecord and test*.tfrecord with images and labels in tf.train.Example",
    options=frozenset(
        {"image_column", "label_column", "image_size", "resize", "resize_mode", "split_by", "test_share"}
    ),
    holds=partial(holds_split_files, kind=_TFRECORD),
    find=partial(find_folder_source, TfrecordSource, _TFRECORD),
    scan=with_split_column(with_held_out(one_task(scan)), _read_split_column),
    file_name=_TFRECORD.pattern,
    find_files=partial(find_named_source, TfrecordSource, _TFRECORD),
)
