"""List the files that the records of a workspace name, which `verify` reads, and the faults of the records."""

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass

from model.errors import CorruptArtefact
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, load_evaluation
from pipeline.evaluate.seeds import group_path, load_group
from pipeline.maintenance.findings import CheckedItem, ExpectedFile, Fault, Item, Kind, R, read_record
from pipeline.maintenance.owned_files import list_interrupted
from pipeline.preprocess.dataset import Dataset, check_parts, load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest
from pipeline.preprocess.provenance import load_origin, origin_path
from pipeline.preprocess.validation_config import TABLE, VALIDATION_NAME, load_validation, table_folder
from pipeline.registry.history import (
    CHAMPION_NAME,
    Entry,
    History,
    champion_path,
    entry_path,
    find_champion,
    is_consistent_pointer,
    read_entries,
)
from pipeline.registry.stored_answers import ANSWERS_NAME, load_answers_record
from pipeline.storage.files import list_files, size_or_none
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo
from pipeline.storage.tables import EVALUATION_TABLES, TableFile
from pipeline.storage.workspace import table_partition
from pipeline.train.run_record import CHECKPOINTS_NAME, RUN_NAME, RunRecord, load_run

_OWNER = "registry"  # of the faults of the registry's own records


@dataclass(frozen=True)
class VerifyScope:
    """What to verify: a workspace, or one data set or run of it."""

    workspace: Place
    parent: str | None = None  # datasets or runs if only one of them is verified
    owner: str | None = None  # its id


def take_inventory(scope: VerifyScope) -> list[Item]:
    """List every file that a record in the scope names, and every fault of the records."""
    workspace = scope.workspace
    if scope.owner is not None:
        return list((list_dataset if scope.parent == "datasets" else list_run)(workspace, scope.owner))
    deleted = list_interrupted(workspace)  # what an interrupted deletion has left of them is no fault
    datasets = [name for name in _list_ids(workspace / "datasets") if f"datasets/{name}" not in deleted]
    items = [item for name in datasets for item in list_dataset(workspace, name)]
    runs = [name for name in _list_ids(workspace / "runs") if f"runs/{name}" not in deleted]
    items += [item for name in runs for item in list_run(workspace, name)]
    groups = [path.stem for path in list_files(workspace / "groups", "*.json")]
    items += [item for name in groups for item in list_group(workspace, name)]
    # the champion's parameters are listed with its run already, and must not be read and counted twice
    return [*items, *(item for item in list_registry(workspace, deleted) if item not in items)]


def _list_ids(parent: Place) -> list[str]:
    """List the folders that contain a file, if only to find its record missing; hidden ones are temporary."""
    return sorted({path.parent.name for path in list_files(parent, "*/*") if not path.parent.name.startswith(".")})


def _list_record(kind: Kind, owner: str, path: Place, load: Callable[[], R]) -> Generator[Item, None, R | None]:
    """Yield a record as a checked file, or its fault; return the record if it is intact."""
    record = read_record(kind, owner, path, load)
    if isinstance(record, Fault):
        yield record
        return None
    yield _checked(path)
    return record


def _checked(path: Place) -> CheckedItem:
    return CheckedItem(path, size_or_none(path) or 0)


def list_dataset(workspace: Place, dataset_id: str) -> Iterator[Item]:
    """List the files of a data set, its origin record and its validation."""
    folder = workspace / "datasets" / dataset_id
    path = folder / MANIFEST_NAME
    dataset = yield from _list_record("manifest", dataset_id, path, lambda: load_dataset(folder))
    origin = origin_path(workspace, dataset_id)
    yield from _list_record("origin", dataset_id, origin, lambda: load_origin(workspace, dataset_id))
    if dataset is None:
        return
    if dataset.manifest.parts:
        try:
            check_parts(dataset)
        except CorruptArtefact as problem:
            yield Fault("manifest", dataset_id, path, "the parts that it names", str(problem))
    else:
        yield from _list_own_files(folder, dataset.manifest)
    yield from _list_validation(workspace, dataset)


def _list_own_files(folder: Place, manifest: Manifest) -> Iterator[Item]:
    """List shards and the table of rejected examples."""
    owner = manifest.dataset_id
    small = manifest.without_shards()
    for split in manifest.splits.values():
        for shard in split.shards:
            yield ExpectedFile("shard", owner, folder / shard.name, shard, small)
    if manifest.rejected:
        yield ExpectedFile("rejected", owner, folder / manifest.rejected.name, manifest.rejected)
    named = {file.name for file in manifest.files()}
    for path in list_files(folder, "*.tfrecord"):
        if path.name not in named:  # users read shards by pattern
            yield Fault("stray", owner, path, "nothing: the manifest does not name it", "a file")


def _list_validation(workspace: Place, dataset: Dataset) -> Iterator[Item]:
    dataset_id = dataset.manifest.dataset_id
    path = dataset.folder / VALIDATION_NAME
    table = table_folder(workspace, dataset_id)
    if size_or_none(path) is None:
        if any(table.glob("*.parquet")):
            yield Fault("validation", dataset_id, path, f"the record of what {table} holds", "nothing")
        return
    record = yield from _list_record("validation", dataset_id, path, lambda: load_validation(dataset))
    if record:
        yield ExpectedFile("validation table", dataset_id, table / f"{TABLE}.parquet", record.table)


def list_run(workspace: Place, run_id: str) -> Iterator[Item]:
    """List the files of a run and of its evaluation, and its partition of every table."""
    folder = workspace / "runs" / run_id
    path = folder / RUN_NAME
    checkpoints = list(_list_checkpoints(folder))
    yield from checkpoints
    if checkpoints and size_or_none(path) is None:  # interrupted: the next `train` resumes it, so it is no fault
        return
    run = yield from _list_record("run", run_id, path, lambda: load_run(folder))
    if run is None:
        return
    yield from _check_dataset_of(workspace, run)
    for file in run.parameter_files:
        yield ExpectedFile("parameters", run_id, folder / file.name, file)
    yield from _list_tables("training table", workspace, run_id, run.tables)
    path = folder / EVALUATION_NAME
    if size_or_none(path) is None:
        partitions = (workspace / table_partition(table, run_id) for table in EVALUATION_TABLES)
        if any(any(partition.glob("*.parquet")) for partition in partitions):
            yield Fault("evaluation", run_id, path, "the record of the run's tables in reports", "nothing")
        return
    evaluation = yield from _list_record("evaluation", run_id, path, lambda: load_evaluation(workspace, run))
    yield from _list_tables("evaluation table", workspace, run_id, evaluation.tables if evaluation else [])


def _list_checkpoints(folder: Place) -> Iterator[Item]:
    """List the checkpoints of an interrupted run; the name of each contains its SHA-256."""
    for path in list_files(folder / CHECKPOINTS_NAME, "*.safetensors"):
        digest = path.stem.rpartition("-")[2]
        if re.fullmatch("[0-9a-f]{64}", digest):
            info = FileInfo(name=path.name, num_bytes=size_or_none(path) or 0, sha256=digest)
            yield ExpectedFile("checkpoint", folder.name, path, info)
        else:
            yield Fault("checkpoint", folder.name, path, "a name that states the SHA-256 of its bytes", path.name)


def list_group(workspace: Place, group: str) -> Iterator[Item]:
    """List the files of a group of runs: its record and its table."""
    path = group_path(workspace, group)
    record = yield from _list_record("group", group, path, lambda: load_group(workspace, group))
    yield from _list_tables("seeds table", workspace, group, [record.table] if record else [])


def _check_dataset_of(workspace: Place, run: RunRecord) -> Iterator[Fault]:
    """Yield a fault if the data set of a run is missing or has another digest: then the run cannot be used."""
    folder = workspace / "datasets" / run.dataset_id
    path = folder / MANIFEST_NAME
    if size_or_none(path) is None:
        yield Fault("manifest", run.dataset_id, path, f"the data set of {run.run_id}", "nothing")
        return
    found = read_record("manifest", run.dataset_id, path, lambda: load_dataset(folder))
    if not isinstance(found, Fault) and found.digest != run.dataset_digest:
        yield Fault("manifest", run.dataset_id, path, f"SHA-256 {run.dataset_digest}, as {run.run_id} names", "another")


def _list_tables(kind: Kind, workspace: Place, owner: str, tables: Iterable[TableFile]) -> Iterator[ExpectedFile]:
    for table in tables:
        yield ExpectedFile(kind, owner, table.folder(workspace, owner) / table.name, table)


def list_registry(workspace: Place, deleted: Collection[str] = ()) -> Iterator[Item]:
    """List the files of the registry, and the faults of its records, without answers of or to what was deleted."""
    entries = list[Entry]()
    try:
        for entry in read_entries(workspace):
            entries.append(entry)
            yield _checked(entry_path(workspace, entry.number))
    except CorruptArtefact as problem:  # each entry names the digest of the one before, so later ones cannot be checked
        path = entry_path(workspace, len(entries) + 1)
        yield Fault("history", _OWNER, path, "the entry of that number", str(problem).removeprefix(f"{path} "))
    else:
        yield from _list_pointer(workspace, History(entries))
        yield from _list_lost_targets(workspace, History(entries))
    answers = list_files(workspace / "registry" / "contests", "*/*/*")
    for folder in dict.fromkeys(path.parent for path in answers):
        if not {f"datasets/{folder.parent.name}", f"runs/{folder.name}"} & {*deleted}:
            yield from _list_answers(folder)


def _list_pointer(workspace: Place, history: History) -> Iterator[Item]:
    path = champion_path(workspace)
    if size_or_none(path) is None:
        if not is_consistent_pointer(history, None):
            yield Fault("champion", _OWNER, path, "a pointer to the champion", "nothing")
        return
    found = read_record("champion", _OWNER, path, lambda: find_champion(workspace))
    if isinstance(found, Fault):
        yield found
    elif found.entry > len(history):  # the history has lost its end: a pointer rebuilt from it would be wrong
        path = entry_path(workspace, len(history) + 1)
        yield Fault("history", _OWNER, path, f"an entry up to {found.entry}, which the pointer names", "nothing")
    elif not is_consistent_pointer(history, found):
        expected = history.champion.run_id if history.champion else f"no {CHAMPION_NAME}"
        yield Fault("champion", _OWNER, path, f"{expected}, as the history says", found.run_id)
    else:
        yield _checked(path)
        parameters = workspace / found.folder / found.parameters.name
        yield ExpectedFile("parameters", found.run_id, parameters, found.parameters)


def _list_lost_targets(workspace: Place, history: History) -> Iterator[Fault]:
    """Yield a fault for each earlier champion whose run is gone although no later entry says that it was deleted."""
    deletions = history.deletions()
    current = history.champion and history.champion.run_id
    versions = {entry.run_id: number for number, entry in history.versions().items() if entry.run_id}
    for run_id, version in versions.items():
        path = workspace / "runs" / run_id / RUN_NAME
        is_deleted = deletions.get(f"runs/{run_id}", 0) > version
        if run_id != current and not is_deleted and size_or_none(path) is None:
            yield Fault("rollback target", run_id, path, f"the run of version {version}", "nothing")


def _list_answers(folder: Place) -> Iterator[Item]:
    owner = f"{folder.parent.name}/{folder.name}"
    path = folder / ANSWERS_NAME
    record = yield from _list_record("contest", owner, path, lambda: load_answers_record(folder))
    for file in record.files if record else ():
        yield ExpectedFile("answers", owner, folder / file.name, file)
