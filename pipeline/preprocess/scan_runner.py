"""Where the tasks of a scan, or of a check of files, run: in this process, or on the workers of the engine."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.beam_runner import BUILD_ONLY_OPTIONS, IN_PROCESS_RUNNER, beam_arguments, runs_locally
from pipeline.context import StageContext, capture_engine_messages, quiet_imports
from pipeline.preprocess.dataset import Dataset, check_dataset
from pipeline.sources import scan_tasks
from pipeline.sources.scan_tasks import MapTasks, map_here
from pipeline.storage.files import remove_afterwards
from pipeline.storage.places import Place
from pipeline.storage.workspace import scratch_folder_of, temporary_files_in
from pipeline.worker_server import prepare_workers


@contextmanager
def open_task_runner(context: StageContext, stage: str = "scan") -> Iterator[MapTasks]:
    """Yield what runs the tasks of a scan or of another stage; the context ends when the results have been read.

    Raises the errors of `scan_job.run_tasks`.
    """
    arguments = list(context.beam_arguments)
    if not has_workers(arguments):
        yield map_here
        return
    folder = scratch_folder_of(context.workspace / "datasets" / stage, runs_locally(arguments))

    def map_on_workers(function: Callable[[Any], Any], tasks: Sequence[Any], kind: Any) -> Iterator[Any]:
        if len(tasks) < 2:
            return map_here(function, tasks, kind)
        with quiet_imports():
            from pipeline.preprocess.scan_job import run_tasks
        with temporary_files_in(context.workspace), capture_engine_messages(context.engine_log):
            return run_tasks(function, tasks, kind, folder, arguments, stage)

    with remove_afterwards(folder):
        yield map_on_workers


def check_by_workers(context: StageContext, folder: Place) -> Dataset:
    """Check a data set as `check_dataset`, a large one on the engine's workers, if there are any."""
    with open_task_runner(context, "check") as map_tasks:
        return check_dataset(folder, map_tasks)


def pays_workers(arguments: Sequence[str], num_bytes: int) -> bool:
    """Return whether these arguments for Beam give workers, and they read that much sooner than one process does."""
    return has_workers(arguments) and num_bytes > scan_tasks.MANY_BYTES


def prepare_local_workers(arguments: Sequence[str], module: str) -> None:
    """Start the server that workers of this machine are forked from, if there are any; it imports Beam and a module."""
    if has_workers(arguments) and runs_locally(arguments):
        prepare_workers(module)


def has_workers(arguments: Sequence[str]) -> bool:
    """Return whether these arguments for Beam run a job in other processes than this one, and do not only build it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner")
    parser.add_argument("--direct_running_mode")
    parsed, rest = parser.parse_known_args(beam_arguments(arguments))
    if any(argument.removeprefix("--").split("=")[0] in BUILD_ONLY_OPTIONS for argument in rest):
        return False
    if parsed.runner == IN_PROCESS_RUNNER:
        return bool(parsed.direct_running_mode == "multi_processing")
    return bool(parsed.runner != "BundleBasedDirectRunner")
