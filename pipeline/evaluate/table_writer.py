"""Count the predictions of shards and write the tables of an evaluation, which are published together at the end.

Workers write a file of the table `predictions` for each shard; the other tables follow from the merged counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.errors import BadInput
from pipeline.evaluate import metrics, slices
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, EvaluationRecord, SplitResult
from pipeline.evaluate.group_counts import GroupCounts, count_groups, merge_group_counts
from pipeline.evaluate.shard_predictions import EvaluationJob, ShardPredictions, load_network
from pipeline.evaluate.slice_config import describe_slicings, load_slicing
from pipeline.evaluate.weight_statistics import ActivationRange, merge_ranges, weight_rows
from pipeline.preprocess.manifest import ShardInfo
from pipeline.preprocess.shards import number_order
from pipeline.storage.files import check_files_exist, count_files
from pipeline.storage.places import Place
from pipeline.storage.records import commit_file
from pipeline.storage.tables import (
    ANSWERS_SCHEMA,
    EVALUATION_TABLES,
    SCHEMAS,
    TableFile,
    build_table,
    publish_tables,
    stage_table,
    staging_folder,
    transpose,
    write_table,
)
from pipeline.storage.workspace import table_partition

# By (slicing, split): the examples grouped by the slicing's keys, their value the loss.
SliceCounts: TypeAlias = Mapping[tuple[str, str], GroupCounts]


@dataclass(frozen=True)
class ShardResult:
    """Counts of one or more evaluated shards. Results can be merged in any order."""

    counts: tuple[metrics.SplitCounts, ...]  # one for each split
    slices: SliceCounts
    ranges: tuple[ActivationRange, ...]  # of each hidden layer
    files: tuple[TableFile, ...]  # of the table `predictions`


def write_predictions(predictions: ShardPredictions, job: EvaluationJob) -> ShardResult:
    """Write a shard's rows of the table `predictions` and count them."""
    split = predictions.shard.split
    examples = predictions.examples
    columns = _answer_columns(predictions, job) | {
        "split": [split] * len(examples.labels),
        "confidence": examples.confidence,
        "probabilities": as_list_array(examples.outputs),
    }
    file = _write(job, "predictions", predictions_file_name(predictions.shard.info), columns)
    counts = metrics.count_predictions(split, examples.indices, examples.labels, examples.outputs, predictions.losses)
    return ShardResult((counts,), count_slices(predictions, job), predictions.ranges, (file,))


def write_answers(predictions: ShardPredictions, job: EvaluationJob, dataset_digest: str, folder: Place) -> None:
    """Write a shard's rows of the table `answers` to a folder."""
    run = job.run
    columns = _answer_columns(predictions, job)
    table = build_table(columns, ANSWERS_SCHEMA, run.run_id, dataset_digest, run.parameters.sha256)
    write_table(folder / predictions_file_name(predictions.shard.info), table)


def _answer_columns(predictions: ShardPredictions, job: EvaluationJob) -> dict[str, Any]:
    examples = predictions.examples
    return {
        "part": [job.manifest.id_of(predictions.shard.info)] * len(examples.labels),
        "index": examples.indices,
        "label": examples.labels,
        "predicted": examples.predicted,
    }


def predictions_file_name(shard: ShardInfo) -> str:
    """Return the name of the Parquet file with the predictions of a shard."""
    part = "" if shard.part is None else f"part-{shard.part:05d}-"  # shards of different parts have equal names
    return part + Path(shard.name).with_suffix(".parquet").name


def count_slices(predictions: ShardPredictions, job: EvaluationJob) -> SliceCounts:
    """Count a shard's examples by each slicing; raises BadInput if a user's slicing fails."""
    examples = predictions.examples
    examples.images.flags.writeable = False  # a user's slicing must not change what the next slicing gets
    correct = examples.predicted == examples.labels
    counted = {}
    for name, place in describe_slicings(job.slicings).items():
        keys = slices.compute_keys(f"{name} ({place})", load_slicing(name, job.slicings[name]), examples)
        counted[name, predictions.shard.split] = count_groups(keys, correct, predictions.losses)
    return counted


def merge_results(results: Iterable[ShardResult], job: EvaluationJob) -> ShardResult:
    """Merge results of shards; raises BadInput if a user's slicing has too many keys."""
    parts = list(results)
    counts = metrics.merge_counts(chain.from_iterable(part.counts for part in parts))
    ranges = merge_ranges(part.ranges for part in parts if part.ranges)
    files = sorted(chain.from_iterable(part.files for part in parts), key=lambda file: number_order(file.name))
    return ShardResult(tuple(counts.values()), merge_slices([part.slices for part in parts], job), ranges, tuple(files))


def merge_slices(parts: Iterable[SliceCounts], job: EvaluationJob) -> SliceCounts:
    """Merge counts of slices; raises BadInput if a user's slicing has too many keys."""
    groups = defaultdict[tuple[str, str], list[GroupCounts]](list)
    for part in parts:
        for key, counts in part.items():
            groups[key].append(counts)
    merged = {key: merge_group_counts(counts) for key, counts in groups.items()}
    for (name, _), counts in merged.items():
        # built-in slicings may exceed the limit: a data set may have thousands of classes
        if len(counts.keys) > slices.MOST_KEYS and name not in slices.SLICINGS:
            raise BadInput(
                f"slicing {name} ({describe_slicings(job.slicings)[name]}) gives {len(counts.keys):,} different keys "
                f"or more, expected at most {slices.MOST_KEYS:,}: put examples together"
            )
    return merged


def write_tables(result: ShardResult, job: EvaluationJob) -> EvaluationRecord:
    """Write the tables of the merged counts, publish all, then write and return the record, which completes them."""
    rows = table_rows(result, job)
    files = [
        _write(job, table, f"{table}.parquet", transpose(rows[table]))
        for table in EVALUATION_TABLES  # in the order of publication: in a store, writing a file publishes it
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
    return record


def _check_predictions(result: ShardResult, job: EvaluationJob) -> None:
    """Check that the files of workers still exist; they are published already if an engine repeats the bundle."""
    published = job.workspace / table_partition("predictions", job.run.run_id)
    folder = published if count_files(published) else staging_folder(job.workspace, "predictions", job.run.run_id)
    check_files_exist(folder, [file.name for file in result.files])


def table_rows(result: ShardResult, job: EvaluationJob) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every table but `predictions`."""
    class_names = job.manifest.class_names
    splits = result.counts
    return {
        "evaluations": [metrics.evaluation_row(counts, class_names) for counts in splits],
        "classes": [row for counts in splits for row in metrics.class_rows(counts, class_names)],
        "confusion": [row for counts in splits for row in metrics.confusion_rows(counts)],
        "slices": [row for name in job.slicings for row in _slicing_rows(name, result, job)],
        "calibration": [row for counts in splits for row in metrics.calibration_rows(counts.split, counts.calibration)],
        "weights": list(weight_rows(load_network(job).layers, result.ranges)),
    }


def _slicing_rows(name: str, result: ShardResult, job: EvaluationJob) -> Iterable[dict[str, Any]]:
    by_split = {counts.split: result.slices[name, counts.split] for counts in result.counts}
    return slices.slice_rows(name, load_slicing(name, job.slicings[name]), by_split, job.names)


def _write(job: EvaluationJob, table: str, name: str, columns: dict[str, Any]) -> TableFile:
    run = job.run
    rows = build_table(columns, SCHEMAS[table], run.run_id, run.dataset_digest, run.parameters.sha256)
    return stage_table(job.workspace, table, run.run_id, name, rows)


def as_list_array(values: npt.NDArray[np.float32]) -> pa.Array:
    """Return float32[n, c] as an Arrow array of n lists.

    Arrow's offsets are of 32 bits: `check_table_sizes` keeps n * c below 2**31.
    """
    offsets = np.arange(0, values.size + 1, values.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values.reshape(-1)))
