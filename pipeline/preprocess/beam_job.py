"""The Beam pipeline from source files to a data set: block ranges -> cuts of blocks -> shards -> manifest.

Elements are blocks of thousands of examples. Workers exchange them through scratch files, and the engine shuffles only
their paths (`shuffle_files`): a worker holds one block or shard in memory, and the engine none.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import BadInput
from model.examples import Integers, concatenate
from pipeline.beam_runner import run_pipeline, runs_locally
from pipeline.preprocess import shuffle_files
from pipeline.preprocess.gather_parts import GatherParts
from pipeline.preprocess.manifest import Manifest, PreprocessConfig, ShardInfo, commit_manifest, count_rejected
from pipeline.preprocess.rejected import SHOWN_REJECTED, check_outcome, write_rejected
from pipeline.preprocess.scratch_parts import PartsFile, num_bytes_written
from pipeline.preprocess.shards import (
    MAX_SHARD_BYTES,
    encode_shard,
    keys_of,
    shard_name,
    shard_of,
    split_num_shards,
    summarize_shards,
)
from pipeline.processes import SameCode
from pipeline.progress import show_progress
from pipeline.sources.blocks import BlockRange, ExampleFormat, RejectedExample, SourceScan
from pipeline.sources.picture_style import NO_PICTURES, StyleCounts, add_styles, count_style
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
TOTALS = "totals"


@dataclass(frozen=True)
class PreprocessJob:
    """Everything that a worker needs: temporary files are in scratch, and skeleton is the manifest without results."""

    folder: Place
    scratch: Place
    skeleton: Manifest
    target: ExampleFormat
    num_shards: dict[str, int]
    max_rejected: int

    @property
    def num_groups(self) -> dict[str, int]:
        """The number of groups of shards of each split."""
        return {split: len(shuffle_files.group_edges(self.scratch, n)) - 1 for split, n in self.num_shards.items()}

    @property
    def max_listed(self) -> int:
        """The number of rejected examples that the table or the error lists at most."""
        return max(self.max_rejected, SHOWN_REJECTED)


@dataclass(frozen=True)
class JobTotals:
    """Results of a part of the job; rejected are the first rejected examples, at most `PreprocessJob.max_listed`."""

    shards: tuple[ShardInfo, ...] = ()
    rejected: tuple[RejectedExample, ...] = ()
    rejected_counts: tuple[tuple[tuple[str, int | None], int], ...] = ()  # by split and label, of all of them
    style: StyleCounts = NO_PICTURES

    @property
    def num_rejected(self) -> int:
        """The number of all rejected examples."""
        return sum(count for _, count in self.rejected_counts)


def preprocess(
    scans: SourceScan, name: str, config: PreprocessConfig, folder: Place, max_rejected: int, beam_arguments: list[str]
) -> None:
    """Build the data set of a scanned source in a folder without a complete one, and remove it on any failure.

    Raises BadInput if a source changed since it was scanned, and as `check_outcome` and `run_pipeline`.
    """
    works_here = runs_locally(beam_arguments)
    with ExitStack() as stack:
        job, ranges = stack.enter_context(open_job(scans, name, config, folder, max_rejected, works_here))
        total = sum(block_range.num_examples for block_range in ranges)
        share_done = partial(_share_done, job, total)
        # inside the job's context, so that a failed check of the outcome does not show the bar as complete
        stack.enter_context(show_progress("preprocess", total, "examples", share_done, poll_interval(folder)))
        run_pipeline(beam, PipelineOptions, beam_arguments, partial(build_pipeline, job=job, ranges=ranges))
        check_outcome(folder, max_rejected)


@contextmanager
def open_job(
    scans: SourceScan, name: str, config: PreprocessConfig, folder: Place, max_rejected: int, works_here: bool
) -> Iterator[tuple[PreprocessJob, list[BlockRange]]]:
    """Make the folders of a job, and yield it with the ranges of examples that it reads; remove them on any failure.

    works_here says whether all workers run on this machine.
    """
    num_train = scans.splits["train"].num_examples
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
    scratch = scratch_folder_of(folder, works_here)
    make_empty_folder(folder)
    make_empty_folder(scratch)
    with ExitStack() as stack:
        stack.enter_context(remove_on_failure(folder))
        stack.enter_context(remove_afterwards(scratch))
        num_shards = {
            split: split_num_shards(config.num_shards, num_train, scan.num_examples)
            for split, scan in scans.splits.items()
        }
        target = ExampleFormat(height, width, len(scans.class_names), scans.channel, scans.first_label, scans.resize)
        job = PreprocessJob(folder, scratch, skeleton, target, num_shards, max_rejected)
        yield job, [block_range for scan in scans.splits.values() for block_range in scan.open(stack, scratch)]


def build_pipeline(pipeline: beam.Pipeline, job: PreprocessJob, ranges: list[BlockRange]) -> beam.PCollection:
    """Apply the job's transforms."""
    return pipeline | "Ranges" >> beam.Create(ranges) | PreprocessImages(job)


@dataclass(eq=False)
class PreprocessImages(beam.PTransform):  # type: ignore[misc]
    """Read a job's ranges of examples (BlockRange), write its shards and its manifest, and return the Manifest.

    The manifest is written last. If more examples are rejected than the job allows, none is written and none returned.
    """

    job: PreprocessJob

    def expand(self, ranges: "beam.PCollection[BlockRange]") -> "beam.PCollection[Manifest]":
        """Apply the transforms."""
        job = self.job
        outputs = (
            ranges
            | beam.Reshuffle()  # without it, engines fuse Create with CutBlocks and one worker reads everything
            | "CutBlocks" >> beam.FlatMap(SameCode(cut_blocks, job=job)).with_outputs(TOTALS, main=CUTS)
        )
        # Added up before the flattening too, for which an engine in memory holds every element.
        add = SameCode(add_totals, job)
        of_blocks = outputs[TOTALS] | "AddTotalsOfBlocks" >> beam.CombineGlobally(add)
        of_shards = (
            outputs[CUTS]  # ((split, None or group), PartsFile)
            | GatherParts(job.num_groups, job.scratch)  # ((split, group), [PartsFile])
            | "WriteShards" >> beam.MapTuple(SameCode(write_shards, job))  # JobTotals
        )
        return (
            (of_blocks, of_shards)  # JobTotals
            | "Totals" >> beam.Flatten()
            | "AddTotals" >> beam.CombineGlobally(add)
            | "WriteManifest" >> beam.FlatMap(SameCode(write_manifest, job=job))
        )


def cut_blocks(block_range: BlockRange, job: PreprocessJob) -> Iterator[Any]:
    """Read the blocks of a range, and yield ((split, None or group), PartsFile) as `shuffle_files.cut_block` does.

    Rejected examples and the style of the others are yielded as a JobTotals tagged TOTALS. Reading and cutting are one
    transform, because an engine keeps an element while the next one is made: blocks as elements would take twice the
    memory.
    """
    for block in block_range.read(job.target):
        images = block.examples.images.reshape(-1, job.target.height, job.target.width)
        style = count_style(images, block.conversions)
        counts = Counter((example.split, example.label) for example in block.rejected)
        totals = JobTotals((), block.rejected[: job.max_listed], tuple(counts.items()), style)
        yield beam.pvalue.TaggedOutput(TOTALS, totals)
        num_shards = job.num_shards[block.split]
        shards = shard_of(keys_of(job.skeleton.config.seed, block.split, block.examples.indices), num_shards)
        for group, file in shuffle_files.cut_block(job.scratch, block.examples, shards, num_shards):
            yield (block.split, group), file


def write_shards(job: PreprocessJob, key: tuple[str, int], files: list[PartsFile]) -> JobTotals:
    """Write a group of shards, one after the other. A repeated call writes the same bytes."""
    split, group = key
    first, stop = shuffle_files.group_edges(job.scratch, job.num_shards[split])[group : group + 2]
    rows = shuffle_files.read_rows(files, group)
    edges = np.searchsorted(rows[:, 1], np.arange(first, stop + 1)).tolist()
    shards = enumerate(pairwise(edges), first)
    infos = [write_shard(job, split, shard, files, rows[slice(*edge)]) for shard, edge in shards]
    return JobTotals(tuple(infos))


def write_shard(job: PreprocessJob, split: str, shard: int, files: list[PartsFile], rows: Integers) -> ShardInfo:
    """Sort a shard's examples and write its file; rows are those of its runs, as `shuffle_files.read_rows` has them."""
    num_pixels = job.skeleton.num_pixels
    name = shard_name(split, shard, job.num_shards[split])
    num_bytes = int(rows[:, 2].sum()) * num_pixels
    if num_bytes > MAX_SHARD_BYTES:
        raise BadInput(f"{name} would hold {num_bytes} bytes of pixels, at most {MAX_SHARD_BYTES}: raise --num-shards")
    examples = concatenate([shuffle_files.read_run(files, row, num_pixels) for row in rows], num_pixels)
    order = np.argsort(keys_of(job.skeleton.config.seed, split, examples.indices)).astype(np.int64)
    data, info = encode_shard(name, examples.take(order), len(job.skeleton.class_names))
    write_atomically(job.folder / name, data)
    return info


def add_totals(job: PreprocessJob, totals: Iterable[JobTotals]) -> JobTotals:
    """Add up totals."""
    parts = list(totals)
    shards = sorted((shard for part in parts for shard in part.shards), key=attrgetter("name"))
    rejected = sorted((example for part in parts for example in part.rejected), key=attrgetter("split", "index"))
    counts = Counter[tuple[str, int | None]]()
    for part in parts:
        counts.update(dict(part.rejected_counts))
    style = add_styles(part.style for part in parts)
    return JobTotals(tuple(shards), tuple(rejected[: job.max_listed]), tuple(counts.items()), style)


def write_manifest(totals: JobTotals, job: PreprocessJob) -> list[Manifest]:
    """Write the table of rejected examples and then the manifest, which makes the data set complete; return it, if any.

    If too many examples are rejected, no manifest is written and `check_outcome` raises the error in the driver: an
    error raised on a worker would arrive in the engine's words.
    """
    rejected = write_rejected(job.folder, totals.rejected) if totals.num_rejected else None
    if totals.num_rejected > job.max_rejected:
        return []
    results = {
        "splits": {
            split: summarize_shards(
                tuple(shard for shard in totals.shards if shard.name.startswith(f"{split}-")), job.skeleton.num_pixels
            )
            for split in job.num_shards
        },
        "num_rejected": totals.num_rejected,
        "rejected": rejected,
        "rejected_counts": count_rejected(dict(totals.rejected_counts), len(job.skeleton.class_names)),
    }
    style = totals.style.to_style(job.target.channel, job.target.resize)
    manifest = Manifest.model_validate(dict(job.skeleton) | results).with_style(style)
    check_files_exist(job.folder, [file.name for file in manifest.files()])
    commit_manifest(job.folder, manifest)
    return [manifest]


def _share_done(job: PreprocessJob, num_examples: int) -> float:
    """Return the progress, 0 to 1: half for cutting blocks and half for writing shards.

    Without scratch files on a shared disk, only the shards can be counted.
    """
    written = count_files(job.folder, ".tfrecord") / sum(job.num_shards.values())
    if not isinstance(job.scratch, Path):
        return written
    num_bytes = shuffle_files.bytes_of(num_examples, job.skeleton.num_pixels)
    return (min(1, num_bytes_written(job.scratch) / num_bytes) + written) / 2
