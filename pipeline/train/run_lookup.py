"""Finding what is complete in a workspace: data sets, runs, models."""

from collections.abc import Callable
from dataclasses import dataclass

from model.errors import CorruptArtefact
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest, check_dataset, load_manifest
from pipeline.storage.places import Place
from pipeline.storage.workspace import find_complete
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run


@dataclass(frozen=True)
class Model:
    """A complete run and what must be known of its data set to use it; the data set's shards may be gone."""

    folder: Place
    run: RunRecord
    manifest: Manifest


def find_run(workspace: Place, wanted: str | None) -> tuple[RunRecord, Dataset]:
    """Find a complete run of the workspace and its data set, and check both.

    Raises:
        CorruptArtefact: a file is not what its record says, or the data set is not the one of the run.
    """
    run = check_run(workspace, find_run_folder(workspace, wanted))
    return run, load_dataset_of(workspace, run, check_dataset)


def find_model(workspace: Place, wanted: str | None) -> Model:
    """Find a complete run of the workspace and read its record and its data set's manifest, but no shard.

    The parameters are checked when they are read.

    Raises:
        CorruptArtefact: a record is not sound, or the data set is not the one of the run.
    """
    folder = find_run_folder(workspace, wanted)
    run = load_run(folder)
    return Model(folder, run, load_dataset_of(workspace, run, load_manifest).manifest)


def load_dataset_of(workspace: Place, run: RunRecord, load: Callable[[Place], tuple[Manifest, str]]) -> Dataset:
    """Load the data set that a run was trained on.

    Args:
        workspace: that holds both.
        run: the run's record.
        load: `check_dataset` to check its files too, `load_manifest` where they are not needed or checked when read.

    Raises:
        CorruptArtefact: it is missing, not sound, or not the one of the run.
    """
    folder = workspace / "datasets" / run.dataset_id
    if not (folder / MANIFEST_NAME).exists():
        raise CorruptArtefact(f"{folder}, the data set of {run.run_id}, is missing: preprocess it again")
    data = Dataset(folder, *load(folder))
    if data.digest != run.dataset_digest:
        raise CorruptArtefact(f"{folder} is not what {run.run_id} was trained on: expected {run.dataset_digest}")
    ends, expected = (
        run.config.layers[:: len(run.config.layers) - 1],
        (data.manifest.num_pixels, len(data.manifest.class_names)),
    )
    if ends != expected:
        raise CorruptArtefact(f"{run.run_id} has {ends} inputs and outputs, and {folder} needs {expected}")
    return data


def find_run_folder(workspace: Place, wanted: str | None) -> Place:
    """Find a complete run by its id, by a beginning of its id, or as the only one.

    Raises:
        BadUsage: none fits, or several do.
    """
    return find_complete(workspace / "runs", RUN_NAME, wanted, "run")
