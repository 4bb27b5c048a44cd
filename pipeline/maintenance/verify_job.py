"""The Beam pipeline of a verification: expected files -> faults. It finds what `findings.check_expected` finds."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TypeAlias

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import EngineFailed
from pipeline.beam_runner import run_pipeline, runs_locally
from pipeline.maintenance.findings import CheckedItem, ExpectedFile, Fault, check_expected
from pipeline.processes import SameCode
from pipeline.sources.scan_tasks import cut_evenly
from pipeline.storage.files import make_empty_folder, remove_afterwards, scratch_folder
from pipeline.storage.job_result import read_result, write_result
from pipeline.storage.places import Place
from pipeline.storage.workspace import scratch_folder_of

MAX_TASKS = 2048

Task: TypeAlias = tuple[int, list[ExpectedFile]]  # neighbours of the list of all files, and the position of the first


@dataclass(frozen=True)
class CheckedFiles:
    """The number of files that were checked, and the faults: position in the list of all files, expected, found."""

    num_files: int = 0
    faults: tuple[tuple[int, str, str], ...] = ()


def check_by_workers(
    workspace: Place, files: list[ExpectedFile], beam_arguments: list[str]
) -> list[Fault | CheckedItem]:
    """Return what `check_expected` does for each file, in order.

    Raises StorageFailed if a file cannot be read, EngineFailed, and what `run_pipeline` raises.
    """
    with _open_scratch(workspace, runs_locally(beam_arguments)) as scratch:
        build = partial(build_pipeline, scratch=scratch, tasks=divide_files(files))
        run_pipeline(beam, PipelineOptions, beam_arguments, build)
        num_files, faults = read_result(scratch)
    if num_files != len(files):
        raise EngineFailed(f"the engine reports success but checked {num_files:,} of {len(files):,} files")
    checked: list[Fault | CheckedItem] = [CheckedItem(file.path, file.info.num_bytes) for file in files]
    for position, expected, found in faults:
        file = files[position]
        checked[position] = Fault(file.kind, file.owner, file.path, expected, found)
    return checked


@contextmanager
def _open_scratch(workspace: Place, works_here: bool) -> Iterator[Place]:
    """Yield an empty folder that all workers can reach, and delete it at the end."""
    if works_here:  # not in the workspace, which may be on a read-only disk
        with scratch_folder("verify") as folder:
            yield folder
        return
    scratch = scratch_folder_of(workspace / "datasets" / "verify", works_here)
    make_empty_folder(scratch)
    with remove_afterwards(scratch):
        yield scratch


def divide_files(files: list[ExpectedFile]) -> list[Task]:
    """Return all files as tasks of equally many, at most MAX_TASKS."""
    parts = cut_evenly(files, MAX_TASKS)
    starts = accumulate(map(len, parts), initial=0)
    return [(start, list(part)) for start, part in zip(starts, parts, strict=False)]


def build_pipeline(pipeline: beam.Pipeline, scratch: Place, tasks: list[Task]) -> beam.PCollection:
    """Apply the transforms."""
    return (
        pipeline
        | "Files" >> beam.Create(tasks)
        | beam.Reshuffle()  # without it, engines fuse Create with CheckFiles and one worker reads everything
        | "CheckFiles" >> beam.MapTuple(SameCode(check_files))  # CheckedFiles
        | "Add" >> beam.CombineGlobally(SameCode(add_checked))
        | "WriteResult" >> beam.Map(SameCode(write_checked, scratch=scratch))
    )


def check_files(first: int, files: list[ExpectedFile]) -> CheckedFiles:
    """Check files, of which the first one has that position."""
    found = enumerate(map(check_expected, files), first)
    faults = [(position, each.expected, each.found) for position, each in found if isinstance(each, Fault)]
    return CheckedFiles(len(files), tuple(faults))


def add_checked(parts: Iterable[CheckedFiles]) -> CheckedFiles:
    """Add up results."""
    listed = list(parts)
    faults = sorted(fault for part in listed for fault in part.faults)
    return CheckedFiles(sum(part.num_files for part in listed), tuple(faults))


def write_checked(checked: CheckedFiles, scratch: Place) -> None:
    """Write the result of the job."""
    write_result(scratch, [checked.num_files, checked.faults])
