"""The Beam pipelines, of which the second is for decisions about a challenger. Elements are whole shards.

shards -> predictions -> counts -> tables -> record; test shards -> predictions -> answers
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import EngineFailed
from pipeline.beam_runner import run_pipeline
from pipeline.evaluate import table_writer
from pipeline.evaluate.added_slices import add_slices
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, EvaluationRecord, load_evaluation
from pipeline.evaluate.shard_predictions import EvaluationJob, Shard, ShardPredictions, list_shards, predict_shard
from pipeline.evaluate.slice_config import Slicings
from pipeline.evaluate.slices import SLICINGS
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.shards import number_order
from pipeline.processes import SameCode
from pipeline.progress import show_progress
from pipeline.storage.files import check_files_exist, count_files
from pipeline.storage.places import Place
from pipeline.storage.tables import EVALUATION_TABLES, replace_tables, staging_folder
from pipeline.storage.workspace import poll_interval
from pipeline.train.run_record import RunRecord


def evaluate(
    workspace: Place,
    dataset: Place,
    manifest: Manifest,
    run: RunRecord,
    beam_arguments: list[str],
    slicings: Slicings = SLICINGS,
) -> EvaluationRecord:
    """Evaluate a run's model on every split of a data set: write the tables, then the record, and return it.

    Raises BadInput if a user's slicing fails, CorruptArtefact if a shard or the model does not match its record, and
    EngineFailed.
    """
    job = EvaluationJob(workspace, dataset, manifest.without_shards(), run, slicings)
    shards = list_shards(manifest)
    num_examples = sum(shard.info.num_examples for shard in shards)
    staged = staging_folder(workspace, "predictions", run.run_id)
    with (
        open_job(job),
        show_progress(
            "evaluate",
            num_examples,
            "examples",
            lambda: count_files(staged, ".parquet") / max(1, len(shards)),
            poll_interval(workspace),
        ),
    ):
        run_pipeline(beam, PipelineOptions, beam_arguments, partial(build_pipeline, job=job, shards=shards))
        check_written(job)  # inside: an error here removes the tables and prints no "done"
    return load_evaluation(workspace, run)


def open_job(job: EvaluationJob) -> AbstractContextManager[None]:
    """Remove what is left of an earlier evaluation of the run, and the job's tables if the context fails."""
    return replace_tables(job.workspace, job.run.run_id, EVALUATION_TABLES, job.run_folder / EVALUATION_NAME)


def check_written(job: EvaluationJob) -> None:
    """Raise EngineFailed if the pipeline of a job wrote no record."""
    if not (job.run_folder / EVALUATION_NAME).exists():
        raise EngineFailed(f"the engine reports success but wrote no {EVALUATION_NAME} to {job.run_folder}")


def add_to_evaluation(
    workspace: Place, dataset: Place, manifest: Manifest, run: RunRecord, beam_arguments: list[str], slicings: Slicings
) -> EvaluationRecord:
    """Add slicings to a run's complete evaluation: other tables keep their files. Raises as `evaluate`."""
    job = EvaluationJob(workspace, dataset, manifest.without_shards(), run, slicings)
    shards = list_shards(manifest)

    def build(pipeline: beam.Pipeline) -> beam.PCollection:
        return (
            _predict(pipeline | "Shards" >> beam.Create(shards), job)  # ShardPredictions
            | "CountSlices" >> beam.Map(SameCode(table_writer.count_slices, job=job))  # SliceCounts
            | "MergeSlices" >> beam.CombineGlobally(SameCode(table_writer.merge_slices, job=job))  # one SliceCounts
            | "AddSlices" >> beam.Map(SameCode(add_slices, job=job))
        )

    run_pipeline(beam, PipelineOptions, beam_arguments, build)
    record = load_evaluation(workspace, run)
    if not slicings.keys() <= record.slicings.keys():
        raise EngineFailed(f"the engine reports success but did not change {job.run_folder / EVALUATION_NAME}")
    return record


def answer_test_split(
    workspace: Place, dataset: Dataset, run: RunRecord, folder: Place, beam_arguments: list[str]
) -> list[str]:
    """Predict the test split of a data set and write the table `answers` to a folder, one file for each shard.

    The data set has the image size and the classes of the model's own. Return the names of the files in the order of
    the shards. Raises as `evaluate`.
    """
    job = EvaluationJob(workspace, dataset.folder, dataset.manifest.without_shards(), run, slicings={})
    shards = [shard for shard in list_shards(dataset.manifest) if shard.split == "test"]
    write = SameCode(table_writer.write_answers, job=job, dataset_digest=dataset.digest, folder=folder)

    def build(pipeline: beam.Pipeline) -> beam.PCollection:
        return _predict(pipeline | "Shards" >> beam.Create(shards), job) | "WriteAnswers" >> beam.Map(write)

    run_pipeline(beam, PipelineOptions, beam_arguments, build)
    names = sorted((table_writer.predictions_file_name(shard.info) for shard in shards), key=number_order)
    check_files_exist(folder, names)
    return names


def build_pipeline(pipeline: beam.Pipeline, job: EvaluationJob, shards: list[Shard]) -> beam.PCollection:
    """Apply the transforms of an evaluation."""
    return pipeline | "Shards" >> beam.Create(shards) | EvaluateModel(job)


@dataclass(eq=False)
class EvaluateModel(beam.PTransform):  # type: ignore[misc]
    """Predict the shards of a job (Shard), write its tables and its record, and return the EvaluationRecord."""

    job: EvaluationJob

    def expand(self, shards: "beam.PCollection[Shard]") -> "beam.PCollection[EvaluationRecord]":
        """Apply the transforms."""
        job = self.job
        return (
            _predict(shards, job)  # ShardPredictions
            | "WritePredictions" >> beam.Map(SameCode(table_writer.write_predictions, job=job))  # ShardResult
            | "Merge" >> beam.CombineGlobally(SameCode(table_writer.merge_results, job=job))  # one ShardResult
            | "WriteTables" >> beam.Map(SameCode(table_writer.write_tables, job=job))
        )


def _predict(shards: "beam.PCollection[Shard]", job: EvaluationJob) -> "beam.PCollection[ShardPredictions]":
    predict = SameCode(predict_shard, job=job)
    # without the reshuffle, an engine may fuse the steps and predict every shard on one worker
    return shards | beam.Reshuffle() | "Predict" >> beam.Map(predict)
