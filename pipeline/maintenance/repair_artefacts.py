"""Repair one artefact at a time: rebuild its files in a scratch workspace and replace the damaged ones.

Each public function takes the workspace, the id of the artefact's owner, the paths of its damaged files and an empty
scratch workspace. It returns the paths of the replaced files, and raises CorruptArtefact, or another BackbeamError, if
the artefact cannot be rebuilt; then nothing was changed.
"""

from pathlib import Path

from model.checkpoint import decode_parameters
from model.errors import CorruptArtefact
from pipeline.context import StageContext
from pipeline.evaluate.evaluation_record import EvaluationRecord, load_evaluation
from pipeline.evaluate.seeds import group_table, load_group
from pipeline.evaluate.slice_config import Slicings
from pipeline.maintenance.rebuild import (
    device_of,
    largest_difference,
    rebuild_dataset,
    rebuild_run,
    reevaluate_run,
    trusted_slicings,
)
from pipeline.maintenance.replace_files import (
    RebuiltFile,
    describe_rebuilt,
    replace_differing_files,
    replace_recorded_files,
)
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, check_dataset, load_manifest
from pipeline.preprocess.provenance import load_origin
from pipeline.preprocess.validation import write_results
from pipeline.preprocess.validation_config import ValidationRecord, load_validation, table_folder
from pipeline.registry.contest import contest_folder, load_contest, write_contest
from pipeline.registry.history import CHAMPION_NAME, champion_path, load_history
from pipeline.storage.files import list_folders_with, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.tables import write_table
from pipeline.storage.workspace import table_partition
from pipeline.train.run_record import PARAMETERS_NAME, RUN_NAME, RunRecord, load_run, run_id


def repair_dataset(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Preprocess the sources again, and replace damaged shards and the table of rejected examples."""
    folder = workspace / "datasets" / dataset_id
    manifest, _ = load_manifest(folder)
    rebuilt = rebuild_dataset(load_origin(workspace, dataset_id), scratch)
    files = [describe_rebuilt(folder / file.name, rebuilt.folder / file.name) for file in rebuilt.manifest.files()]
    return replace_recorded_files(files, [(folder / file.name, file) for file in manifest.files()], faulty)


def repair_validation(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Validate the data set again with the recorded checks, and replace the table of results."""
    folder = workspace / "datasets" / dataset_id
    dataset = Dataset(folder, *check_dataset(folder))
    record = load_validation(workspace, dataset_id, dataset.digest)
    baseline = _find_baseline(workspace, record)
    rebuilt = write_results(scratch, dataset, record.checks, baseline)
    source = table_folder(scratch, dataset_id) / rebuilt.table.name
    table = describe_rebuilt(table_folder(workspace, dataset_id) / record.table.name, source)
    return replace_recorded_files([table], [(table.target, record.table)], faulty)


def _find_baseline(workspace: Place, record: ValidationRecord) -> Dataset | None:
    """Return the data set that a validation compared with, if any; raises CorruptArtefact if it is missing."""
    if record.baseline_digest is None:
        return None
    for folder in list_folders_with(workspace / "datasets", MANIFEST_NAME):
        manifest, digest = load_manifest(folder)
        if digest == record.baseline_digest:
            return Dataset(folder, manifest, digest)
    raise CorruptArtefact(f"the baseline of {record.dataset_id}, SHA-256 {record.baseline_digest}, is gone")


def repair_run(workspace: Place, name: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Train a run again, and replace its parameters and tables.

    The parameters must have the recorded bytes. The learning curve contains times, so it never has them: if a table is
    damaged, all differing tables are replaced and the record is written again with their digests.
    """
    folder = workspace / "runs" / name
    record = load_run(folder)
    dataset = _check_dataset_of(workspace, record)
    if run_id(dataset.digest, record.config) != name:
        raise CorruptArtefact(f"{name} was trained by other versions of backbeam or TensorFlow, or on other data")
    retrained = rebuild_run(workspace, record.config, device_of(record), dataset, scratch)
    parameters = describe_rebuilt(folder / PARAMETERS_NAME, scratch / "runs" / name / PARAMETERS_NAME)
    _check_same_parameters(parameters, record.parameters.sha256)
    tables = _describe_tables(workspace, retrained, scratch)
    if not faulty & {str(table.target) for table in tables}:
        return replace_recorded_files([parameters], [(parameters.target, record.parameters)], faulty)
    new_record = scratch / "runs" / name / RUN_NAME
    write_atomically(new_record, record.model_copy(update={"tables": retrained.tables}).to_json())
    return replace_differing_files([parameters, *tables, describe_rebuilt(folder / RUN_NAME, new_record)])


def _check_dataset_of(workspace: Place, run: RunRecord) -> Dataset:
    folder = workspace / "datasets" / run.dataset_id
    return Dataset(folder, *check_dataset(folder))


def _check_same_parameters(rebuilt: RebuiltFile, digest: str) -> None:
    """Raise CorruptArtefact if retraining gave other parameters than the recorded ones."""
    if rebuilt.info.sha256 == digest:
        return
    raise CorruptArtefact(
        f"{rebuilt.target}: trained again, the parameters are others ({_describe_difference(rebuilt)}): nothing was "
        "changed. Another processor and other versions round differently, and so may a process that has trained other "
        f"networks before: try `backbeam verify --repair {rebuilt.target.parent}`, which trains this run alone"
    )


def _describe_difference(rebuilt: RebuiltFile) -> str:
    try:
        damaged = decode_parameters(rebuilt.target.read_bytes())
        retrained = decode_parameters(rebuilt.source.read_bytes())
    except (CorruptArtefact, FileNotFoundError):
        return f"SHA-256 {rebuilt.info.sha256}"
    return f"by up to {largest_difference(damaged, retrained):.3g}"


def _describe_tables(workspace: Place, record: RunRecord | EvaluationRecord, scratch: Path) -> list[RebuiltFile]:
    run_id = record.run_id
    return [
        describe_rebuilt(file.folder(workspace, run_id) / file.name, file.folder(scratch, run_id) / file.name)
        for file in record.tables
    ]


def repair_evaluation(workspace: Place, name: str, faulty: set[str], scratch: Path, trusted: Slicings) -> list[Place]:
    """Evaluate a run again, and replace damaged tables; see `trusted_slicings` for `trusted`."""
    folder = workspace / "runs" / name
    run = load_run(folder)
    record = load_evaluation(workspace, run)
    dataset = _check_dataset_of(workspace, run)
    rebuilt = reevaluate_run(run, folder, dataset, trusted_slicings(record, trusted), scratch)
    recorded = [(file.folder(workspace, name) / file.name, file) for file in record.tables]
    return replace_recorded_files(_describe_tables(workspace, rebuilt, scratch), recorded, faulty)


def repair_group(workspace: Place, group: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Aggregate the evaluations of a group of runs again, and replace the table `seeds`."""
    record = load_group(workspace, group)
    table = workspace / table_partition("seeds", group) / "seeds.parquet"
    runs = [load_run(workspace / "runs" / name) for name in record.run_ids]
    evaluations = [load_evaluation(workspace, run) for run in runs]
    source = scratch / "seeds.parquet"
    write_table(source, group_table(runs, evaluations))
    return replace_recorded_files([describe_rebuilt(table, source)], [(table, record.table)], faulty)


def repair_champion(workspace: Place, _: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Write the pointer to the champion again, from the last entry of the history."""
    path = champion_path(workspace)
    champion = load_history(workspace).champion
    if champion is None:
        raise CorruptArtefact(f"{path}: the history names no champion: put the history back from a copy, or delete it")
    write_atomically(scratch / CHAMPION_NAME, champion.to_json())
    return replace_differing_files([describe_rebuilt(path, scratch / CHAMPION_NAME)])


def repair_contest(workspace: Place, owner: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Predict a data set with a run's model again, and replace damaged predictions; the owner is DATASET_ID/RUN_ID."""
    dataset_id, _, run_id = owner.partition("/")
    folder = contest_folder(workspace, dataset_id, run_id)
    rebuilt = contest_folder(scratch, dataset_id, run_id)
    run = load_run(workspace / "runs" / run_id)
    parameters = run.parameters.read(workspace / "runs" / run_id)
    write_atomically(scratch / "runs" / run_id / run.parameters.name, parameters)
    dataset = workspace / "datasets" / dataset_id
    write_contest(StageContext(scratch, ()), Dataset(dataset, *check_dataset(dataset)), run, rebuilt)
    files = [describe_rebuilt(folder / file.name, rebuilt / file.name) for file in load_contest(rebuilt).files]
    return replace_recorded_files(files, [(folder / file.name, file) for file in load_contest(folder).files], faulty)
