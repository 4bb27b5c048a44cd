"""The Beam pipeline that runs tasks, such as those of the scan of a source, by workers; the driver reads their results.

The results go through small files in the scratch folder, because engines return no elements to the driver.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from pydantic import TypeAdapter
from pydantic_core import to_json

from model.errors import BadInput, EngineFailed
from pipeline.beam_runner import run_pipeline
from pipeline.processes import SameCode
from pipeline.progress import show_progress
from pipeline.sources.blocks import refuse_unreadable
from pipeline.storage.files import count_files, make_empty_folder, read_range, size_or_none, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import poll_interval


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    kind: Any,
    folder: Place,
    beam_arguments: list[str],
    stage: str = "scan",
) -> Iterator[Any]:
    """Apply a function to each task on the workers of an engine, then yield the results, of that kind, in order.

    stage is what messages call the work. The results are in files in the folder, which every worker can reach, until
    the caller removes it.

    Raises:
        BadInput: as the first task does that raises it.
        StorageFailed: a task cannot read its files.
        EngineFailed: as `run_pipeline`, or the engine left out a task.
    """
    make_empty_folder(folder)
    with show_progress(stage, len(tasks), "tasks", lambda: count_files(folder) / len(tasks), poll_interval(folder)):
        build = partial(build_pipeline, function=function, tasks=tasks, folder=folder)
        run_pipeline(beam, PipelineOptions, beam_arguments, build)
    return _read_results(len(tasks), kind, folder, stage)


def build_pipeline(
    pipeline: beam.Pipeline, function: Callable[[Any], Any], tasks: Sequence[Any], folder: Place
) -> beam.PCollection:
    """Apply the job's transforms."""
    return (
        pipeline
        | "Tasks" >> beam.Create(list(enumerate(tasks)))
        | beam.Reshuffle()  # without it, engines fuse the steps and one worker reads everything
        | "RunTask" >> beam.MapTuple(SameCode(run_task, function, folder))
    )


def run_task(function: Callable[[Any], Any], folder: Place, number: int, task: Any) -> None:
    """Write what a function returns for a task, or the message of the BadInput that it raises, to a file of its own.

    Raised here, the error would arrive in the engine's words, that of any task; and some engines would try again.
    """
    try:
        with refuse_unreadable():
            result = (function(task), "")
    except BadInput as problem:
        result = (None, str(problem))
    write_atomically(folder / str(number), to_json(result))


def _read_results(num_tasks: int, kind: Any, folder: Place, stage: str) -> Iterator[Any]:
    adapter = TypeAdapter(tuple[kind | None, str])
    for number in range(num_tasks):
        place = folder / str(number)
        num_bytes = size_or_none(place)
        if num_bytes is None:
            raise EngineFailed(f"the engine reports success but wrote no result of task {number} of the {stage}")
        found, problem = adapter.validate_json(read_range(place, 0, num_bytes))
        if problem:
            raise BadInput(problem)
        yield found
