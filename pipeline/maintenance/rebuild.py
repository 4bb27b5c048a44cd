"""Run pipeline stages again from their records, in a scratch workspace; used by `verify --repair` and `reproduce`.

This module only rebuilds artefacts: `repair_artefacts` replaces damaged files by them, `reproduce` compares them.
"""

from pathlib import Path

import numpy as np

from model.errors import BadInput, BadUsage
from model.network import Parameters
from model.recipes import TrainingConfig
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.evaluate.slice_config import Slicings, describe_slicings, order_slicings
from pipeline.evaluate.stage import evaluate_stage
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.provenance import Origin
from pipeline.preprocess.stage import DatasetConfig, config_from_origin, preprocess_stage
from pipeline.storage.files import read_with_digest, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import default_cache
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_record import PARAMETERS_NAME, RunRecord
from pipeline.train.stage import train_stage


def rebuild_dataset(origin: Origin, scratch: Path, options: DatasetConfig | None = None) -> Dataset:
    """Preprocess the sources of a data set again.

    Args:
        origin: the record of its sources and options.
        scratch: the workspace to write to.
        options: used instead of the recorded ones, if given.

    Raises:
        BadInput: a source is missing or has changed.
    """
    config = options or config_from_origin(origin, default_cache())
    rebuilt = preprocess_stage(StageContext(scratch, ()), config, StageLog())
    if rebuilt.manifest.dataset_id != origin.dataset_id:
        raise BadInput(
            f"{', '.join(origin.datasets)} is no longer what {origin.dataset_id} was made of: it gives "
            f"{rebuilt.manifest.dataset_id} now"
        )
    return rebuilt


def rebuild_run(workspace: Place, config: TrainingConfig, device: str, dataset: Dataset, scratch: Path) -> RunRecord:
    """Train a run again, without checkpoints.

    Args:
        workspace: holds the run that a warm start begins with.
        config: the recorded configuration of the run.
        device: see `device_of`.
        dataset: the data set to train on.
        scratch: the workspace to write to.

    Raises:
        CorruptArtefact: the data set or the parameters of the warm start do not verify.
    """
    if config.warm_start:
        parameters = f"runs/{config.warm_start.run_id}/{PARAMETERS_NAME}"
        write_atomically(scratch / parameters, read_with_digest(workspace / parameters, config.warm_start.sha256))
    context = StageContext(scratch, (), device)
    [run] = train_stage(context, dataset, [config], False, CheckpointPolicy(every=0), StageLog())
    return run


def device_of(run: RunRecord) -> str:
    """Return the value of `--device` that selects the device a run was trained on."""
    first = run.device.split(",")[0]
    if first.startswith("GPU"):
        return "auto" if run.config.num_replicas > 1 else f"gpu:{first.rpartition(':')[2]}"
    return "cpu"


def largest_difference(first: Parameters, second: Parameters) -> float:
    """Return the largest absolute difference between two networks' parameters; infinity if their shapes differ."""
    first_arrays = [array for layer in first for array in layer]
    second_arrays = [array for layer in second for array in layer]
    if [array.shape for array in first_arrays] != [array.shape for array in second_arrays]:
        return float("inf")
    pairs = zip(first_arrays, second_arrays, strict=True)
    return max(float(np.abs(np.subtract(a, b, dtype=np.float64)).max()) for a, b in pairs)


def reevaluate_run(
    run: RunRecord, folder: Place, dataset: Dataset, slicings: Slicings, scratch: Path
) -> EvaluationRecord:
    """Evaluate a run again.

    Args:
        run: the record of the run.
        folder: holds the parameters of the run.
        dataset: the data set that the run was trained on.
        slicings: see `trusted_slicings`.
        scratch: the workspace to write to.

    Raises:
        CorruptArtefact: the parameters or a shard do not verify.
    """
    copy = scratch / "runs" / run.run_id / run.parameters.name
    if copy != folder / run.parameters.name:
        write_atomically(copy, run.parameters.read(folder))
    [evaluation] = evaluate_stage(StageContext(scratch, (), "auto"), dataset, [run], slicings, StageLog())
    return evaluation


def trusted_slicings(evaluation: EvaluationRecord, trusted: Slicings) -> Slicings:
    """Return the slicings of an evaluation.

    A user-defined slicing is code, and a workspace may come from a stranger. So a function that a record names is
    imported only if the user names it too.

    Raises:
        BadUsage: the record names a slicing that is not among the trusted ones.
    """
    slicings = order_slicings(evaluation.slicings)
    trusted_places = describe_slicings(trusted)
    for name, place in describe_slicings(slicings).items():
        if trusted_places.get(name) != place:
            raise BadUsage(
                f"{evaluation.run_id} was evaluated by the slicing {name}, which is code: the function {place}. If you "
                f"trust it, say so: --slice {name}={place}"
            )
    return slicings
