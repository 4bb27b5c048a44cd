"""The Beam pipeline from source files to shards, with the manifest written last.

    block ranges -> cuts of blocks -> shards -> manifest

Elements are blocks of thousands of examples; no Python code runs for each image, except where images must be decoded
(`pipeline.sources.image_blocks`). Workers exchange examples through scratch files and the engine shuffles only their
positions, unless workers share no disk (`pipeline.preprocess.shuffle_files`). So a worker holds one block or one shard
in memory, and an engine that shuffles in memory holds neither.

`construct` builds the pipeline from the functions below it.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import BadInput
from model.examples import concatenate
from pipeline.beam_runner import run_pipeline, runs_locally
from pipeline.code_version import SameCode
from pipeline.preprocess.manifest import (
    Manifest,
    PreprocessConfig,
    ShardInfo,
    SplitInfo,
    commit_manifest,
)
from pipeline.preprocess.rejected import SHOWN_REJECTED, check_outcome, write_rejected
from pipeline.preprocess.shards import (
    MAX_SHARD_BYTES,
    encode_shard,
    keys_of,
    number_order,
    shard_name,
    shard_of,
    sort_by_key,
    split_num_shards,
    summarize_shards,
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
from pipeline.sources.blocks import Block, BlockRange, ExampleFormat, RejectedExamples, SourceScan
from pipeline.storage.files import (
    check_files_exist,
    count_files,
    make_empty_folder,
    remove_afterwards,
    remove_on_failure,
    write_atomically,
)
from pipeline.storage.places import Place
from pipeline.storage.workspace import poll_interval, scratch_folder_of

CUTS = "cuts"  # tags of the outputs of `cut_blocks`
REJECTED = "rejected"


@dataclass(frozen=True)
class PreprocessJob:
    """Everything that a worker needs.

    Attributes:
        folder: folder of the data set.
        scratch: folder of temporary files, deleted when the job ends.
        skeleton: the manifest without the results of the job.
        target: what every usable example must be.
        splits: the number of shards of each split.
        max_rejected: rejected examples that are allowed.
    """

    folder: Place
    scratch: Place
    skeleton: Manifest
    target: ExampleFormat
    splits: dict[str, int]
    max_rejected: int


@dataclass(frozen=True)
class SplitTotals:
    """Results of a part of the job. `merge` adds them up in any order.

    Attributes:
        shards: the shards that were written.
        rejected: the first rejected examples, as many as the table or the error may list.
        num_rejected: number of all rejected examples.
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
    """Build a data set's folder, and remove it on any failure.

    Args:
        scans: the result of `scan_source`.
        name: name of the data set.
        config: seed and number of shards.
        folder: folder to build; it holds no complete data set.
        max_rejected: rejected examples that are allowed.
        beam_arguments: the user's options for Beam.

    Raises:
        BadInput: more examples are rejected, all examples of a split are, or a source changed since it was scanned.
        EngineFailed: the Beam job failed.
    """
    scratch = scratch_folder_of(folder, runs_locally(beam_arguments))
    make_empty_folder(folder)
    make_empty_folder(scratch)
    with ExitStack() as stack:
        stack.enter_context(remove_on_failure(folder))
        stack.enter_context(remove_afterwards(scratch))
        job = _plan(scans, name, config, folder, scratch, max_rejected)
        ranges = [block_range for scan in scans.splits.values() for block_range in scan.open(stack, scratch)]
        total = sum(block_range.num_examples for block_range in ranges)
        with show_progress("preprocess", total, "examples", partial(_share_done, job, total), poll_interval(folder)):
            run_pipeline(beam, PipelineOptions, beam_arguments, partial(construct, job=job, ranges=ranges))
            check_outcome(folder, max_rejected)  # inside, so that a failed check does not show the bar as complete


def construct(pipeline: beam.Pipeline, job: PreprocessJob, ranges: list[BlockRange]) -> None:
    """Apply the job's transforms."""
    outputs = (
        pipeline
        | "Ranges" >> beam.Create(ranges)
        | beam.Reshuffle()  # without it, engines fuse Create with CutBlocks and one worker reads everything
        | "CutBlocks" >> beam.FlatMap(SameCode(cut_blocks, job=job)).with_outputs(REJECTED, main=CUTS)
    )
    every_group = pipeline | "EveryGroup" >> beam.Create(list(empty_groups(job)))  # ((split, group), None)
    shards = (
        (outputs[CUTS], every_group)  # ((split, group), BlockCut or None)
        | beam.Flatten()
        | beam.GroupByKey()
        | "WriteShards" >> beam.FlatMapTuple(SameCode(write_shards, job))  # SplitTotals
    )
    (
        (shards, outputs[REJECTED])  # SplitTotals
        | "Totals" >> beam.Flatten()
        | "Merge" >> beam.CombineGlobally(SameCode(merge, job))
        | "WriteManifest" >> beam.Map(SameCode(write_manifest, job=job))
    )


def cut_blocks(block_range: BlockRange, job: PreprocessJob) -> Iterator[Any]:
    """Read the blocks of a range and write each to a scratch file.

    Reading and cutting are one transform, because an engine keeps an element while the next one is made: blocks as
    elements would take twice the memory.

    Yields:
        ((split, group), BlockCut) for every group of shards that a block has examples of; for a block with rejected
        examples also a SplitTotals, tagged REJECTED.

    Raises:
        BadInput: the content of the range has changed since the scan.
    """
    for block in block_range.read(job.target):
        if block.rejected:
            totals = SplitTotals((), block.rejected[: _max_listed(job)], len(block.rejected))
            yield beam.pvalue.TaggedOutput(REJECTED, totals)
        yield from cut_by_shard(block, job)


def cut_by_shard(block: Block, job: PreprocessJob) -> Iterator[tuple[tuple[str, int], BlockCut]]:
    """Write a block to a scratch file and yield the cut of each group of shards."""
    num_shards = job.splits[block.split]
    shards = shard_of(keys_of(job.skeleton.config.seed, block.split, block.examples.indices), num_shards)
    for group, cut in cut_block(job.scratch, block.examples, shards, num_shards):
        yield (block.split, group), cut


def empty_groups(job: PreprocessJob) -> Iterator[tuple[tuple[str, int], None]]:
    """Yield the key of every group of shards, so that shards without examples are written too."""
    for split, num_shards in job.splits.items():
        yield from (((split, group), None) for group in range(len(group_edges(job.scratch, num_shards)) - 1))


def write_shards(job: PreprocessJob, key: tuple[str, int], cuts: Iterable[BlockCut | None]) -> Iterator[SplitTotals]:
    """Write a group of shards, one after the other. A repeated call writes the same bytes."""
    split, group = key
    first, stop = group_edges(job.scratch, job.splits[split])[group : group + 2]
    blocks = [read_rows(cut, stop - first) for cut in cuts if cut is not None]
    for shard in range(first, stop):
        yield write_shard(job, split, shard, [(runs, shard - first) for runs in blocks])


def write_shard(job: PreprocessJob, split: str, shard: int, runs: list[tuple[ShuffledRuns, int]]) -> SplitTotals:
    """Sort a shard's examples and write its file.

    Args:
        job: the job.
        split: name of the split.
        shard: number of the shard.
        runs: for each block, the table of its runs and the row of this shard.
    """
    num_pixels = job.skeleton.num_pixels
    name = shard_name(split, shard, job.splits[split])
    runs = [(table, row) for table, row in runs if table.rows[row, 0]]
    num_bytes = sum(int(table.rows[row, 0]) for table, row in runs) * num_pixels
    if num_bytes > MAX_SHARD_BYTES:
        raise BadInput(f"{name} would hold {num_bytes} bytes of pixels, at most {MAX_SHARD_BYTES}: raise --num-shards")
    examples = concatenate([read_run(table, row, num_pixels) for table, row in runs], num_pixels)
    ordered = sort_by_key(job.skeleton.config.seed, split, examples)
    data, info = encode_shard(name, ordered, len(job.skeleton.class_names))
    write_atomically(job.folder / name, data)
    return SplitTotals((info,))


def merge(job: PreprocessJob, totals: Iterable[SplitTotals]) -> SplitTotals:
    """Add up totals."""
    parts = list(totals)
    shards = sorted(chain.from_iterable(part.shards for part in parts), key=lambda shard: number_order(shard.name))
    rejected = sorted(
        chain.from_iterable(part.rejected for part in parts),
        key=lambda example: (example.split, example.index),
    )
    return SplitTotals(tuple(shards), tuple(rejected[: _max_listed(job)]), sum(part.num_rejected for part in parts))


def write_manifest(totals: SplitTotals, job: PreprocessJob) -> None:
    """Write the table of rejected examples and then the manifest, which makes the data set complete.

    If too many examples are rejected, no manifest is written and `check_outcome` raises the error in the driver: an
    error raised on a worker would arrive in the engine's words.
    """
    rejected = write_rejected(job.folder, totals.rejected) if totals.num_rejected else None
    if totals.num_rejected > job.max_rejected:
        return
    results = {
        "splits": {split: describe_split(split, totals.shards, job.skeleton.num_pixels) for split in job.splits},
        "num_rejected": totals.num_rejected,
        "rejected": rejected,
    }
    manifest = Manifest.model_validate(dict(job.skeleton) | results)
    check_files_exist(job.folder, [file.name for file in manifest.files()])
    commit_manifest(job.folder, manifest)


def describe_split(split: str, shards: Iterable[ShardInfo], num_pixels: int) -> SplitInfo:
    """Return the record of a split, given the shards of all splits."""
    return summarize_shards(tuple(shard for shard in shards if shard.name.startswith(f"{split}-")), num_pixels)


def _plan(
    scans: SourceScan,
    name: str,
    config: PreprocessConfig,
    folder: Place,
    scratch: Place,
    max_rejected: int,
) -> PreprocessJob:
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
    num_train = scans.splits["train"].num_examples
    target = ExampleFormat(height, width, len(scans.class_names))
    splits = {
        split: split_num_shards(config.num_shards, num_train, scan.num_examples) for split, scan in scans.splits.items()
    }
    return PreprocessJob(folder, scratch, skeleton, target, splits, max_rejected)


def _share_done(job: PreprocessJob, num_examples: int) -> float:
    """Return the progress, 0 to 1: half for cutting blocks and half for writing shards.

    Without scratch files on a shared disk, only the shards can be counted.
    """
    written = count_files(job.folder, ".tfrecord") / sum(job.splits.values())
    if not isinstance(job.scratch, Path):
        return written
    return (min(1, num_bytes_cut(job.scratch) / bytes_of(num_examples, job.skeleton.num_pixels)) + written) / 2


def _max_listed(job: PreprocessJob) -> int:
    return max(job.max_rejected, SHOWN_REJECTED)
