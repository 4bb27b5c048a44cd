"""How each kind of artefact is made again and put back. Each function returns the files that it put in place.

All take the workspace, the id of what is to be mended, the places of its bad files, and a scratch workspace; all raise
CorruptArtefact, or BadInput where it is a source, and change nothing, if it cannot be made again as it was.
"""

from pathlib import Path

import numpy as np

from model.checkpoint import decode_parameters
from model.errors import CorruptArtefact
from model.network import Parameters
from pipeline import storage
from pipeline.care.origin import load_origin
from pipeline.care.remake import device_of, remake_dataset, remake_evaluation, remake_run, slicings_of
from pipeline.care.replacing import Made, made, put_differing, put_named
from pipeline.lookup import Dataset
from pipeline.manifest import MANIFEST_NAME, check_dataset, load_manifest
from pipeline.places import Place
from pipeline.runs import PARAMETERS_NAME, RUN_NAME, EvaluationRecord, RunRecord, load_evaluation, load_run, run_id
from pipeline.seeds import group_table, load_group
from pipeline.tables.files import partition, write_table
from pipeline.tables.slicings import Slicings
from pipeline.validate import Subject, examine
from pipeline.validation import ValidationRecord, load_validation, table_folder


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
    for folder in storage.folders_with(workspace / "datasets", MANIFEST_NAME):
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
    storage.write_atomically(renewed, record.model_copy(update={"tables": again.tables}).to_json())
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
