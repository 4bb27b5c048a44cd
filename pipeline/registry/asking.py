"""The Beam pipeline that asks a run's model about the test split of a data set; see `contest`."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from model.devices import initialise_devices
from model.errors import EngineFailed
from pipeline import evaluate, runners, storage
from pipeline.commits import commit
from pipeline.evaluate import Shard
from pipeline.local_side import temporary_files_in
from pipeline.lookup import Dataset
from pipeline.manifest import FileInfo
from pipeline.places import Place
from pipeline.registry.contest import CONTEST_NAME, ContestRecord
from pipeline.runs import RunRecord
from pipeline.shards import number_order
from pipeline.tables.files import ANSWERS_SCHEMA, origin_columns, write_table
from pipeline.tables.slices import SLICINGS
from pipeline.work import Settings


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know.

    Attributes:
        asked: what is evaluated: the run's model on the data set.
        dataset_digest: SHA-256 of the data set's manifest.
        folder: where answers go.
    """

    asked: evaluate.Job
    dataset_digest: str
    folder: Place


def ask(settings: Settings, dataset: Dataset, run: RunRecord, folder: Place) -> None:
    """Ask a run's model about a data set's test split, and write its answers, then the record.

    Raises:
        CorruptArtefact: a shard or the model is not as its record says.
        EngineFailed: the engine gave up.
    """
    initialise_devices(settings.device)
    job = Job(evaluate.Job(settings.workspace, dataset.folder, dataset.manifest, run, SLICINGS), dataset.digest, folder)
    storage.make_empty(folder)
    with (
        temporary_files_in(settings.workspace),
        runners.messages_in(settings.engine_log),
        storage.removed_on_failure(folder, record=folder / CONTEST_NAME),
    ):
        runners.execute(beam, PipelineOptions, list(settings.beam_arguments), partial(construct, job=job))
        if not (folder / CONTEST_NAME).exists():
            raise EngineFailed(f"the engine reports success but wrote no {CONTEST_NAME} to {folder}")


def construct(pipeline: beam.Pipeline, job: Job) -> None:
    """Apply the job's transforms."""
    shards = [shard for shard in evaluate.list_shards(job.asked.manifest) if shard.split == "test"]
    (
        pipeline
        | "TestShards" >> beam.Create(shards)
        | beam.Reshuffle()
        | "Ask" >> beam.Map(write_answers, job)  # FileInfo, number of examples
        | "Collect" >> beam.combiners.ToList()
        | "WriteContest" >> beam.Map(write_contest, job)
    )


def write_answers(shard: Shard, job: Job) -> tuple[FileInfo, int]:
    """Ask the model about a shard and write its answers."""
    found, run = evaluate.predict_shard(shard, job.asked), job.asked.run
    columns = {
        "part": [job.asked.manifest.id_of(shard.info)] * len(found.index),
        "index": found.index,
        "label": found.labels,
        "predicted": found.outputs.argmax(axis=1),
    }
    origin = origin_columns(len(found.index), run.run_id, job.dataset_digest, run.parameters.sha256)
    part = "" if shard.info.part is None else f"part-{shard.info.part:05d}-"
    path = job.folder / f"{part}{Path(shard.info.name).with_suffix('.parquet').name}"
    return write_table(path, pa.table(origin | columns, schema=ANSWERS_SCHEMA)), len(found.index)


def write_contest(written: Iterable[tuple[FileInfo, int]], job: Job) -> None:
    """Write the record: the answers are complete."""
    files = sorted(written, key=lambda each: number_order(each[0].name))
    storage.check_there(job.folder, [file.name for file, _ in files])
    record = ContestRecord(
        run_id=job.asked.run.run_id,
        model_digest=job.asked.run.parameters.sha256,
        dataset_id=job.asked.manifest.dataset_id,
        dataset_digest=job.dataset_digest,
        num_examples=sum(number for _, number in files),
        files=tuple(file for file, _ in files),
    )
    commit(job.folder / CONTEST_NAME, record.to_json())
