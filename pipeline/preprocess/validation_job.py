"""The Beam pipeline that reads the shards for a validation: shards -> keys by bucket -> flagged examples.

It gives what `validation.flag_examples` does in one process. Keys of equal images are in the same bucket. Workers
exchange keys through scratch files, and the engine shuffles only their paths: see `scratch_parts`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.beam_runner import run_pipeline, runs_locally
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.duplicate_images import KEY_ROW, choose_bits, split_rows
from pipeline.preprocess.gather_parts import GatherParts, PartKey
from pipeline.preprocess.manifest import Manifest, ShardInfo
from pipeline.preprocess.scratch_parts import PartsFile, carry_part, read_part, write_parts
from pipeline.preprocess.validation import check_shard
from pipeline.preprocess.validation_checks import Flagged, FlaggedExamples, add_flagged, flag_duplicates
from pipeline.processes import SameCode
from pipeline.sources.scan_tasks import cut_evenly
from pipeline.storage.files import make_empty_folder, remove_afterwards
from pipeline.storage.job_result import read_result, write_result
from pipeline.storage.places import Place
from pipeline.storage.workspace import scratch_folder_of

KEYS = "keys"  # tags of the outputs of `check_shards`
FLAGGED = "flagged"
MAX_BITS = 16  # buckets have 2**18 rows up to 17 billion examples
MAX_TASKS = 2048  # each writes a file, of which a worker reads a part for each bucket

Task: TypeAlias = tuple[tuple[str, ShardInfo], ...]  # the splits and the records of neighbouring shards


@dataclass(frozen=True)
class ValidationJob:
    """Everything that a worker needs: the data set, its manifest without shards, and the folder of temporary files."""

    folder: Place
    manifest: Manifest
    scratch: Place
    bits: int  # of a key, which choose its bucket


def flag_by_workers(dataset: Dataset, beam_arguments: list[str]) -> Flagged:
    """Return what `validation.flag_examples` does; raises as that, and as `run_pipeline`. Nothing else is left."""
    scratch = scratch_folder_of(dataset.folder, runs_locally(beam_arguments))
    num_examples = sum(split.num_examples for split in dataset.manifest.splits.values())
    bits = choose_bits(num_examples, MAX_BITS)
    job = ValidationJob(dataset.folder, dataset.manifest.without_shards(), scratch, bits)
    tasks = divide_shards(dataset.manifest)
    make_empty_folder(scratch)
    with remove_afterwards(scratch):
        run_pipeline(beam, PipelineOptions, beam_arguments, partial(build_pipeline, job=job, tasks=tasks))
        result = read_result(scratch)
    return {(check, split): FlaggedExamples(count, tuple(map(tuple, first))) for check, split, count, first in result}


def divide_shards(manifest: Manifest) -> list[Task]:
    """Return all shards as tasks of equally many, at most MAX_TASKS."""
    shards = [(name, shard) for name, split in manifest.splits.items() for shard in split.shards]
    return [tuple(each) for each in cut_evenly(shards, MAX_TASKS)]


def build_pipeline(pipeline: beam.Pipeline, job: ValidationJob, tasks: list[Task]) -> beam.PCollection:
    """Apply the job's transforms."""
    outputs = (
        pipeline
        | "Shards" >> beam.Create(tasks)
        | beam.Reshuffle()  # without it, engines fuse Create with CheckShards and one worker reads everything
        | "CheckShards" >> beam.FlatMap(SameCode(check_shards, job=job)).with_outputs(FLAGGED, main=KEYS)
    )
    of_shards = outputs[FLAGGED] | "AddShards" >> beam.CombineGlobally(SameCode(add_flagged))
    of_buckets = (
        outputs[KEYS]  # PartKey, PartsFile
        | GatherParts({"": 2**job.bits}, job.scratch)  # ("", bucket), [PartsFile]
        | "CompareBucket" >> beam.MapTuple(SameCode(compare_bucket, job))  # Flagged
        | "AddBuckets" >> beam.CombineGlobally(SameCode(add_flagged))
    )
    return (
        (of_shards, of_buckets)  # Flagged
        | "Flagged" >> beam.Flatten()
        | "Add" >> beam.CombineGlobally(SameCode(add_flagged))
        | "WriteResult" >> beam.Map(SameCode(write_flagged, job=job))
    )


def check_shards(task: Task, job: ValidationJob) -> Iterator[Any]:
    """Check shards, write the keys of their examples to a scratch file with a part for each bucket, and yield it.

    If the scratch folder is in a store, yield the keys of each bucket instead. What is flagged is tagged FLAGGED.
    Raises CorruptArtefact if a shard does not match its record.
    """
    checked = [check_shard(job.folder, job.manifest, split, shard) for split, shard in task]
    yield beam.pvalue.TaggedOutput(FLAGGED, add_flagged(each.flagged for each in checked))
    rows = np.concatenate([each.rows for each in checked])
    yield from _part_rows(job, (chosen.tobytes() for chosen in split_rows(rows, job.bits)))


def _part_rows(job: ValidationJob, parts: Iterable[bytes]) -> Iterator[tuple[PartKey, PartsFile]]:
    if isinstance(job.scratch, Path):
        yield ("", None), write_parts(job.scratch, parts)
    else:
        yield from ((("", bucket), carry_part([part])) for bucket, part in enumerate(parts) if part)


def compare_bucket(job: ValidationJob, key: tuple[str, int], files: list[PartsFile]) -> Flagged:
    """Find the equal images of a bucket; raises CorruptArtefact if a scratch file was damaged."""
    rows = np.frombuffer(b"".join(read_part(file, key[1]) for file in files), KEY_ROW)
    return flag_duplicates(rows, list(job.manifest.splits))


def write_flagged(flagged: Flagged, job: ValidationJob) -> None:
    """Write the result of the job."""
    write_result(job.scratch, [(*key, *examples) for key, examples in sorted(flagged.items())])
