"""Find complete runs in a workspace, with the data set that each was trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.errors import CorruptArtefact
from pipeline.context import quiet_imports
from pipeline.preprocess.dataset import Dataset, check_dataset, load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest
from pipeline.storage.places import Place
from pipeline.storage.workspace import find_complete
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run

if TYPE_CHECKING:
    from model.network import Parameters  # imports TensorFlow


@dataclass(frozen=True)
class TrainedModel:
    """A complete run and the manifest of its data set, which is enough to use the network without the shards."""

    folder: Place
    run: RunRecord
    manifest: Manifest


def find_run(workspace: Place, name: str | None) -> tuple[RunRecord, Dataset]:
    """Find a complete run and its data set, and check the files of both.

    Raises BadUsage as `find_run_folder`, CorruptArtefact as `check_run` and `load_dataset_of`.
    """
    run = check_run(workspace, find_run_folder(workspace, name))
    return run, load_dataset_of(workspace, run, check_dataset)


def find_model(workspace: Place, name: str | None) -> TrainedModel:
    """Find a complete run and load its record and its data set's manifest, but no shard and no parameters.

    Raises BadUsage as `find_run_folder`, CorruptArtefact as `load_run` and `load_dataset_of`.
    """
    folder = find_run_folder(workspace, name)
    run = load_run(folder)
    return TrainedModel(folder, run, load_dataset_of(workspace, run, load_dataset).manifest)


def load_parameters(model: TrainedModel) -> "Parameters":
    """Read and verify the parameters of a run, as float32 tensors; imports TensorFlow. Raises CorruptArtefact."""
    data = model.run.parameters.read(model.folder)
    with quiet_imports():
        import tensorflow as tf

        from model.checkpoint import decode_parameters
    arrays = decode_parameters(data, str(model.folder / model.run.parameters.name), model.run.config.layers)
    parameters: Parameters = tf.nest.map_structure(tf.constant, arrays)
    return parameters


def load_dataset_of(workspace: Place, run: RunRecord, load: Callable[[Place], Dataset]) -> Dataset:
    """Load the data set that a run was trained on.

    `load` is `check_dataset` to check the shards too, `load_dataset` if they are not read or are checked when read.
    Raises CorruptArtefact if the data set is missing, corrupt, or not the one the run was trained on.
    """
    folder = workspace / "datasets" / run.dataset_id
    if not (folder / MANIFEST_NAME).exists():
        raise CorruptArtefact(f"{folder}, the data set of {run.run_id}, is missing: preprocess it again")
    data = load(folder)
    if data.digest != run.dataset_digest:
        raise CorruptArtefact(f"{folder} is not what {run.run_id} was trained on: expected {run.dataset_digest}")
    sizes = (run.config.layers[0], run.config.layers[-1])
    expected = (data.manifest.num_pixels, len(data.manifest.class_names))
    if sizes != expected:
        raise CorruptArtefact(f"{run.run_id} has {sizes} inputs and outputs, and {folder} needs {expected}")
    return data


def find_run_folder(workspace: Place, name: str | None) -> Place:
    """Find the folder of a complete run by its id or a prefix (None: the only one); raises as `find_complete`."""
    return find_complete(workspace / "runs", RUN_NAME, name, "run")
