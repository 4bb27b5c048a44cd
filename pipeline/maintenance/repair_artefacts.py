"""Repair one artefact at a time: rebuild its files in a scratch workspace and replace the damaged ones.

Each public function takes the workspace, the id of the artefact's owner, the paths of its damaged files and an empty
scratch workspace. It returns the paths of the replaced files, and raises CorruptArtefact, or another BackbeamError, if
the artefact cannot be rebuilt; then nothing was changed.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from model.checkpoint import decode_parameters
from model.errors import CorruptArtefact
from pipeline.context import StageContext
from pipeline.evaluate.evaluation_record import load_evaluation
from pipeline.evaluate.seeds import group_table, load_group
from pipeline.evaluate.slice_config import Slicings
from pipeline.maintenance import rebuild
from pipeline.preprocess.dataset import Dataset, check_dataset, load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.preprocess.validation import write_results
from pipeline.preprocess.validation_config import ValidationRecord, load_validation, table_folder
from pipeline.registry.history import champion_path, load_history
from pipeline.registry.stored_answers import answers_folder, load_answers_record, predict_answers
from pipeline.storage.files import file_digest, list_folders_with, size_or_none, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo
from pipeline.storage.tables import TableFile, write_table
from pipeline.train.run_record import RUN_NAME, load_run, run_id


class RebuiltFile(NamedTuple):
    """A rebuilt file that is not in place yet: the path that it replaces, where it is now, and its record."""

    target: Place
    source: Place
    recorded: FileInfo


def repair_dataset(
    workspace: Place, dataset_id: str, faulty: set[str], scratch: Path, sources: tuple[str, ...]
) -> list[Place]:
    """Preprocess the source again, and replace damaged shards and the table of rejected examples.

    Sources are the places where it may be, if it is not where it was.
    """
    folder = workspace / "datasets" / dataset_id
    manifest = load_dataset(folder).manifest
    rebuilt = rebuild.rebuild_from_any(workspace, dataset_id, scratch, sources)
    return _replace_recorded_files(_pair_files(manifest.files(), folder, rebuilt.folder), faulty)


def repair_validation(workspace: Place, dataset_id: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Validate the data set again with the recorded checks, and replace the table of results."""
    dataset = check_dataset(workspace / "datasets" / dataset_id)
    record = load_validation(dataset)
    write_results(scratch, dataset, record.checks, _find_baseline(workspace, record))
    target = table_folder(workspace, dataset_id)
    return _replace_recorded_files(_pair_files([record.table], target, table_folder(scratch, dataset_id)), faulty)


def _find_baseline(workspace: Place, record: ValidationRecord) -> Dataset | None:
    """Return the data set that a validation compared with, if any; raises CorruptArtefact if it is missing."""
    if record.baseline_digest is None:
        return None
    for folder in list_folders_with(workspace / "datasets", MANIFEST_NAME):
        dataset = load_dataset(folder)
        if dataset.digest == record.baseline_digest:
            return dataset
    raise CorruptArtefact(f"the baseline of {record.dataset_id}, SHA-256 {record.baseline_digest}, is gone")


def repair_run(workspace: Place, name: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Train a run again, and replace its files of parameters and its tables.

    The parameters must have the recorded bytes. The learning curve contains times, so it never has them: if a table is
    damaged, all differing tables are replaced and the record is written again with their digests.
    """
    folder = workspace / "runs" / name
    record = load_run(folder)
    dataset = check_dataset(workspace / "datasets" / record.dataset_id)
    if run_id(dataset.digest, record.config) != name:
        raise CorruptArtefact(f"{name} was trained by other versions of backbeam or TensorFlow, or on other data")
    retrained = rebuild.rebuild_run(workspace, record, dataset, scratch)
    source = scratch / "runs" / name
    parameters = _pair_files(record.parameter_files, folder, source)
    _check_same_parameters(parameters[0])
    tables = _pair_tables(retrained.tables, workspace, name, scratch)
    if not faulty & {str(table.target) for table in tables}:
        return _replace_recorded_files(parameters, faulty)
    changed = {"tables": retrained.tables, "early_parameters": retrained.early_parameters}
    write_atomically(source / RUN_NAME, record.model_copy(update=changed).to_json())
    files = [(file.target, file.source) for file in (*parameters, *tables)]
    files.append((folder / RUN_NAME, source / RUN_NAME))  # the record last
    return _replace_files([pair for pair in files if not _are_equal(*pair)])


def _check_same_parameters(rebuilt: RebuiltFile) -> None:
    """Raise CorruptArtefact if retraining gave other parameters than the recorded ones."""
    digest = file_digest(rebuilt.source)
    if digest == rebuilt.recorded.sha256:
        return
    try:
        damaged = decode_parameters(rebuilt.target.read_bytes())
        found = rebuild.largest_difference(damaged, decode_parameters(rebuilt.source.read_bytes()))
        difference = f"by up to {found:.3g}"
    except (CorruptArtefact, FileNotFoundError):
        difference = f"SHA-256 {digest}"
    raise CorruptArtefact(
        f"{rebuilt.target}: trained again, the parameters are others ({difference}): nothing was "
        "changed. Another processor and other versions round differently, and so may a process that has trained other "
        f"networks before: try `backbeam verify --repair {rebuilt.target.parent}`, which trains this run alone"
    )


def repair_evaluation(workspace: Place, name: str, faulty: set[str], scratch: Path, trusted: Slicings) -> list[Place]:
    """Evaluate a run again, and replace damaged tables; see `trusted_slicings` for `trusted`."""
    run = load_run(workspace / "runs" / name)
    record = load_evaluation(workspace, run)
    dataset = check_dataset(workspace / "datasets" / run.dataset_id)
    rebuild.reevaluate_run(workspace, run, dataset, rebuild.trusted_slicings(record, trusted), scratch)
    return _replace_recorded_files(_pair_tables(record.tables, workspace, name, scratch), faulty)


def repair_group(workspace: Place, group: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Aggregate the evaluations of a group of runs again, and replace the table `seeds`."""
    record = load_group(workspace, group)
    runs = [load_run(workspace / "runs" / name) for name in record.run_ids]
    evaluations = [load_evaluation(workspace, run) for run in runs]
    tables = _pair_tables([record.table], workspace, group, scratch)
    write_table(tables[0].source, group_table(runs, evaluations))
    return _replace_recorded_files(tables, faulty)


def repair_champion(workspace: Place, _: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Write the pointer to the champion again, from the last entry of the history."""
    path = champion_path(workspace)
    champion = load_history(workspace).champion
    if champion is None:
        raise CorruptArtefact(f"{path}: the history names no champion: put the history back from a copy, or delete it")
    write_atomically(path, champion.to_json())
    return [path]


def repair_answers(workspace: Place, owner: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Predict a data set with a run's model again, and replace damaged predictions; the owner is DATASET_ID/RUN_ID."""
    dataset_id, _, run_id = owner.partition("/")
    folder = answers_folder(workspace, dataset_id, run_id)
    rebuilt = answers_folder(scratch, dataset_id, run_id)
    run = load_run(workspace / "runs" / run_id)
    rebuild.copy_parameters(workspace, run, scratch)
    predict_answers(StageContext(scratch, ()), check_dataset(workspace / "datasets" / dataset_id), run, rebuilt)
    return _replace_recorded_files(_pair_files(load_answers_record(folder).files, folder, rebuilt), faulty)


def _pair_files(files: Iterable[FileInfo], folder: Place, rebuilt: Place) -> list[RebuiltFile]:
    return [RebuiltFile(folder / file.name, rebuilt / file.name, file) for file in files]


def _pair_tables(tables: Iterable[TableFile], workspace: Place, owner: str, scratch: Path) -> list[RebuiltFile]:
    return [
        RebuiltFile(table.folder(workspace, owner) / table.name, table.folder(scratch, owner) / table.name, table)
        for table in tables
    ]


def _replace_recorded_files(files: Sequence[RebuiltFile], faulty: set[str]) -> list[Place]:
    """Replace the damaged files; raises CorruptArtefact if a rebuilt one does not have the recorded SHA-256."""
    chosen = [file for file in files if str(file.target) in faulty]
    for file in chosen:
        digest = file_digest(file.source)
        if digest != file.recorded.sha256:
            raise CorruptArtefact(
                f"{file.target}: made again it has SHA-256 {digest}, and its record says {file.recorded.sha256}: "
                "nothing was changed"
            )
    return _replace_files([(file.target, file.source) for file in chosen])


def _replace_files(files: Iterable[tuple[Place, Place]]) -> list[Place]:
    replaced = []
    for target, source in files:
        write_atomically(target, source.read_bytes())
        replaced.append(target)
    return replaced


def _are_equal(first: Place, second: Place) -> bool:
    return size_or_none(first) == size_or_none(second) and file_digest(first) == file_digest(second)
