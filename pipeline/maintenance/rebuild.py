"""Each stage once more, from records into a scratch workspace, for `verify --repair` and `reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import BadInput, BadUsage
from model.recipes import TrainingConfig
from pipeline.context import Log, Settings
from pipeline.evaluate.records import EvaluationRecord
from pipeline.evaluate.stage import evaluate_stage
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.provenance import Origin
from pipeline.preprocess.stage import DatasetOptions, options_of, preprocess_stage
from pipeline.storage.files import folders_with, read_known, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import default_cache
from pipeline.train.checkpoint_policy import Saving
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
from pipeline.maintenance.replace_files import Made, made, put_differing, put_named
from pipeline.preprocess.manifest import MANIFEST_NAME, check_dataset, load_manifest
from pipeline.preprocess.provenance import load_origin
from pipeline.preprocess.validation import Subject, examine
from pipeline.preprocess.validation_config import ValidationRecord, load_validation, table_folder
from pipeline.storage.tables import write_table
from pipeline.storage.workspace import partition
from pipeline.train.run_record import RUN_NAME, load_run, run_id


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
        write_atomically(scratch / below, read_known(workspace / below, config.warm_start.sha256))
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
        write_atomically(copied, run.parameters.read(folder))
    [evaluation] = evaluate_stage(Settings(scratch, (), "auto"), dataset, [run], slicings, Log())
    return evaluation


def slicings_of(evaluation: EvaluationRecord, trusted: "Slicings") -> "Slicings":
    """Return the slicings that an evaluation has.

    A slicing of the user's own is code, and a workspace may come from elsewhere: what a record names is imported only
    if the user names it too.

    Raises:
        BadUsage: the record names one that is not trusted.
    """
    from pipeline.evaluate.slice_config import describe, in_order

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


def mend_dataset(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Preprocess again."""
    folder = workspace / "datasets" / dataset_id
    manifest, _ = load_manifest(folder)
    built = remake_dataset(load_origin(workspace, dataset_id), scratch)
    files = [made(folder / file.name, built.folder / file.name) for file in built.manifest.files()]
    return put_named(files, [(folder / file.name, file) for file in manifest.files()], faulty)


def mend_validation(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Validate again."""
    folder = workspace / "datasets" / dataset_id
    manifest, digest = check_dataset(folder)
    record = load_validation(workspace, dataset_id, digest)
    baseline = _find_baseline(workspace, record)
    again = examine(scratch, Subject(folder, manifest, digest), record.checks, baseline)
    source = table_folder(scratch, dataset_id) / again.table.name
    table = made(table_folder(workspace, dataset_id) / record.table.name, source)
    return put_named([table], [(table.target, record.table)], faulty)


def _find_baseline(workspace: Place, record: ValidationRecord) -> Subject | None:
    """Find the data set that a validation compared with, by its digest; raises CorruptArtefact if it is gone."""
    if record.baseline_digest is None:
        return None
    for folder in folders_with(workspace / "datasets", MANIFEST_NAME):
        manifest, digest = load_manifest(folder)
        if digest == record.baseline_digest:
            return Subject(folder, manifest, digest)
    raise CorruptArtefact(f"the baseline of {record.dataset_id}, SHA-256 {record.baseline_digest}, is gone")


def mend_run(workspace: Place, name: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Train again. The parameters must come out bit by bit as they were; only the times in the tables may differ."""
    folder = workspace / "runs" / name
    record = load_run(folder)
    dataset = _check_dataset_of(workspace, record)
    if run_id(dataset.digest, record.config) != name:
        raise CorruptArtefact(f"{name} was trained by other versions of backbeam or TensorFlow, or on other data")
    again = remake_run(workspace, record.config, device_of(record), dataset, scratch)
    parameters = made(folder / PARAMETERS_NAME, scratch / "runs" / name / PARAMETERS_NAME)
    _check_same_model(parameters, record.parameters.sha256)
    tables = _made_tables(workspace, again, scratch)
    if not faulty & {str(table.target) for table in tables}:
        return put_named([parameters], [(parameters.target, record.parameters)], faulty)
    # the learning curve tells times, so it has other bytes now; what the record says else stays
    renewed = scratch / "runs" / name / RUN_NAME
    write_atomically(renewed, record.model_copy(update={"tables": again.tables}).to_json())
    return put_differing([parameters, *tables, made(folder / RUN_NAME, renewed)])


def _check_dataset_of(workspace: Place, run: RunRecord) -> Dataset:
    folder = workspace / "datasets" / run.dataset_id
    return Dataset(folder, *check_dataset(folder))


def _made_tables(workspace: Place, again: RunRecord | EvaluationRecord, scratch: Path) -> list[Made]:
    name = again.run_id
    return [
        made(file.folder(workspace, name) / file.name, file.folder(scratch, name) / file.name) for file in again.tables
    ]


def _check_same_model(again: Made, digest: str) -> None:
    """Refuse parameters that are not those that were."""
    if again.info.sha256 == digest:
        return
    raise CorruptArtefact(
        f"{again.target}: trained again, the parameters are others ({_how_far(again)}): nothing was changed. Another "
        "processor or other versions round otherwise; so may a process that has trained other networks before: name "
        "the run's folder alone"
    )


def _how_far(again: Made) -> str:
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


def mend_evaluation(workspace: Place, name: str, faulty: set[str], scratch: Path, trusted: Slicings) -> list[Place]:
    """Evaluate again, by trusted slicings."""
    folder = workspace / "runs" / name
    run = load_run(folder)
    record = load_evaluation(workspace, run)
    dataset = _check_dataset_of(workspace, run)
    again = remake_evaluation(run, folder, dataset, slicings_of(record, trusted), scratch)
    recorded = [(file.folder(workspace, name) / file.name, file) for file in record.tables]
    return put_named(_made_tables(workspace, again, scratch), recorded, faulty)


def mend_group(workspace: Place, group: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Sum up again."""
    record = load_group(workspace, group)
    table = workspace / partition("seeds", group) / "seeds.parquet"
    runs = [load_run(workspace / "runs" / name) for name in record.run_ids]
    evaluations = [load_evaluation(workspace, run) for run in runs]
    source = scratch / "seeds.parquet"
    write_table(source, group_table(runs, evaluations))
    return put_named([made(table, source)], [(table, record.table)], faulty)
