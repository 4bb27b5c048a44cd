"""Each stage once more, from records into a scratch workspace, for `verify --repair` and `reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import BadInput, BadUsage
from model.recipes import TrainingConfig
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.records import EvaluationRecord
from pipeline.evaluate.stage import evaluate_stage
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.provenance import Origin
from pipeline.preprocess.stage import DatasetConfig, config_from_origin, preprocess_stage
from pipeline.storage.files import list_folders_with, read_with_digest, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import default_cache
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_record import PARAMETERS_NAME, RunRecord
from pipeline.train.stage import train_stage

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings

import numpy as np

from model.checkpoint import decode_parameters
from model.errors import CorruptArtefact
from model.network import Parameters
from pipeline.evaluate.records import load_evaluation
from pipeline.evaluate.seeds import group_table, load_group
from pipeline.evaluate.slice_config import Slicings
from pipeline.maintenance.replace_files import (
    RebuiltFile,
    as_rebuilt_files,
    replace_differing_files,
    replace_named_files,
)
from pipeline.preprocess.manifest import MANIFEST_NAME, check_dataset, load_manifest
from pipeline.preprocess.provenance import load_origin
from pipeline.preprocess.validation import ValidatedDataset, examine
from pipeline.preprocess.validation_config import ValidationRecord, load_validation, table_folder
from pipeline.storage.tables import write_table
from pipeline.storage.workspace import table_partition
from pipeline.train.run_record import RUN_NAME, load_run, run_id


def rebuild_dataset(origin: Origin, scratch: Path, options: DatasetConfig | None = None) -> Dataset:
    """Preprocess the sources of a data set again.

    Args:
        origin: where it came from.
        scratch: a workspace.
        options: what to ask for instead of what the origin says.

    Raises:
        BadInput: a source is gone, or is not what it was.
    """
    found = preprocess_stage(
        StageContext(scratch, ()), options or config_from_origin(origin, default_cache()), StageLog()
    )
    if found.manifest.dataset_id != origin.dataset_id:
        raise BadInput(
            f"{', '.join(origin.datasets)} is no longer what {origin.dataset_id} was made of: it gives "
            f"{found.manifest.dataset_id} now"
        )
    return found


def retrain_run(workspace: Place, config: TrainingConfig, device: str, dataset: Dataset, scratch: Path) -> RunRecord:
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
        write_atomically(scratch / below, read_with_digest(workspace / below, config.warm_start.sha256))
    [run] = train_stage(
        StageContext(scratch, (), device), dataset, [config], False, CheckpointPolicy(every=0), StageLog()
    )
    return run


def repeat_evaluation(
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
        write_atomically(copied, run.parameters.read(folder))
    [evaluation] = evaluate_stage(StageContext(scratch, (), "auto"), dataset, [run], slicings, StageLog())
    return evaluation


def slicings_of(evaluation: EvaluationRecord, trusted: "Slicings") -> "Slicings":
    """Return the slicings that an evaluation has.

    A slicing of the user's own is code, and a workspace may come from elsewhere: what a record names is imported only
    if the user names it too.

    Raises:
        BadUsage: the record names one that is not trusted.
    """
    from pipeline.evaluate.slice_config import describe_slicings, order_slicings

    named = order_slicings(evaluation.slicings)
    for name, place in describe_slicings(named).items():
        if describe_slicings(trusted).get(name) != place:
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


def repair_dataset(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Preprocess again."""
    folder = workspace / "datasets" / dataset_id
    manifest, _ = load_manifest(folder)
    built = rebuild_dataset(load_origin(workspace, dataset_id), scratch)
    files = [as_rebuilt_files(folder / file.name, built.folder / file.name) for file in built.manifest.files()]
    return replace_named_files(files, [(folder / file.name, file) for file in manifest.files()], faulty)


def repair_validation(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Validate again."""
    folder = workspace / "datasets" / dataset_id
    manifest, digest = check_dataset(folder)
    record = load_validation(workspace, dataset_id, digest)
    baseline = _find_baseline(workspace, record)
    again = examine(scratch, ValidatedDataset(folder, manifest, digest), record.checks, baseline)
    source = table_folder(scratch, dataset_id) / again.table.name
    table = as_rebuilt_files(table_folder(workspace, dataset_id) / record.table.name, source)
    return replace_named_files([table], [(table.target, record.table)], faulty)


def _find_baseline(workspace: Place, record: ValidationRecord) -> ValidatedDataset | None:
    """Find the data set that a validation compared with, by its digest; raises CorruptArtefact if it is gone."""
    if record.baseline_digest is None:
        return None
    for folder in list_folders_with(workspace / "datasets", MANIFEST_NAME):
        manifest, digest = load_manifest(folder)
        if digest == record.baseline_digest:
            return ValidatedDataset(folder, manifest, digest)
    raise CorruptArtefact(f"the baseline of {record.dataset_id}, SHA-256 {record.baseline_digest}, is gone")


def repair_run(workspace: Place, name: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Train again. The parameters must come out bit by bit as they were; only the times in the tables may differ."""
    folder = workspace / "runs" / name
    record = load_run(folder)
    dataset = _check_dataset_of(workspace, record)
    if run_id(dataset.digest, record.config) != name:
        raise CorruptArtefact(f"{name} was trained by other versions of backbeam or TensorFlow, or on other data")
    again = retrain_run(workspace, record.config, device_of(record), dataset, scratch)
    parameters = as_rebuilt_files(folder / PARAMETERS_NAME, scratch / "runs" / name / PARAMETERS_NAME)
    _check_same_model(parameters, record.parameters.sha256)
    tables = _made_tables(workspace, again, scratch)
    if not faulty & {str(table.target) for table in tables}:
        return replace_named_files([parameters], [(parameters.target, record.parameters)], faulty)
    # the learning curve tells times, so it has other bytes now; what the record says else stays
    renewed = scratch / "runs" / name / RUN_NAME
    write_atomically(renewed, record.model_copy(update={"tables": again.tables}).to_json())
    return replace_differing_files([parameters, *tables, as_rebuilt_files(folder / RUN_NAME, renewed)])


def _check_dataset_of(workspace: Place, run: RunRecord) -> Dataset:
    folder = workspace / "datasets" / run.dataset_id
    return Dataset(folder, *check_dataset(folder))


def _made_tables(workspace: Place, again: RunRecord | EvaluationRecord, scratch: Path) -> list[RebuiltFile]:
    name = again.run_id
    return [
        as_rebuilt_files(file.folder(workspace, name) / file.name, file.folder(scratch, name) / file.name)
        for file in again.tables
    ]


def _check_same_model(again: RebuiltFile, digest: str) -> None:
    """Refuse parameters that are not those that were."""
    if again.info.sha256 == digest:
        return
    raise CorruptArtefact(
        f"{again.target}: trained again, the parameters are others ({_how_far(again)}): nothing was changed. Another "
        "processor or other versions round otherwise; so may a process that has trained other networks before: name "
        "the run's folder alone"
    )


def _how_far(again: RebuiltFile) -> str:
    try:
        old, new = (decode_parameters(data) for data in (again.target.read_bytes(), again.source.read_bytes()))
    except (CorruptArtefact, FileNotFoundError):
        return f"SHA-256 {again.info.sha256}"
    return f"by up to {largest_difference(old, new):.3g}"


def largest_difference(first: Parameters, second: Parameters) -> float:
    """Return the largest absolute difference of two networks' parameters; infinity if their shapes differ."""
    one, other = ([part for layer in each for part in layer] for each in (first, second))
    if [part.shape for part in one] != [part.shape for part in other]:
        return float("inf")
    return max(float(np.abs(np.subtract(a, b, dtype=np.float64)).max()) for a, b in zip(one, other, strict=True))


def repair_evaluation(workspace: Place, name: str, faulty: set[str], scratch: Path, trusted: Slicings) -> list[Place]:
    """Evaluate again, by trusted slicings."""
    folder = workspace / "runs" / name
    run = load_run(folder)
    record = load_evaluation(workspace, run)
    dataset = _check_dataset_of(workspace, run)
    again = repeat_evaluation(run, folder, dataset, slicings_of(record, trusted), scratch)
    recorded = [(file.folder(workspace, name) / file.name, file) for file in record.tables]
    return replace_named_files(_made_tables(workspace, again, scratch), recorded, faulty)


def repair_group(workspace: Place, group: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Sum up again."""
    record = load_group(workspace, group)
    table = workspace / table_partition("seeds", group) / "seeds.parquet"
    runs = [load_run(workspace / "runs" / name) for name in record.run_ids]
    evaluations = [load_evaluation(workspace, run) for run in runs]
    source = scratch / "seeds.parquet"
    write_table(source, group_table(runs, evaluations))
    return replace_named_files([as_rebuilt_files(table, source)], [(table, record.table)], faulty)
