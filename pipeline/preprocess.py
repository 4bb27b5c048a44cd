"""The Beam pipeline from source files to shards: blocks in, shards out, the manifest last.

    block ranges -> blocks of valid examples -> parts of shards -> shards -> manifest

Elements are columnar blocks of thousands of examples; no Python runs for a single image, but where pictures must be
decoded (`pipeline.decoding`). Pixels do not travel through the engine, except where workers share no disk: a worker
that has cut a block into parts leaves them in a scratch file, and the shuffle moves only where each part lies. So a
worker holds one block or one shard, and an engine that shuffles in memory holds neither. The functions below know
nothing of Beam; `construct` puts them in order.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import apache_beam as beam
import google_crc32c
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import BadInput, CorruptArtefact, EngineFailed
from model.examples import Examples, Integers, concatenate
from pipeline import runners, storage
from pipeline.blocks import Block, BlockRange, Reader, Rejected, Scans, Target
from pipeline.local_side import scratch_folder
from pipeline.manifest import MANIFEST_NAME, FileInfo, Manifest, PreprocessConfig, ShardInfo, SplitInfo, load_manifest
from pipeline.places import Place
from pipeline.shards import add_up, encode_shard, keys_of, shard_name, shard_of, sort_by_key, split_num_shards
from pipeline.tables import REJECTED_SCHEMA, read_table, write_table

REJECTED_NAME = "rejected.parquet"
SHOWN_REJECTED = 10  # how many a failing job names


@dataclass(frozen=True)
class SplitPlan:
    """A split: what reads it, and its number of shards."""

    reader: Reader
    num_shards: int


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know. `skeleton` is the manifest, but for what the job finds out.

    `folder` becomes the data set; `scratch` is deleted when the job ends.
    """

    folder: Place
    scratch: Place
    skeleton: Manifest
    splits: dict[str, SplitPlan]
    max_rejected: int


@dataclass(frozen=True)
class Tally:
    """What is known of the finished work. Tallies add up in any order.

    `rejected` lists the first of the rejected examples, as many as may be needed, and `num_rejected` counts them all.
    """

    shards: tuple[ShardInfo, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    num_rejected: int = 0


@dataclass(frozen=True)
class Part:
    """The examples of one block that belong to one shard.

    Their images lie in a scratch file from `start` on; or they are here, where that would lie in a store, which is slow
    to read in many small pieces.
    """

    index: Integers
    labels: Integers
    place: str
    start: int
    checksum: int
    images: bytes | None = None


def preprocess(
    scans: Scans,
    name: str,
    config: PreprocessConfig,
    folder: Place,
    max_rejected: int,
    beam_arguments: list[str],
) -> None:
    """Build a data set's folder; on any failure nothing of it is left.

    Args:
        scans: the source, as `staging.scan_source` found it.
        name: of the data set.
        config: what decides the bytes.
        folder: what to build; nothing complete stands there.
        max_rejected: how many examples may be left out.
        beam_arguments: the user's options for Beam.

    Raises:
        BadInput: more examples were rejected, or a source changed since it was scanned.
        EngineFailed: the engine gave up.
    """
    scratch = scratch_folder(folder, runners.works_here(beam_arguments))
    storage.make_empty(folder)
    storage.make_empty(scratch)
    with ExitStack() as stack:
        stack.enter_context(storage.removed_on_failure(folder))
        stack.callback(storage.remove, scratch)
        job = _plan(stack, scans, name, config, folder, scratch, max_rejected)
        ranges = list(chain.from_iterable(scan.ranges(split) for split, scan in scans.splits.items()))
        runners.execute(beam, PipelineOptions, beam_arguments, partial(construct, job=job, ranges=ranges))
        _check_rejected(job)


def construct(pipeline: beam.Pipeline, job: Job, ranges: list[BlockRange]) -> None:
    """Apply the job's transforms."""
    blocks = (
        pipeline
        | "Ranges" >> beam.Create(ranges)
        | beam.Reshuffle()
        | "ReadBlock" >> beam.FlatMap(read_block, job)  # Block
    )
    rejected = blocks | "CountRejected" >> beam.FlatMap(count_rejected, job)  # Tally
    every_shard = pipeline | "EveryShard" >> beam.Create(list(empty_shards(job)))  # ((split, shard), None)
    shards = (
        (
            blocks | "PartitionByShard" >> beam.FlatMap(partition_by_shard, job),
            every_shard,
        )  # ((split, shard), Part)
        | beam.Flatten()
        | beam.GroupByKey()
        | "WriteShard" >> beam.MapTuple(partial(write_shard, job))  # Tally
    )
    (
        (shards, rejected)
        | "Tallies" >> beam.Flatten()
        | beam.CombineGlobally(partial(merge, job))
        | "WriteManifest" >> beam.Map(write_manifest, job)
    )


def read_block(block: BlockRange, job: Job) -> Iterator[Block]:
    """Read the blocks of a range; raises BadInput if it does not hold what was scanned."""
    return job.splits[block.split].reader.read(block)


def count_rejected(block: Block, job: Job) -> Iterator[Tally]:
    """Yield a tally of a block's rejected examples, if there are any."""
    if block.rejected:
        yield Tally((), block.rejected[: _most_kept(job)], len(block.rejected))


def partition_by_shard(block: Block, job: Job) -> Iterator[tuple[tuple[str, int], Part]]:
    """Cut a block into one part for each shard that it has examples of, and leave the images in a scratch file.

    Where workers share no disk, the images travel with the parts.
    """
    num_shards = job.splits[block.split].num_shards
    shards = shard_of(keys_of(job.skeleton.config.seed, block.split, block.examples.indices), num_shards)
    place = str(storage.unique_place(job.scratch))  # a retried bundle writes another
    travels, pieces, start = not isinstance(job.scratch, Path), [], 0
    for shard in np.unique(shards).tolist():
        index, images, labels = block.examples.take(np.flatnonzero(shards == shard))
        pieces.append(images.tobytes())
        checksum = google_crc32c.value(pieces[-1])
        yield (block.split, shard), Part(index, labels, place, start, checksum, pieces[-1] if travels else None)
        start += len(pieces[-1])
    if not travels:
        storage.write_scratch(place, pieces)


def empty_shards(job: Job) -> Iterator[tuple[tuple[str, int], None]]:
    """Yield every shard of every split, so that one without examples is written too."""
    for split, plan in job.splits.items():
        yield from (((split, shard), None) for shard in range(plan.num_shards))


def write_shard(job: Job, key: tuple[str, int], parts: Iterable[Part | None]) -> Tally:
    """Put a shard's parts in order and write its file. Doing it again writes the same bytes."""
    split, shard = key
    pixels = job.skeleton.num_pixels
    examples = concatenate([_read_part(part, pixels) for part in parts if part is not None], pixels)
    name = shard_name(split, shard, job.splits[split].num_shards)
    ordered = sort_by_key(job.skeleton.config.seed, split, examples)
    data, info = encode_shard(name, ordered, len(job.skeleton.class_names))
    storage.write_atomically(job.folder / name, data)
    return Tally((info,))


def merge(job: Job, tallies: Iterable[Tally]) -> Tally:
    """Add up tallies."""
    parts = list(tallies)
    shards = sorted(chain.from_iterable(part.shards for part in parts), key=lambda shard: shard.name)
    rejected = sorted(
        chain.from_iterable(part.rejected for part in parts),
        key=lambda example: (example.split, example.index),
    )
    return Tally(tuple(shards), tuple(rejected[: _most_kept(job)]), sum(part.num_rejected for part in parts))


def write_manifest(tally: Tally, job: Job) -> None:
    """Write the table of rejected examples and, unless they are too many, the manifest: the data set is complete."""
    rejected = _write_rejected(tally, job) if tally.num_rejected else None
    if tally.num_rejected > job.max_rejected:
        return
    found = {
        "splits": {split: describe_split(split, tally.shards, job.skeleton.num_pixels) for split in job.splits},
        "num_rejected": tally.num_rejected,
        "rejected": rejected,
    }
    manifest = Manifest.model_validate(dict(job.skeleton) | found)
    storage.write_atomically(job.folder / MANIFEST_NAME, manifest.to_json())


def describe_split(split: str, shards: Iterable[ShardInfo], num_pixels: int) -> SplitInfo:
    """Add up what a split's shards hold."""
    return add_up(tuple(shard for shard in shards if shard.name.startswith(f"{split}-")), num_pixels)


def _plan(
    stack: ExitStack,
    scans: Scans,
    name: str,
    config: PreprocessConfig,
    folder: Place,
    scratch: Place,
    max_rejected: int,
) -> Job:
    """Decompress what must be, for as long as the stack lasts, and say where everything is."""
    height, width = scans.image_size
    skeleton = Manifest(
        name=name,
        height=height,
        width=width,
        class_names=scans.class_names,
        config=config,
        sources=scans.infos,
        splits={},
        num_rejected=0,
        rejected=None,
    )
    num_train, target = scans.splits["train"].num_examples, Target(height, width, len(scans.class_names))
    splits = {
        split: SplitPlan(
            reader=scan.open(stack, target, scratch),
            num_shards=split_num_shards(config.num_shards, num_train, scan.num_examples),
        )
        for split, scan in scans.splits.items()
    }
    return Job(folder, scratch, skeleton, splits, max_rejected)


def _read_part(part: Part, num_pixels: int) -> Examples:
    data = part.images
    if data is None:
        data = storage.read_range(part.place, part.start, len(part.index) * num_pixels)
    if google_crc32c.value(data) != part.checksum:
        raise CorruptArtefact(f"{part.place} is corrupt: expected CRC-32C {part.checksum} from {part.start} on")
    return Examples(part.index, np.frombuffer(data, np.uint8).reshape(-1, num_pixels), part.labels)


def _most_kept(job: Job) -> int:
    return max(job.max_rejected, SHOWN_REJECTED)


def _write_rejected(tally: Tally, job: Job) -> FileInfo:
    rows = [vars(example) for example in tally.rejected]
    return write_table(job.folder / REJECTED_NAME, pa.Table.from_pylist(rows, REJECTED_SCHEMA))


def _check_rejected(job: Job) -> None:
    """Raise BadInput if the job ended without a manifest, which it writes unless too many examples were rejected.

    Too many are also all of a split.
    """
    if (job.folder / MANIFEST_NAME).exists():
        manifest, _ = load_manifest(job.folder)
        for name, split in manifest.splits.items():
            if not split.num_examples:
                first = next(row for row in read_table(job.folder / REJECTED_NAME).to_pylist() if row["split"] == name)
                raise BadInput(
                    f"every example of the {name} split is rejected, the first because: {first['reason']} "
                    f"({first['file']}, example {first['index']})"
                )
        return
    path = job.folder / REJECTED_NAME
    if not path.exists():
        raise EngineFailed(f"the engine reports success but wrote no manifest to {job.folder}")
    rows = read_table(path).to_pylist()
    listed = "\n".join("  {file} (split {split}), example {index}: {reason}".format(**row) for row in rows)
    raise BadInput(
        f"more than {job.max_rejected} examples are rejected, the first of them:\n{listed}\n"
        f"Mend the source, or accept up to N such examples with --max-rejected N: {REJECTED_NAME} then lists them all."
    )
