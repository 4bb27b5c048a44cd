"""Which files of a workspace belong to a run, a data set or a group of runs, and which of them a deletion has left."""

from collections import Counter
from collections.abc import Iterable

from model.errors import CorruptArtefact
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.preprocess.validation_config import TABLE
from pipeline.registry.history import History, deletion_mark, load_history
from pipeline.storage.file_listing import list_sizes
from pipeline.storage.files import list_files, size_or_none
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.tables import EVALUATION_TABLES, TRAINING_TABLES
from pipeline.storage.workspace import local_folder_of, table_partition
from pipeline.train.run_record import CHECKPOINTS_NAME, RUN_NAME

TEMPORARY = "temporary files"
LOCAL_COPIES = "local copies"


def record_path(workspace: Place, name: str) -> Place:
    """Return the path of the record of a run, a data set or a group."""
    kind = name.partition("/")[0]
    if kind == "groups":
        return workspace / f"{name}.json"
    return workspace / name / (RUN_NAME if kind == "runs" else MANIFEST_NAME)


def list_owned_paths(name: str) -> tuple[str, ...]:
    """Return the files and folders, relative to the workspace, that belong to a run, a data set or a group alone.

    A run's answers to other data sets, registry/contests/DATASET_ID/RUN_ID, are listed with the data set.
    """
    kind, _, owner = name.partition("/")
    if kind == "groups":
        return (f"{name}.json", table_partition("seeds", owner))
    if kind == "runs":
        partitions = (table_partition(table, owner) for table in (*EVALUATION_TABLES, *TRAINING_TABLES))
        return (name, *partitions, f"reports/pages/{owner}.html")
    validation = f"reports/{TABLE}/dataset={owner}"
    return (name, validation, f"origins/{owner}.json", f"inspect/{owner}", f"registry/contests/{owner}")


def measure(workspace: Place, names: Iterable[str]) -> Counter[str]:
    """Return the bytes of each name, and of everything else in the workspace under a name that describes it.

    For a workspace in a store, LOCAL_COPIES has the bytes of its folder on this machine.
    """
    owners = {path: name for name in names for path in list_owned_paths(name)}
    sizes = Counter[str]()
    for path, num_bytes in list_sizes(workspace).items():
        sizes[_find_owner(path, owners)] += num_bytes
    if isinstance(workspace, RemotePath):
        sizes[LOCAL_COPIES] = sum(list_sizes(local_folder_of(workspace)).values())
    return sizes


def _find_owner(path: str, owners: dict[str, str]) -> str:
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        if owner := owners.get("/".join(parts[:depth])):
            return owner
    if any(part.startswith((".temporary", ".repair", ".scratch-")) for part in parts) or path.endswith(".tmp"):
        return TEMPORARY
    if parts[0] in ("runs", "datasets") and len(parts) > 2:
        return "/".join(parts[:2])
    return {"reports": "other tables and pages", "registry": "history"}.get(parts[0], "other files")


def list_unrecorded(workspace: Place) -> frozenset[str]:
    """Return the names that the last deletion gives, that no later entry names, and that have no record any more.

    A run that is being trained again is not among them.
    """
    try:
        history = load_history(workspace)
    except CorruptArtefact:  # which `verify` reports; what was deleted is unknown then
        return frozenset()
    deletion = history.last_deletion
    names = {*deletion.deleted} - history.names_since(deletion.number) if deletion else set[str]()
    return frozenset(name for name in names if _is_unrecorded(workspace, name))


def list_interrupted(workspace: Place) -> frozenset[str]:
    """Return the names of `list_unrecorded` if their deletion was interrupted, so that files of theirs may be left."""
    names = list_unrecorded(workspace)
    return names if names and not is_completed(workspace, load_history(workspace)) else frozenset()


def is_completed(workspace: Place, history: History) -> bool:
    """Return whether the last deletion, if there is any, was completed."""
    deletion = history.last_deletion
    return deletion is None or size_or_none(deletion_mark(workspace, deletion.number)) is not None


def _is_unrecorded(workspace: Place, name: str) -> bool:
    if size_or_none(record_path(workspace, name)) is not None:
        return False
    return not (name.startswith("runs/") and any((workspace / name / CHECKPOINTS_NAME).glob("*")))


def list_left_paths(workspace: Place) -> list[Place]:
    """List the files and folders that an interrupted deletion has left, and that nothing reads."""
    names = sorted(list_interrupted(workspace))
    paths = [workspace / path for name in names for path in list_owned_paths(name)]
    answers = [path for name in names if name.startswith("runs/") for path in list_answers(workspace, "*", name[5:])]
    return [path for path in paths if path.exists() or path.is_dir()] + answers


def list_answers(workspace: Place, dataset_id: str, run_id: str) -> list[Place]:
    """List the folders of the stored answers of a run, or to a data set; * stands for any."""
    contests = workspace / "registry" / "contests"
    return sorted({path.parent for path in list_files(contests, f"{dataset_id}/{run_id}/*")}, key=str)
