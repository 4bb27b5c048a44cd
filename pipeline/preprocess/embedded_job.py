"""Preprocess inside a user's own Beam pipeline: the steps around `PreprocessImages`."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from model.errors import BadUsage
from pipeline.preprocess.beam_job import PreprocessJob, open_job
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.preprocess.provenance import write_origin
from pipeline.preprocess.rejected import check_outcome
from pipeline.preprocess.stage import DatasetConfig, describe_origin, scan_dataset
from pipeline.sources.blocks import BlockRange
from pipeline.storage.lock import lock_workspace
from pipeline.storage.places import place_of


@contextmanager
def open_preprocessing(
    workspace: str | PathLike[str], config: DatasetConfig
) -> Iterator[tuple[PreprocessJob, list[BlockRange]]]:
    """Lock a workspace, scan a source in this process, and yield the job and the ranges of examples of its data set.

    Run a pipeline that applies `PreprocessImages(job)` to the ranges inside the context. At its end, the outcome is
    checked; a data set that is not complete is removed.

    Raises:
        BadUsage: the configuration names several sources, or their data set is complete already.
        BadInput: a source is missing or damaged, or too many of its examples are rejected.
        EngineFailed: the pipeline wrote no manifest.
    """
    if len(config.datasets) != 1:
        raise BadUsage(f"one source makes a job, found {len(config.datasets)}: open one for each")
    place = place_of(str(workspace)).absolute()
    with lock_workspace(place):
        [name] = config.datasets
        found = scan_dataset(place, config, name)
        if (found.folder / MANIFEST_NAME).exists():
            raise BadUsage(f"{found.folder} is complete already: use it, or delete it to preprocess again")
        # scratch files in the workspace, which the workers of every engine can reach
        with open_job(found.scans, found.name, found.config, found.folder, config.max_rejected, False) as opened:
            yield opened
            check_outcome(found.folder, config.max_rejected)
        write_origin(place, describe_origin(load_dataset(found.folder), config, config.datasets), is_new=True)
