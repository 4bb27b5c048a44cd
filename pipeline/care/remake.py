"""Each stage once more, from records into a scratch workspace, for `verify --repair` and `reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import BadInput, BadUsage
from model.recipes import TrainingConfig
from pipeline import storage
from pipeline.care.origin import Origin
from pipeline.local_side import default_cache
from pipeline.lookup import Dataset
from pipeline.places import Place
from pipeline.preprocess_stage import DatasetOptions, options_of, preprocess_stage
from pipeline.runs import PARAMETERS_NAME, EvaluationRecord, RunRecord
from pipeline.saving import Saving
from pipeline.stages import evaluate_stage, train_stage
from pipeline.work import Log, Settings

if TYPE_CHECKING:
    from pipeline.tables.slicings import Slicings


def remake_dataset(origin: Origin, scratch: Path, options: DatasetOptions | None = None) -> Dataset:
    """Preprocess the sources of a data set again.

    Args:
        origin: where it came from.
        scratch: a workspace.
        options: what to ask for instead of what the origin says.

    Raises:
        BadInput: a source is gone, or is not what it was.
    """
    found = preprocess_stage(Settings(scratch, ()), options or options_of(origin, default_cache()), Log())
    if found.manifest.dataset_id != origin.dataset_id:
        raise BadInput(
            f"{', '.join(origin.datasets)} is no longer what {origin.dataset_id} was made of: it gives "
            f"{found.manifest.dataset_id} now"
        )
    return found


def remake_run(workspace: Place, config: TrainingConfig, device: str, dataset: Dataset, scratch: Path) -> RunRecord:
    """Train a run again.

    Args:
        workspace: that holds the run whose parameters it began with, if it did with any.
        config: as it was trained.
        device: what to train on.
        dataset: to train on.
        scratch: another workspace, for what comes of it.

    Raises:
        CorruptArtefact: the data set, or the run that it began with, is not sound.
    """
    if config.warm_start:
        below = f"runs/{config.warm_start.run_id}/{PARAMETERS_NAME}"
        storage.write_atomically(scratch / below, storage.read_known(workspace / below, config.warm_start.sha256))
    [run] = train_stage(Settings(scratch, (), device), dataset, [config], False, Saving(every=0), Log())
    return run


def remake_evaluation(
    run: RunRecord, folder: Place, dataset: Dataset, slicings: "Slicings", scratch: Path
) -> EvaluationRecord:
    """Evaluate a run again.

    Args:
        run: its record.
        folder: that holds its parameters.
        dataset: that it was trained on.
        slicings: to evaluate by.
        scratch: a workspace.

    Raises:
        CorruptArtefact: the parameters or a shard are not as recorded.
    """
    copied = scratch / "runs" / run.run_id / run.parameters.name
    if copied != folder / run.parameters.name:
        storage.write_atomically(copied, run.parameters.read(folder))
    [evaluation] = evaluate_stage(Settings(scratch, (), "auto"), dataset, [run], slicings, Log())
    return evaluation


def slicings_of(evaluation: EvaluationRecord, trusted: "Slicings") -> "Slicings":
    """Return the slicings that an evaluation has.

    A slicing of the user's own is code, and a workspace may come from elsewhere: what a record names is imported only
    if the user names it too.

    Raises:
        BadUsage: the record names one that is not trusted.
    """
    from pipeline.tables.slicings import describe, in_order

    named = in_order(evaluation.slicings)
    for name, place in describe(named).items():
        if describe(trusted).get(name) != place:
            raise BadUsage(
                f"{evaluation.run_id} was evaluated by the slicing {name}, which is code: the function {place}. If you "
                f"trust it, say so: --slice {name}={place}"
            )
    return named


def device_of(run: RunRecord) -> str:
    """Return what to ask for to train where a run was trained."""
    first = run.device.split(",")[0]
    if first.startswith("GPU"):
        return "auto" if run.config.num_replicas > 1 else f"gpu:{first.rpartition(':')[2]}"
    return "cpu"
