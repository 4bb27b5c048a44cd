"""The Beam pipeline from shards and a model to Parquet tables: predictions of each shard, counts, tables last.

    shards -> predictions -> counts -> tables -> record
    test shards -> predictions -> answers

The second is for a data set that the model was not trained on. Elements are whole shards. The tables of an evaluation
are written where no reader looks, and put in place when all are there: see `tables.files.publish`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from model.checkpoint import decode_parameters
from model.errors import EngineFailed
from model.examples import Bytes, Integers
from model.network import Parameters, forward, scale
from model.training import network_of
from pipeline.beam_runner import run_pipeline
from pipeline.code_version import SameCode
from pipeline.evaluate import metrics
from pipeline.evaluate.calibration import calibration_rows
from pipeline.evaluate.group_counts import GroupCounts, count_groups, merge_group_counts
from pipeline.evaluate.records import EVALUATION_NAME, EvaluationRecord, SplitResult, check_evaluation
from pipeline.evaluate.slice_config import Slicings, describe_slicings, load_slicing
from pipeline.evaluate.slices import SLICINGS, Answered, Names, check_few, keys_of, slice_rows
from pipeline.evaluate.weight_statistics import ActivationRange, merge_ranges, weight_rows
from pipeline.preprocess.manifest import Manifest, ShardInfo
from pipeline.preprocess.shards import number_order, read_shard
from pipeline.progress import show_progress
from pipeline.storage.commit import commit_file
from pipeline.storage.files import check_files_exist, count_files
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo
from pipeline.storage.tables import (
    ANSWERS_SCHEMA,
    EVALUATION_TABLES,
    SCHEMAS,
    TableFile,
    check_rows,
    origin_columns,
    publish_tables,
    replace_tables,
    staging_folder,
    write_table,
)
from pipeline.storage.workspace import poll_interval, table_partition
from pipeline.train.run_record import RunRecord


@dataclass(frozen=True)
class EvaluationJob:
    """All that a worker needs to know."""

    workspace: Place
    dataset: Place
    manifest: Manifest
    run: RunRecord
    slicings: Slicings

    @property
    def run_folder(self) -> Place:
        """The run's folder."""
        return self.workspace / "runs" / self.run.run_id

    @property
    def names(self) -> Names:
        """What classes and parts are called."""
        parts = tuple(part.dataset_id for part in self.manifest.parts)
        return Names(self.manifest.class_names, parts or (self.manifest.dataset_id,))


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
        images: uint8[n, height * width].
        labels: int64[n].
        outputs: float32[n, classes].
        losses: float32[n].
        ranges: of each hidden layer, over these examples.
    """

    shard: Shard
    index: Integers
    images: Bytes
    labels: Integers
    outputs: npt.NDArray[np.float32]
    losses: npt.NDArray[np.float32]
    ranges: tuple[ActivationRange, ...]


@dataclass(frozen=True)
class ShardResult:
    """What is known of the shards evaluated so far. Results add up in any order.

    Attributes:
        counts: one for each split.
        slices: by (slicing, split), the examples by key, their value the loss.
        ranges: of each hidden layer.
        files: of the table `predictions`.
    """

    counts: tuple[metrics.SplitCounts, ...]
    slices: Mapping[tuple[str, str], GroupCounts]
    ranges: tuple[ActivationRange, ...]
    files: tuple[TableFile, ...]


def evaluate(
    workspace: Place,
    dataset: Place,
    manifest: Manifest,
    run: RunRecord,
    beam_arguments: list[str],
    slicings: Slicings = SLICINGS,
) -> EvaluationRecord:
    """Evaluate a run's model on every split of a data set and write the tables, then the record.

    Raises:
        BadInput: a slicing does not give what it should, or a table would be larger than what is read back.
        CorruptArtefact: a shard or the model is not as its record says.
        EngineFailed: the engine gave up.
    """
    job = EvaluationJob(workspace, dataset, manifest, run, slicings)
    record = job.run_folder / EVALUATION_NAME
    _check_sizes(manifest)
    shards = list_shards(manifest)
    total, look = sum(each.info.num_examples for each in shards), partial(_share_done, job, len(shards))
    with (
        replace_tables(workspace, run.run_id, EVALUATION_TABLES, record),
        show_progress("evaluate", total, "examples", look, poll_interval(workspace)),
    ):
        run_pipeline(beam, PipelineOptions, beam_arguments, partial(construct, job=job))
        if not record.exists():  # before it is said to be done
            raise EngineFailed(f"the engine reports success but wrote no {record.name} to {job.run_folder}")
    return check_evaluation(workspace, run)


def answer_test_split(job: EvaluationJob, dataset_digest: str, folder: Place, beam_arguments: list[str]) -> list[str]:
    """Predict the test split of a data set and write the table `answers`, a file for each shard, to a folder.

    Args:
        job: the model, and a data set of the same image size and classes as the model's own.
        dataset_digest: SHA-256 of the data set's manifest.
        folder: where the files go.
        beam_arguments: options for Beam.

    Returns:
        the sorted names of the files; raises EngineFailed if the engine gave up, or did not write every file.
    """
    shards = [shard for shard in list_shards(job.manifest) if shard.split == "test"]
    write = SameCode(write_answers, job=job, dataset_digest=dataset_digest, folder=folder)

    def construct(pipeline: beam.Pipeline) -> None:
        _predict(pipeline, shards, job) | "WriteAnswers" >> beam.Map(write)

    run_pipeline(beam, PipelineOptions, beam_arguments, construct)
    names = sorted(_file_name(shard.info) for shard in shards)
    check_files_exist(folder, names)
    return names


def construct(pipeline: beam.Pipeline, job: EvaluationJob) -> None:
    """Apply the transforms of an evaluation."""
    (
        _predict(pipeline, list_shards(job.manifest), job)
        | "WritePredictions" >> beam.Map(SameCode(write_predictions, job=job))  # Result
        | "Merge" >> beam.CombineGlobally(SameCode(merge, job=job))
        | "WriteTables" >> beam.Map(SameCode(write_tables, job=job))
    )


def _predict(pipeline: beam.Pipeline, shards: list[Shard], job: EvaluationJob) -> beam.PCollection[Predictions]:
    predict = SameCode(predict_shard, job=job)
    return pipeline | "Shards" >> beam.Create(shards) | beam.Reshuffle() | "Predict" >> beam.Map(predict)


def list_shards(manifest: Manifest) -> list[Shard]:
    """List every shard that has examples."""
    pairs = ((name, shard) for name, split in manifest.splits.items() for shard in split.shards)
    return [Shard(name, shard) for name, shard in pairs if shard.num_examples]


def _check_sizes(manifest: Manifest) -> None:
    """Check that the longest tables can hold their rows, before anything is worked out; raises BadInput."""
    num_classes, num_splits = len(manifest.class_names), len(manifest.splits)
    check_rows(num_splits * num_classes**2, 0, "confusion", f"{num_classes} classes are too many to evaluate")
    for shard in list_shards(manifest):
        place = f"predictions of {manifest.id_of(shard.info)}/{shard.info.name}"
        check_rows(shard.info.num_examples, 4 * num_classes, place, "preprocess again with a larger --num-shards")


def predict_shard(shard: Shard, job: EvaluationJob) -> Predictions:
    """Read a shard, checked, and run the network on it."""
    examples = read_shard(job.dataset, job.manifest, shard.split, shard.info)
    examples = examples.take(np.argsort(examples.indices).astype(np.int64))
    network = network_of(job.run.config)
    parameters = _load(job.run_folder, job.run.parameters, job.run.config.layers)
    (_, *hidden), z = forward(network, parameters, scale(examples.images))
    targets = np.eye(len(job.manifest.class_names), dtype=np.float32)[examples.labels]
    outputs, losses = network.output.value(z), network.output.loss(z, targets)
    ranges = tuple(ActivationRange(tf.reduce_min(a, axis=0).numpy(), tf.reduce_max(a, axis=0).numpy()) for a in hidden)
    return Predictions(shard, *examples, outputs.numpy(), losses.numpy(), ranges)


def write_predictions(predictions: Predictions, job: EvaluationJob) -> ShardResult:
    """Write a shard's rows of the table `predictions` and count them."""
    split, shard = predictions.shard.split, predictions.shard.info
    predicted = predictions.outputs.argmax(axis=1)
    columns = {
        "split": [split] * len(predicted),
        "part": [job.manifest.id_of(shard)] * len(predicted),
        "index": predictions.index,
        "label": predictions.labels,
        "predicted": predicted,
        "confidence": predictions.outputs.max(axis=1),
        "probabilities": _as_lists(predictions.outputs),
    }
    file = _write(job, "predictions", _file_name(shard), columns, len(predicted))
    counts = metrics.count(split, predictions.index, predictions.labels, predictions.outputs, predictions.losses)
    return ShardResult((counts,), count_slices(predictions, job), predictions.ranges, (file,))


def write_answers(predictions: Predictions, job: EvaluationJob, dataset_digest: str, folder: Place) -> None:
    """Write a shard's rows of the table `answers`."""
    shard = predictions.shard.info
    columns = {
        "part": [job.manifest.id_of(shard)] * len(predictions.index),
        "index": predictions.index,
        "label": predictions.labels,
        "predicted": predictions.outputs.argmax(axis=1),
    }
    origin = origin_columns(len(predictions.index), job.run.run_id, dataset_digest, job.run.parameters.sha256)
    write_table(folder / _file_name(shard), pa.table(origin | columns, schema=ANSWERS_SCHEMA))


def _file_name(shard: ShardInfo) -> str:
    part = "" if shard.part is None else f"part-{shard.part:05d}-"  # parts have shards of the same names
    return part + Path(shard.name).with_suffix(".parquet").name


def count_slices(predictions: Predictions, job: EvaluationJob) -> dict[tuple[str, str], GroupCounts]:
    """Count a shard's examples by each slicing."""
    shape = (job.manifest.height, job.manifest.width)
    images = predictions.images.reshape(-1, *shape)
    images.flags.writeable = False
    about = (images, predictions.labels, predictions.index, predictions.outputs, predictions.shard.info.part or 0)
    answered, places = Answered(*about), describe_slicings(job.slicings)
    correct = answered.predicted == answered.labels
    return {
        (name, predictions.shard.split): count_groups(
            keys_of(name, places[name], load_slicing(name, slicing), answered), correct, predictions.losses
        )
        for name, slicing in job.slicings.items()
    }


def merge(results: Iterable[ShardResult], job: EvaluationJob) -> ShardResult:
    """Add up results; raises BadInput if a slicing has too many keys."""
    parts, places = list(results), describe_slicings(job.slicings)
    counts = metrics.merge_counts(chain.from_iterable(part.counts for part in parts))
    files = sorted(chain.from_iterable(part.files for part in parts), key=lambda file: number_order(file.name))
    counted: dict[tuple[str, str], list[GroupCounts]] = {}
    for part in parts:
        for key, each in part.slices.items():
            counted.setdefault(key, []).append(each)
    slices = {(name, split): merge_group_counts(each) for (name, split), each in counted.items()}
    for (name, _), each in slices.items():
        if name not in SLICINGS:  # of ours, each cuts by what a data set has: as many classes, as many slices
            check_few(name, places[name], each)
    ranges = merge_ranges(part.ranges for part in parts if part.ranges)
    return ShardResult(tuple(counts.values()), slices, ranges, tuple(files))


def write_tables(result: ShardResult, job: EvaluationJob) -> None:
    """Write the tables of all counts and put all tables in place, then write the record: the evaluation is complete."""
    rows = table_rows(result, job)
    files = [
        _write(job, table, f"{table}.parquet", _columns(rows[table]), len(rows[table]))
        for table in EVALUATION_TABLES  # in this order, since in a store nothing is put in place later
        if table in rows
    ]
    _check_predictions(result, job)
    publish_tables(job.workspace, job.run.run_id, EVALUATION_TABLES)
    record = EvaluationRecord(
        run_id=job.run.run_id,
        dataset_digest=job.run.dataset_digest,
        model_digest=job.run.parameters.sha256,
        results=tuple(SplitResult(**row) for row in rows["evaluations"]),
        slicings=describe_slicings(job.slicings),
        tables=(*files, *result.files),
    )
    commit_file(job.run_folder / EVALUATION_NAME, record.to_json())


def _check_predictions(result: ShardResult, job: EvaluationJob) -> None:
    """Check that what workers wrote is still there; where this was done before, it is in place already."""
    place = job.workspace / table_partition("predictions", job.run.run_id)
    folder = place if count_files(place) else staging_folder(job.workspace, "predictions", job.run.run_id)
    check_files_exist(folder, [file.name for file in result.files])


def table_rows(result: ShardResult, job: EvaluationJob) -> dict[str, list[dict[str, Any]]]:
    """Work out the rows of every table but `predictions`."""
    class_names, counts = job.manifest.class_names, result.counts
    by_slicing = {name: {each.split: result.slices[name, each.split] for each in counts} for name in job.slicings}
    sliced = (
        slice_rows(name, load_slicing(name, job.slicings[name]), by_slicing[name], job.names) for name in job.slicings
    )
    parameters = _load(job.run_folder, job.run.parameters, job.run.config.layers)
    return {
        "evaluations": [metrics.evaluation_row(each, class_names) for each in counts],
        "classes": [row for each in counts for row in metrics.class_rows(each, class_names)],
        "confusion": [row for each in counts for row in metrics.confusion_rows(each)],
        "slices": list(chain.from_iterable(sliced)),
        "calibration": [row for each in counts for row in calibration_rows(each.split, each.calibration)],
        "weights": list(weight_rows(parameters, result.ranges)),
    }


def _write(job: EvaluationJob, table: str, name: str, columns: dict[str, Any], num_rows: int) -> TableFile:
    run = job.run
    origin = origin_columns(num_rows, run.run_id, run.dataset_digest, run.parameters.sha256)
    path = staging_folder(job.workspace, table, run.run_id) / name
    file = write_table(path, pa.table(origin | columns, schema=SCHEMAS[table]))
    return TableFile(table=table, **file.model_dump())


def _share_done(job: EvaluationJob, num_shards: int) -> float:
    """Look how far the work has come."""
    folder = staging_folder(job.workspace, "predictions", job.run.run_id)
    return count_files(folder, ".parquet") / max(1, num_shards)


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _as_lists(values: npt.NDArray[np.float32]) -> pa.Array:
    """Return float32[n, c] as a column of n lists; `_check_sizes` keeps n * c below 2**31, where offsets end."""
    edges = np.arange(0, values.size + 1, values.shape[1])
    return pa.ListArray.from_arrays(pa.array(edges, pa.int32()), pa.array(values.reshape(-1)))


@cache  # once a worker process
def _load(folder: Place, file: FileInfo, sizes: tuple[int, ...]) -> Parameters:
    return decode_parameters(file.read(folder), str(folder / file.name), sizes)
