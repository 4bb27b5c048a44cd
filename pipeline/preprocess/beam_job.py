"""The Beam pipeline from source files to shards: blocks in, shards out, the manifest last.

    block ranges -> cuts of blocks -> shards -> manifest

Work is done by blocks of thousands of examples; no Python runs for a single image, except where images must be
decoded (`pipeline.sources.image_decoding`). Examples do not travel through the engine: a worker that has read a block
writes it to a scratch file, and only the position of each cut of it is shuffled, unless workers share no disk
(`pipeline.preprocess.shuffle_files`). So a worker holds one block or one shard, and an engine that shuffles in memory
holds neither.
`construct` puts the functions below in order.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import BadInput, EngineFailed
from model.examples import concatenate
from pipeline.beam_runner import run_pipeline, runs_locally
from pipeline.code_version import SameCode
from pipeline.preprocess.manifest import (
    MANIFEST_NAME,
    Manifest,
    PreprocessConfig,
    ShardInfo,
    SplitInfo,
    commit_manifest,
    load_manifest,
)
from pipeline.preprocess.shards import (
    MOST_SHARD_BYTES,
    add_up,
    encode_shard,
    keys_of,
    number_order,
    shard_name,
    shard_of,
    sort_by_key,
    split_num_shards,
)
from pipeline.preprocess.shuffle_files import (
    BlockCut,
    ShuffledRuns,
    bytes_of,
    cut_block,
    group_edges,
    num_bytes_cut,
    read_rows,
    read_run,
)
from pipeline.progress import show_progress
from pipeline.sources.blocks import Block, BlockRange, BlockReader, ExampleFormat, RejectedExamples, SourceScan
from pipeline.storage.files import (
    check_files_exist,
    count_files,
    make_empty_folder,
    remove_afterwards,
    remove_on_failure,
    write_atomically,
)
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo
from pipeline.storage.tables import REJECTED_SCHEMA, read_table, write_table
from pipeline.storage.workspace import poll_interval, scratch_folder_of

REJECTED_NAME = "rejected.parquet"
CUTS, REJECTED = "cuts", "rejected"  # what comes of a block
SHOWN_REJECTED = 10  # how many a failing job names


@dataclass(frozen=True)
class SplitPlan:
    """A split: what reads it, and its number of shards."""

    reader: BlockReader
    num_shards: int


@dataclass(frozen=True)
class PreprocessJob:
    """All that a worker needs to know. `skeleton` is the manifest, but for what the job finds out.

    `folder` becomes the data set; `scratch` is deleted when the job ends.
    """

    folder: Place
    scratch: Place
    skeleton: Manifest
    splits: dict[str, SplitPlan]
    max_rejected: int


@dataclass(frozen=True)
class SplitTotals:
    """What is known of the finished work. Tallies add up in any order.

    `rejected` lists the first of the rejected examples, as many as may be needed, and `num_rejected` counts them all.
    """

    shards: tuple[ShardInfo, ...] = ()
    rejected: tuple[RejectedExamples, ...] = ()
    num_rejected: int = 0


def preprocess(
    scans: SourceScan,
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
    scratch = scratch_folder_of(folder, runs_locally(beam_arguments))
    make_empty_folder(folder)
    make_empty_folder(scratch)
    with ExitStack() as stack:
        stack.enter_context(remove_on_failure(folder))
        stack.enter_context(remove_afterwards(scratch))
        job = _plan(stack, scans, name, config, folder, scratch, max_rejected)
        ranges = list(chain.from_iterable(scan.ranges(split) for split, scan in scans.splits.items()))
        total = sum(each.num_examples for each in ranges)
        with show_progress("preprocess", total, "examples", partial(_share_done, job, total), poll_interval(folder)):
            run_pipeline(beam, PipelineOptions, beam_arguments, partial(construct, job=job, ranges=ranges))
            _check_rejected(job)  # before it is said to be done


def construct(pipeline: beam.Pipeline, job: PreprocessJob, ranges: list[BlockRange]) -> None:
    """Apply the job's transforms."""
    found = (
        pipeline
        | "Ranges" >> beam.Create(ranges)
        | beam.Reshuffle()
        | "CutBlocks" >> beam.FlatMap(SameCode(cut_blocks, job=job)).with_outputs(REJECTED, main=CUTS)
    )
    every_group = pipeline | "EveryGroup" >> beam.Create(list(empty_groups(job)))  # ((split, group), None)
    shards = (
        (found[CUTS], every_group)  # ((split, group), Cut)
        | beam.Flatten()
        | beam.GroupByKey()
        | "WriteShards" >> beam.FlatMapTuple(SameCode(write_shards, job))  # Tally
    )
    (
        (shards, found[REJECTED])  # Tally
        | "Tallies" >> beam.Flatten()
        | "Merge" >> beam.CombineGlobally(SameCode(merge, job))
        | "WriteManifest" >> beam.Map(SameCode(write_manifest, job=job))
    )


def cut_blocks(block_range: BlockRange, job: PreprocessJob) -> Iterator[Any]:
    """Read the blocks of a range, leave each in a scratch file, and yield where, and what was rejected.

    Blocks are no elements of the pipeline, since an engine holds the last one while the next is made.

    Yields:
        ((split, group), Cut) for every group of shards that a block has examples of; a tally, tagged, for a block that
        has rejected examples.

    Raises:
        BadInput: the range does not hold what was scanned.
    """
    for block in read_blocks(block_range, job):
        if block.rejected:
            tally = SplitTotals((), block.rejected[: _most_kept(job)], len(block.rejected))
            yield beam.pvalue.TaggedOutput(REJECTED, tally)
        yield from cut_by_shard(block, job)


def read_blocks(block_range: BlockRange, job: PreprocessJob) -> Iterator[Block]:
    """Read the blocks of a range; raises BadInput if it does not hold what was scanned."""
    return job.splits[block_range.split].reader.read(block_range)


def cut_by_shard(block: Block, job: PreprocessJob) -> Iterator[tuple[tuple[str, int], BlockCut]]:
    """Leave a block for the writers of its shards, and yield where each group of shards finds its examples."""
    num_shards = job.splits[block.split].num_shards
    shards = shard_of(keys_of(job.skeleton.config.seed, block.split, block.examples.indices), num_shards)
    for group, cut in cut_block(job.scratch, block.examples, shards, num_shards):
        yield (block.split, group), cut


def empty_groups(job: PreprocessJob) -> Iterator[tuple[tuple[str, int], None]]:
    """Yield every group of shards of every split, so that a shard without examples is written too."""
    for split, plan in job.splits.items():
        yield from (((split, group), None) for group in range(len(group_edges(job.scratch, plan.num_shards)) - 1))


def write_shards(job: PreprocessJob, key: tuple[str, int], cuts: Iterable[BlockCut | None]) -> Iterator[SplitTotals]:
    """Write a group of shards, one after the other. Doing it again writes the same bytes."""
    split, group = key
    first, stop = group_edges(job.scratch, job.splits[split].num_shards)[group : group + 2]
    blocks = [read_rows(cut, stop - first) for cut in cuts if cut is not None]
    for shard in range(first, stop):
        yield write_shard(job, split, shard, [(runs, shard - first) for runs in blocks])


def write_shard(job: PreprocessJob, split: str, shard: int, runs: list[tuple[ShuffledRuns, int]]) -> SplitTotals:
    """Put a shard's runs in order and write its file."""
    pixels, name = job.skeleton.num_pixels, shard_name(split, shard, job.splits[split].num_shards)
    num_bytes = sum(int(found.rows[number, 0]) for found, number in runs) * pixels
    if num_bytes > MOST_SHARD_BYTES:
        raise BadInput(f"{name} would hold {num_bytes} bytes of pixels, at most {MOST_SHARD_BYTES}: raise --num-shards")
    examples = concatenate([read_run(found, number, pixels) for found, number in runs if found.rows[number, 0]], pixels)
    ordered = sort_by_key(job.skeleton.config.seed, split, examples)
    data, info = encode_shard(name, ordered, len(job.skeleton.class_names))
    write_atomically(job.folder / name, data)
    return SplitTotals((info,))


def merge(job: PreprocessJob, tallies: Iterable[SplitTotals]) -> SplitTotals:
    """Add up tallies."""
    parts = list(tallies)
    shards = sorted(chain.from_iterable(part.shards for part in parts), key=lambda shard: number_order(shard.name))
    rejected = sorted(
        chain.from_iterable(part.rejected for part in parts),
        key=lambda example: (example.split, example.index),
    )
    return SplitTotals(tuple(shards), tuple(rejected[: _most_kept(job)]), sum(part.num_rejected for part in parts))


def write_manifest(tally: SplitTotals, job: PreprocessJob) -> None:
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
    check_files_exist(job.folder, [file.name for file in manifest.files()])
    commit_manifest(job.folder, manifest)


def describe_split(split: str, shards: Iterable[ShardInfo], num_pixels: int) -> SplitInfo:
    """Add up what a split's shards hold."""
    return add_up(tuple(shard for shard in shards if shard.name.startswith(f"{split}-")), num_pixels)


def _plan(
    stack: ExitStack,
    scans: SourceScan,
    name: str,
    config: PreprocessConfig,
    folder: Place,
    scratch: Place,
    max_rejected: int,
) -> PreprocessJob:
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
    num_train, target = scans.splits["train"].num_examples, ExampleFormat(height, width, len(scans.class_names))
    splits = {
        split: SplitPlan(
            reader=scan.open(stack, target, scratch),
            num_shards=split_num_shards(config.num_shards, num_train, scan.num_examples),
        )
        for split, scan in scans.splits.items()
    }
    return PreprocessJob(folder, scratch, skeleton, splits, max_rejected)


def _share_done(job: PreprocessJob, num_examples: int) -> float:
    """Look how far the work has come: half of it is to cut blocks, where that can be seen, and half to write shards."""
    written = count_files(job.folder, ".tfrecord") / sum(plan.num_shards for plan in job.splits.values())
    if not isinstance(job.scratch, Path):
        return written
    return (min(1, num_bytes_cut(job.scratch) / bytes_of(num_examples, job.skeleton.num_pixels)) + written) / 2


def _most_kept(job: PreprocessJob) -> int:
    return max(job.max_rejected, SHOWN_REJECTED)


def _write_rejected(tally: SplitTotals, job: PreprocessJob) -> FileInfo:
    rows = [vars(example) for example in tally.rejected]
    return write_table(job.folder / REJECTED_NAME, pa.Table.from_pylist(rows, REJECTED_SCHEMA))


def _check_rejected(job: PreprocessJob) -> None:
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
