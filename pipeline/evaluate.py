"""The Beam pipeline from shards and a model to Parquet tables: predictions of each shard, counts, tables last.

    shards -> predictions -> counts -> tables -> record

Elements are whole shards. The functions below know nothing of Beam; `construct` puts them in order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from model.checkpoint import decode_parameters
from model.errors import EngineFailed
from model.examples import Integers
from model.network import Parameters, forward, scale
from model.training import network_of
from pipeline import metrics, runners, runs, storage
from pipeline.manifest import FileInfo, Manifest, ShardInfo
from pipeline.places import Place
from pipeline.runs import EvaluationRecord, RunRecord, SplitResult, TableFile
from pipeline.shards import read_shard
from pipeline.tables import SCHEMAS, origin_columns, partition, write_table

EVALUATION_TABLES = ("evaluations", "classes", "confusion", "predictions")


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know."""

    workspace: Place
    dataset: Place
    manifest: Manifest
    run: RunRecord

    @property
    def run_folder(self) -> Place:
        """The run's folder."""
        return self.workspace / "runs" / self.run.run_id


@dataclass(frozen=True)
class Shard:
    """A shard to evaluate."""

    split: str
    info: ShardInfo


@dataclass(frozen=True)
class Predictions:
    """What the network answers to a shard's examples, sorted by their position in the source.

    Attributes:
        shard: the shard.
        index: int64[n].
        labels: int64[n].
        outputs: float32[n, classes].
        losses: float32[n].
    """

    shard: Shard
    index: Integers
    labels: Integers
    outputs: npt.NDArray[np.float32]
    losses: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """What is known of the shards evaluated so far. Results add up in any order."""

    counts: tuple[metrics.Counts, ...] = ()
    files: tuple[TableFile, ...] = ()


def evaluate(
    workspace: Place, dataset: Place, manifest: Manifest, run: RunRecord, beam_arguments: list[str]
) -> EvaluationRecord:
    """Evaluate a run's model on every split of a data set and write the tables, then the record.

    Raises:
        CorruptArtefact: a shard or the model is not as its record says.
        EngineFailed: the engine gave up.
    """
    job = Job(workspace, dataset, manifest, run)
    folders = [workspace / partition(table, run.run_id) for table in EVALUATION_TABLES]
    record = job.run_folder / runs.EVALUATION_NAME
    with storage.removed_on_failure(*folders, record=record):  # readers of the tables know nothing of the record
        runners.execute(beam, PipelineOptions, beam_arguments, partial(construct, job=job))
        if not (job.run_folder / runs.EVALUATION_NAME).exists():
            raise EngineFailed(f"the engine reports success but wrote no {runs.EVALUATION_NAME} to {job.run_folder}")
    return runs.check_evaluation(workspace, run)


def construct(pipeline: beam.Pipeline, job: Job) -> None:
    """Apply the job's transforms."""
    (
        pipeline
        | "Shards" >> beam.Create(list_shards(job.manifest))
        | beam.Reshuffle()
        | "Predict" >> beam.Map(predict_shard, job)  # Predictions
        | "WritePredictions" >> beam.Map(write_predictions, job)  # Result
        | beam.CombineGlobally(merge)
        | "WriteTables" >> beam.Map(write_tables, job)
    )


def list_shards(manifest: Manifest) -> list[Shard]:
    """List every shard that has examples."""
    pairs = ((name, shard) for name, split in manifest.splits.items() for shard in split.shards)
    return [Shard(name, shard) for name, shard in pairs if shard.num_examples]


def predict_shard(shard: Shard, job: Job) -> Predictions:
    """Read a shard, checked, and run the network on it."""
    examples = read_shard(job.dataset, job.manifest, shard.split, shard.info)
    examples = examples.take(np.argsort(examples.indices).astype(np.int64))
    network, parameters = network_of(job.run.config), _load(job.run_folder, job.run.parameters)
    _, z = forward(network, parameters, scale(examples.images))
    targets = np.eye(len(job.manifest.class_names), dtype=np.float32)[examples.labels]
    outputs, losses = network.output.value(z), network.output.loss(z, targets)
    return Predictions(shard, examples.indices, examples.labels, outputs.numpy(), losses.numpy())


def write_predictions(predictions: Predictions, job: Job) -> Result:
    """Write a shard's rows of the table `predictions` and count them."""
    shard, num_classes = predictions.shard.info, len(job.manifest.class_names)
    split = predictions.shard.split
    predicted = predictions.outputs.argmax(axis=1).astype(np.int64)
    columns = {
        "split": [split] * len(predicted),
        "part": [job.manifest.id_of(shard)] * len(predicted),
        "index": predictions.index,
        "label": predictions.labels,
        "predicted": predicted,
        "confidence": predictions.outputs.max(axis=1),
        "probabilities": _as_lists(predictions.outputs),
    }
    part = "" if shard.part is None else f"part-{shard.part:05d}-"  # parts have shards of the same names
    name = part + Path(shard.name).with_suffix(".parquet").name
    file = _write(job, "predictions", name, columns, len(predicted))
    counts = metrics.count(split, predictions.index, predictions.labels, predicted, predictions.losses, num_classes)
    return Result((counts,), (file,))


def merge(results: Iterable[Result]) -> Result:
    """Add up results."""
    parts = list(results)
    counts = metrics.merge_counts(chain.from_iterable(part.counts for part in parts))
    files = sorted(chain.from_iterable(part.files for part in parts), key=lambda file: file.name)
    return Result(tuple(counts.values()), tuple(files))


def write_tables(result: Result, job: Job) -> None:
    """Write the tables of all counts, then the record: the evaluation is complete."""
    rows = {
        "evaluations": [metrics.evaluation_row(counts, job.manifest.class_names) for counts in result.counts],
        "classes": [row for counts in result.counts for row in metrics.class_rows(counts, job.manifest.class_names)],
        "confusion": [row for counts in result.counts for row in metrics.confusion_rows(counts)],
    }
    files = [_write(job, table, f"{table}.parquet", _columns(found), len(found)) for table, found in rows.items()]
    record = EvaluationRecord(
        run_id=job.run.run_id,
        dataset_digest=job.run.dataset_digest,
        model_digest=job.run.parameters.sha256,
        results=tuple(SplitResult(**row) for row in rows["evaluations"]),
        tables=(*files, *result.files),
    )
    runs.write_record(job.run_folder, runs.EVALUATION_NAME, record)


def _write(job: Job, table: str, name: str, columns: dict[str, Any], num_rows: int) -> TableFile:
    run = job.run
    origin = origin_columns(num_rows, run.run_id, run.dataset_digest, run.parameters.sha256)
    path = job.workspace / partition(table, run.run_id) / name
    file = write_table(path, pa.table(origin | columns, schema=SCHEMAS[table]))
    return TableFile(table=table, **file.model_dump())


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _as_lists(values: npt.NDArray[np.float32]) -> pa.Array:
    """Return float32[n, c] as a column of n lists."""
    edges = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(edges), pa.array(values.reshape(-1)))


@cache  # once a worker process
def _load(folder: Place, file: FileInfo) -> Parameters:
    return decode_parameters(file.read(folder), str(folder / file.name))
