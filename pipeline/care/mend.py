"""How each kind of artefact is made again and put back. Each function returns the files that it put in place.

All take the workspace, the id of what is to be mended, the places of its bad files, and a scratch workspace; all raise
CorruptArtefact, or BadInput where it is a source, and change nothing, if it cannot be made again as it was.
"""

import json
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from model.checkpoint import decode_carried, decode_parameters
from model.errors import CorruptArtefact
from model.network import Parameters
from model.recipes import TrainingConfig
from pipeline import storage
from pipeline.care.origin import load_origin
from pipeline.care.remake import device_of, remake_dataset, remake_evaluation, remake_run, slicings_of
from pipeline.care.replacing import Made, made, put_differing, put_named, stands
from pipeline.lookup import Dataset
from pipeline.manifest import MANIFEST_NAME, FileName, Manifest, check_dataset, load_manifest
from pipeline.places import Place
from pipeline.runs import (
    EVALUATION_NAME,
    PARAMETERS_NAME,
    RUN_NAME,
    EvaluationRecord,
    RunRecord,
    load_evaluation,
    load_run,
    run_id,
)
from pipeline.seeds import group_id, group_path, group_table, load_group, write_seeds
from pipeline.tables.files import partition, read_table, write_table
from pipeline.tables.slices import SLICINGS
from pipeline.tables.slicings import Slicings
from pipeline.validate import Subject, examine
from pipeline.validation import TABLE, VALIDATION_NAME, ValidationRecord, load_validation, resolve_checks, table_folder

_RUN_IDS = TypeAdapter(tuple[FileName, ...])


def mend_dataset(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Preprocess again. Where the manifest is lost, runs that name it by its digest must agree with the new one."""
    folder = workspace / "datasets" / dataset_id
    built = remake_dataset(load_origin(workspace, dataset_id), scratch)
    own = [] if built.manifest.parts else built.manifest.files()
    files = [made(folder / file.name, scratch / "datasets" / dataset_id / file.name) for file in own]
    record = made(folder / MANIFEST_NAME, scratch / "datasets" / dataset_id / MANIFEST_NAME)
    if str(record.target) not in faulty:
        recorded = [(folder / file.name, file) for file in load_manifest(folder)[0].files()]
        return put_named(files, recorded, faulty)
    for name, digest in _digests_in_use(workspace, dataset_id):
        if digest != built.digest:
            raise CorruptArtefact(
                f"{record.target}: made again it has SHA-256 {built.digest}, and {name} was trained on {digest}: "
                "nothing was changed"
            )
    return put_differing([*files, record])


def _digests_in_use(workspace: Place, dataset_id: str) -> list[tuple[str, str]]:
    """List the runs of a data set whose records are sound, and the digest of the manifest that each names."""
    found = []
    for folder in storage.folders_with(workspace / "runs", RUN_NAME):
        try:
            run = load_run(folder)
        except CorruptArtefact:
            continue
        if run.dataset_id == dataset_id:
            found.append((run.run_id, run.dataset_digest))
    return found


def mend_validation(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Validate again. A lost record is replaced by that of the usual checks, without a baseline."""
    folder = workspace / "datasets" / dataset_id
    manifest, digest = check_dataset(folder)
    path = folder / VALIDATION_NAME
    record = None if str(path) in faulty else load_validation(workspace, dataset_id, digest)
    checks, baseline = resolve_checks({}), None
    if record:
        checks, baseline = record.checks, _find_baseline(workspace, record)
    subject = Subject(folder, manifest, digest)
    again = examine(scratch, subject, checks, Subject(*baseline) if baseline else None)
    table = made(table_folder(workspace, dataset_id) / again.table.name, _below(scratch, TABLE, dataset_id, again))
    if record:
        return put_named([table], [(table.target, record.table)], faulty)
    storage.write_atomically(scratch / VALIDATION_NAME, again.to_json())
    return put_differing([table, made(path, scratch / VALIDATION_NAME)])


def _below(scratch: Path, table: str, dataset_id: str, record: ValidationRecord) -> Path:
    return scratch / "reports" / table / f"dataset={dataset_id}" / record.table.name


def _find_baseline(workspace: Place, record: ValidationRecord) -> tuple[Place, Manifest, str] | None:
    """Find the data set that a validation compared with, by its digest; raises CorruptArtefact if it is gone."""
    if record.baseline_digest is None:
        return None
    for folder in storage.folders_with(workspace / "datasets", MANIFEST_NAME):
        manifest, digest = load_manifest(folder)
        if digest == record.baseline_digest:
            return folder, manifest, digest
    raise CorruptArtefact(f"the baseline of {record.dataset_id}, SHA-256 {record.baseline_digest}, is gone")


def mend_run(workspace: Place, name: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Train again. The parameters must come out bit by bit as they were; only the times in the record may differ."""
    folder = workspace / "runs" / name
    record = None if str(folder / RUN_NAME) in faulty else load_run(folder)
    config, dataset_id, device = _how_trained(folder, record)
    dataset = Dataset(workspace / "datasets" / dataset_id, *check_dataset(workspace / "datasets" / dataset_id))
    if run_id(dataset.digest, config) != name:
        raise CorruptArtefact(f"{name} was trained by other versions of backbeam or TensorFlow, or on other data")
    again = remake_run(workspace, config, device, dataset, scratch)
    parameters = made(folder / PARAMETERS_NAME, scratch / "runs" / name / PARAMETERS_NAME)
    _check_same_model(parameters, _known_digest(workspace, folder, record))
    tables = [
        made(file.folder(workspace, name) / file.name, file.folder(scratch, name) / file.name) for file in again.tables
    ]
    if record and not faulty & {str(table.target) for table in tables}:
        return put_named([parameters], [(parameters.target, record.parameters)], faulty)
    if record:  # the learning curve tells times, so it has other bytes now; what the record says else stays
        again = record.model_copy(update={"tables": again.tables})
        storage.write_atomically(scratch / "runs" / name / RUN_NAME, again.to_json())
    return put_differing([parameters, *tables, made(folder / RUN_NAME, scratch / "runs" / name / RUN_NAME)])


def _how_trained(folder: Place, record: RunRecord | None) -> tuple[TrainingConfig, str, str]:
    """Return the configuration, the data set and the device of a run; the parameters' file says the most of it too."""
    if record:
        return record.config, record.dataset_id, device_of(record)
    path = folder / PARAMETERS_NAME
    if storage.length(path) is None:
        raise CorruptArtefact(f"neither {folder / RUN_NAME} nor {path} is there: delete {folder} and train again")
    about = decode_carried(path.read_bytes(), str(path))
    try:
        config = TrainingConfig.model_validate_json(json.dumps(about["config"]))
        return config, _dataset_named(folder, about["dataset_digest"]), "auto"
    except (KeyError, ValueError) as problem:
        raise CorruptArtefact(f"{path} does not say how it was trained: {problem}") from None


def _dataset_named(folder: Place, digest: str) -> str:
    parent = folder.parent.parent / "datasets"
    for each in storage.folders_with(parent, MANIFEST_NAME):
        if load_manifest(each)[1] == digest:
            return each.name
    raise CorruptArtefact(f"the data set of {folder.name}, SHA-256 {digest}, is not in {parent}")


def _known_digest(workspace: Place, folder: Place, record: RunRecord | None) -> str | None:
    """Return the digest that the parameters must have, if a record says it."""
    if record:
        return record.parameters.sha256
    path = folder / EVALUATION_NAME
    try:
        return EvaluationRecord.load(path).model_digest
    except (CorruptArtefact, FileNotFoundError):
        return None


def _check_same_model(again: Made, digest: str | None) -> None:
    """Refuse parameters that are not those that were; where no record says, those that stand there must agree."""
    if stands(again) if digest is None else again.info.sha256 == digest:
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
    """Evaluate again, by trusted slicings. Where the record is lost, so are the places of the user's own."""
    folder = workspace / "runs" / name
    run = load_run(folder)
    dataset = Dataset(workspace / "datasets" / run.dataset_id, *check_dataset(workspace / "datasets" / run.dataset_id))
    path = folder / EVALUATION_NAME
    record = None if str(path) in faulty else load_evaluation(workspace, run)
    slicings = slicings_of(record, trusted) if record else _usual(workspace, name)
    again = remake_evaluation(run, folder, dataset, slicings, scratch)
    files = [
        made(file.folder(workspace, name) / file.name, file.folder(scratch, name) / file.name) for file in again.tables
    ]
    if record:
        recorded = [(file.folder(workspace, name) / file.name, file) for file in record.tables]
        return put_named(files, recorded, faulty)
    return put_differing([*files, made(path, scratch / "runs" / name / EVALUATION_NAME)])


def _usual(workspace: Place, name: str) -> Slicings:
    """Return the built-in slicings, if the table shows no others."""
    path = workspace / partition("slices", name) / "slices.parquet"
    try:
        found = set(read_table(path).column("slicing").to_pylist())
    except (CorruptArtefact, FileNotFoundError, KeyError):
        found = set()
    if found - set(SLICINGS):
        raise CorruptArtefact(
            f"{name} was evaluated by slicings of your own ({', '.join(sorted(found - set(SLICINGS)))}), and only the "
            f"record said where their functions are: `backbeam evaluate {name} --slice NAME=MODULE:FUNCTION` does it"
        )
    return dict(SLICINGS)


def _runs_named(table: Place) -> tuple[str, ...]:
    """Read which runs a group has off its table, which nothing vouches for; raises CorruptArtefact."""
    try:
        return _RUN_IDS.validate_python(read_table(table).column("run_ids")[0].as_py())
    except (KeyError, IndexError, ValueError):
        raise CorruptArtefact(f"{table} does not name runs: `backbeam run --seeds` sums them up again") from None


def mend_group(workspace: Place, group: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Sum up again. Where the record is lost, the table says which runs the group has."""
    record = None if str(group_path(workspace, group)) in faulty else load_group(workspace, group)
    table = workspace / partition("seeds", group) / "seeds.parquet"
    names = record.run_ids if record else _runs_named(table)
    runs = [load_run(workspace / "runs" / name) for name in names]
    evaluations = [load_evaluation(workspace, run) for run in runs]
    if group_id(runs) != group:
        raise CorruptArtefact(f"{table} is of other runs than {group}: `backbeam run --seeds` sums them up again")
    if record:
        source = scratch / "seeds.parquet"
        write_table(source, group_table(runs, evaluations))
        return put_named([made(table, source)], [(table, record.table)], faulty)
    write_seeds(scratch, runs, evaluations)
    files = [made(table, scratch / partition("seeds", group) / "seeds.parquet")]
    return put_differing([*files, made(group_path(workspace, group), group_path(scratch, group))])
