"""Evaluate inside a user's own Beam pipeline: the steps around `EvaluateModel`."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from model.errors import BadUsage
from pipeline.evaluate.beam_job import check_written, open_job
from pipeline.evaluate.evaluation_record import EVALUATION_NAME
from pipeline.evaluate.shard_predictions import EvaluationJob, Shard, list_shards
from pipeline.evaluate.slice_config import Slicings
from pipeline.evaluate.slices import SLICINGS
from pipeline.evaluate.stage import check_table_sizes
from pipeline.storage.lock import lock_workspace
from pipeline.storage.places import place_of
from pipeline.storage.workspace import existing_workspace
from pipeline.train.run_lookup import find_run


@contextmanager
def open_evaluation(
    workspace: str | PathLike[str], run: str | None = None, slicings: Slicings = SLICINGS
) -> Iterator[tuple[EvaluationJob, list[Shard]]]:
    """Lock a workspace, and yield the job that evaluates a run, and the shards of its data set.

    Run a pipeline that applies `EvaluateModel(job)` to the shards inside the context. At its end, the outcome is
    checked; tables without a record are removed. The run is found as by `find_run`.

    Raises:
        BadUsage: there is no such run, or it is evaluated already.
        BadInput: a table would be larger than readers accept.
        CorruptArtefact: a file does not match its record.
        EngineFailed: the pipeline wrote no record.
    """
    place = existing_workspace(place_of(str(workspace)).absolute())
    with lock_workspace(place):
        trained, data = find_run(place, run)
        job = EvaluationJob(place, data.folder, data.manifest.without_shards(), trained, slicings)
        if (job.run_folder / EVALUATION_NAME).exists():
            raise BadUsage(f"{trained.run_id} is evaluated already: delete {job.run_folder / EVALUATION_NAME} first")
        check_table_sizes(data.manifest)
        with open_job(job):
            yield job, list_shards(data.manifest)
            check_written(job)
