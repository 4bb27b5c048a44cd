"""The scan of TFRecord files in tasks of consecutive records.

Records are digested in pieces of equally many, so before they are divided, each file is measured: the headers of its
records say where they are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import google_crc32c

from pipeline.sources.blocks import BLOCK_BYTES, changed_since_scan
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.compressed import is_compressed, open_decompressed
from pipeline.sources.image_blocks import FormatFinder, FoundFormat
from pipeline.sources.labels import LabelSet
from pipeline.sources.scan_tasks import (
    Content,
    DigestsOf,
    Hash,
    MapTasks,
    PieceSize,
    Span,
    choose_runner,
    cut_span,
    map_here,
    plan_contents,
)
from pipeline.sources.tfrecord_features import ExampleFeatures, StoredExample, read_stored
from pipeline.sources.tfrecord_format import parse_example, read_records, skip_records
from pipeline.storage.files import file_size
from pipeline.storage.places import Place


class ReadAs(NamedTuple):
    """What is read of a record: its features, and the size of images of pixels; size is None for files of pictures."""

    features: ExampleFeatures
    size: tuple[int, int] | None
    options: PictureOptions


class Position(NamedTuple):
    """Where a run of records begins: its first record in the split and in the file, and its first byte there."""

    start: int
    record: int
    offset: int


class RecordsTask(NamedTuple):
    """A part of the scan of a split: the files that have the records of the span.

    The first file is read from a position on, all in runs of about run_bytes. num_records are those of each file; None
    if the files are read to their ends, whatever these are.
    """

    files: tuple[Place, ...]
    first: Position
    num_records: tuple[int, ...] | None
    span: Span
    run_bytes: int
    read_as: ReadAs


class FoundRun(NamedTuple):
    """Records of a file of a task, by its number there: where they are, how many, and the CRC-32C of their bytes."""

    file: int
    record: int
    offset: int
    num_bytes: int
    num_records: int
    checksum: int


class FoundRecords(NamedTuple):
    """What a task found: bytes of the examples of its span, the runs that begin there, the format, and the labels."""

    num_bytes: int
    runs: tuple[FoundRun, ...]
    format: FoundFormat
    labels: tuple[int | str, ...]


class _Run(NamedTuple):
    """Consecutive records of a file that were read."""

    first: Position
    examples: list[StoredExample]
    num_bytes: int
    checksum: int


RunSizes: TypeAlias = tuple[tuple[int, int], ...]  # bytes and records of each run of a file


def plan_records(files: dict[str, tuple[Place, ...]], read_as: ReadAs, map_tasks: MapTasks) -> dict[str, Content]:
    """Return the content of each split of a source, given its files; map_tasks runs the tasks of large ones."""
    every_file = [file for each in files.values() for file in each]
    run = choose_runner(sum(map(file_size, every_file)), map_tasks, is_parsed=True)

    def cut() -> dict[str, list[RecordsTask]]:
        measured = run(partial(measure_file, BLOCK_BYTES), every_file, RunSizes)
        return {split: cut_tasks(each, [next(measured) for _ in each], read_as) for split, each in files.items()}

    def read_whole(split: str, span: Span) -> RecordsTask:
        return RecordsTask(files[split], Position(0, 0, 0), None, span, BLOCK_BYTES, read_as)

    pays = run is not map_here
    return plan_contents(dict.fromkeys(files, b""), PieceSize.of_examples(), cut if pays else None, read_whole)


def measure_file(run_bytes: int, file: Place) -> RunSizes:
    """Return bytes and records of each run of about run_bytes of a file.

    Raises BadInput if the header of a record is damaged.
    """
    runs = list[tuple[int, int]]()
    num_bytes = num_records = 0
    with open_decompressed(file) as stream:
        for size in skip_records(stream, str(file)):
            num_bytes += size
            num_records += 1
            if num_bytes >= run_bytes:
                runs.append((num_bytes, num_records))
                num_bytes = num_records = 0
    return (*runs, (num_bytes, num_records)) if num_records else tuple(runs)


def cut_tasks(files: tuple[Place, ...], measured: list[RunSizes], read_as: ReadAs) -> list[RecordsTask]:
    """Cut a split into tasks, given the runs of each file.

    A gzip file is read from its beginning on, so tasks have as many records as the largest, and two of them read it.
    """
    num_records = tuple(sum(number for _, number in sizes) for sizes in measured)
    starts = accumulate(num_records, initial=0)
    runs = [
        (number, position)
        for number, (start, sizes) in enumerate(zip(starts, measured, strict=False))
        for position in _place_runs(start, sizes)
    ]
    firsts = [position.start for _, position in runs]
    compressed = (number for file, number in zip(files, num_records, strict=True) if is_compressed(file))
    tasks = list[RecordsTask]()
    for span in cut_span(sum(num_records), max(compressed, default=1)):
        first_file, position = runs[bisect_right(firsts, span.start) - 1]
        last_file, _ = runs[bisect_left(firsts, span.stop) - 1]
        chosen = slice(first_file, last_file + 1)
        tasks.append(RecordsTask(files[chosen], position, num_records[chosen], span, BLOCK_BYTES, read_as))
    return tasks


def _place_runs(start: int, sizes: RunSizes) -> Iterator[Position]:
    """Yield the positions of the runs of a file whose first record is at `start` of the split."""
    record = offset = 0
    for num_bytes, num_records in sizes:
        yield Position(start + record, record, offset)
        record += num_records
        offset += num_bytes


def read_task(task: RecordsTask, digests_of: DigestsOf) -> FoundRecords:
    """Read the records of a task, and add the examples of its span to the only digest of their piece.

    Raises BadInput if a file is damaged, or has changed since it was measured.
    """
    summary = _RecordsSummary(task, digests_of)
    for number, run in _read_task_runs(task):
        summary.add(number, run)
    return summary.found()


class _RecordsSummary:
    """What is found in the records of a task, updated run by run."""

    def __init__(self, task: RecordsTask, digests_of: DigestsOf) -> None:
        self._task = task
        self._digests_of = digests_of
        self._num_bytes = 0
        self._runs = list[FoundRun]()
        self._finder = FormatFinder(task.read_as.options)
        self._labels = LabelSet()

    def add(self, number: int, run: _Run) -> None:
        """Take up the examples of a run that are in the task's span; number is that of the file in the task."""
        start, record, offset = run.first
        for piece, chosen in self._task.span.overlaps(start, len(run.examples)):
            name = f"{self._task.files[number]}: record"
            self._add_examples(run.examples[chosen], self._digests_of(piece), name, record + chosen.start)
        if start >= self._task.span.start:
            self._runs.append(FoundRun(number, record, offset, run.num_bytes, len(run.examples), run.checksum))

    def _add_examples(self, examples: list[StoredExample], digests: tuple[Hash, ...], name: str, record: int) -> None:
        [digest] = digests
        contents = [example.digest_bytes for example in examples]
        self._num_bytes += sum(map(len, contents))
        self._labels.update(example.label for example in examples)
        size = self._task.read_as.size
        if size is None:
            for number, example in enumerate(examples, record):
                self._finder.offer(example.image if isinstance(example.image, bytes) else None, f"{name} {number}")
        else:
            for number, example in enumerate(examples):
                if example.size not in (None, size):
                    contents[number] += f"{example.size}\n".encode()  # it decides that the record is rejected
        digest.update(b"".join(contents))

    def found(self) -> FoundRecords:
        """Return all that was found."""
        return FoundRecords(self._num_bytes, tuple(self._runs), self._finder.found, self._labels.found)


def _read_task_runs(task: RecordsTask) -> Iterator[tuple[int, _Run]]:
    """Yield the number of the file in the task and each run that has records of the span.

    Raises BadInput if a file does not have as many records as when it was measured.
    """
    first = task.first
    for number, file in enumerate(task.files):
        start = first.start - first.record
        num_read = first.record
        for run in _read_runs(file, first, task):
            yield number, run
            num_read = run.first.record + len(run.examples)
        is_end = number + 1 == len(task.files) and start + num_read >= task.span.stop
        num_expected = task.num_records[number] if task.num_records else num_read
        if num_read > num_expected or (num_read < num_expected and not is_end):
            raise changed_since_scan(file)
        first = Position(start + num_read, 0, 0)


def _read_runs(file: Place, first: Position, task: RecordsTask) -> Iterator[_Run]:
    """Yield the runs of a file from a position on that begin before the end of the task's span."""
    examples = list[StoredExample]()
    num_bytes = checksum = 0
    with open_decompressed(file) as stream:
        stream.seek(first.offset)
        for number, stored in enumerate(read_records(stream, str(file), first.record), first.record):
            if not examples and first.start >= task.span.stop:
                return
            examples.append(
                read_stored(parse_example(stored.payload, f"{file}: record {number}"), task.read_as.features)
            )
            checksum = google_crc32c.extend(checksum, stored.frame)
            num_bytes += len(stored.frame)
            if num_bytes >= task.run_bytes:
                yield _Run(first, examples, num_bytes, checksum)
                first = Position(first.start + len(examples), number + 1, first.offset + num_bytes)
                examples = []
                num_bytes = checksum = 0
    if examples:
        yield _Run(first, examples, num_bytes, checksum)
