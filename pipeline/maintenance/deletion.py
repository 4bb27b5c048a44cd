"""Delete runs, data sets and groups of runs with all that belongs to them, and enter it in the history.

The entry comes first, and names what is deleted. Then each record goes, without which the rest does not exist for any
reader, and then the rest. If the process is killed in between, the entry says what is left, and the next deletion
deletes that first.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from model.errors import BackbeamError, BadUsage
from pipeline.maintenance.holdings import read_holdings
from pipeline.maintenance.owned_files import is_completed, list_answers, list_unrecorded, measure, record_path
from pipeline.maintenance.retention import Holdings, choose_kept, find_obstacles
from pipeline.maintenance.retention_config import Retention
from pipeline.preprocess.dataset import find_baseline
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.preprocess.validation_config import TABLE
from pipeline.processes import received_signals
from pipeline.progress import show_message, warn
from pipeline.registry.history import (
    History,
    append_entry,
    deletion_mark,
    load_history,
    load_history_and_repair_pointer,
)
from pipeline.registry.policy import Policy
from pipeline.registry.stored_answers import ANSWERS_NAME
from pipeline.storage.cleanup import temporary_folder
from pipeline.storage.file_listing import modified_time
from pipeline.storage.files import remove_at_once, remove_file, remove_tree, write_atomically
from pipeline.storage.places import Place, RemotePath
from pipeline.storage.records import now
from pipeline.storage.tables import EVALUATION_TABLES, TRAINING_TABLES, remove_tables
from pipeline.storage.workspace import local_folder_of, temporary_files_in
from pipeline.train.run_record import RUN_NAME

if TYPE_CHECKING:
    from pipeline.registry.retrain import RetrainConfig, RetrainResult  # imports the stages


class DeletionResult(NamedTuple):
    """The names that a deletion removed, or would remove in a dry run."""

    deleted: dict[str, int]  # the bytes of each name
    entry: int | None  # the number of the history's entry; None for a dry run, or if there was nothing to delete
    failure: str | None = None  # why a retraining deleted nothing although it should


def prune(
    workspace: Place,
    rule: Retention,
    policy: Policy | None = None,
    named: Mapping[str, str] | None = None,
    why: str = "",
    dry_run: bool = False,
) -> DeletionResult:
    """Delete what a rule does not keep and nothing needs; `policy` and `named` are those of `read_holdings`.

    The process must hold the lock of the workspace, unless it is a dry run. Raises CorruptArtefact if a record is
    corrupt, StorageFailed if the disk or store refuses.
    """
    history = _open_history(workspace, dry_run)
    holdings = read_holdings(workspace, history, policy, named)
    pending = _find_pending(workspace, holdings, history)
    remaining = holdings.without(pending)
    kept = choose_kept(remaining, rule, now())
    chosen = [name for name in remaining.names if name not in kept]
    return _delete(workspace, history, (pending, chosen), dry_run, action="prune", why=why, reasons=(str(rule),))


def prune_after_retrain(
    workspace: Place, rule: Retention | None, config: "RetrainConfig", result: "RetrainResult"
) -> DeletionResult:
    """Prune after the decision of a retraining, whose run, data set and baseline are kept; without a rule, nothing.

    What a repetition would not mend, such as a corrupt record of another run, is a warning: the decision stands.
    """
    if rule is None:
        return DeletionResult({}, None)
    try:
        return prune(workspace, rule, config.policy, _name_kept_by_retrain(workspace, config, result))
    except BackbeamError as problem:
        if problem.worth_retrying or received_signals():
            raise
        text = (
            f"retention: warning: nothing was deleted, and the decision stands: {problem}; `backbeam verify` says what "
            "to do, and the next retraining deletes"
        )
        warn(text, "retention_failed", code=problem.exit_code, kind=type(problem).__name__)
        return DeletionResult({}, None, str(problem))


def _name_kept_by_retrain(workspace: Place, config: "RetrainConfig", result: "RetrainResult") -> dict[str, str]:
    """Return the names that a retraining keeps, with the reasons."""
    named = {f"datasets/{result.data.manifest.dataset_id}": "data set of the last retraining"}
    if result.entry.run_id:
        named[f"runs/{result.entry.run_id}"] = "run of the last retraining"
    baseline = find_baseline(workspace, config.baseline)
    if baseline:
        named[f"datasets/{baseline.manifest.dataset_id}"] = "baseline"
    return named


def remove(workspace: Place, wanted: Iterable[str], why: str = "", dry_run: bool = False) -> DeletionResult:
    """Delete runs and data sets by their names, such as runs/ID, and the groups of seeds that have no other run.

    Raises BadUsage, and deletes nothing, if something else needs one of them; else as `prune`.
    """
    history = _open_history(workspace, dry_run)
    holdings = read_holdings(workspace, history)
    pending = _find_pending(workspace, holdings, history)
    remaining = holdings.without(pending)
    chosen = {*wanted} - {*pending} - list_unrecorded(workspace)  # those were deleted by the same command before
    others = {*remaining.runs} - chosen
    chosen |= {group for group, runs in remaining.groups.items() if chosen & {*runs} and not others & {*runs}}
    obstacles = find_obstacles(remaining, chosen)
    if obstacles:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in obstacles.items())
        raise BadUsage(f"nothing was deleted, because these are needed:{reasons}")
    order = (*remaining.names, *sorted(chosen))
    ordered = [name for name in dict.fromkeys(order) if name in chosen]
    return _delete(workspace, history, (pending, ordered), dry_run, action="rm", why=why, reasons=())


def _open_history(workspace: Place, dry_run: bool) -> History:
    return load_history(workspace) if dry_run else load_history_and_repair_pointer(workspace)


def _find_pending(workspace: Place, holdings: Holdings, history: History) -> list[str]:
    """Return what an interrupted deletion names and nothing needs now; with a record, if that is no newer.

    A data set that was made again may still have the origin, and so the time, of the one that was deleted.
    """
    entry = history.last_deletion
    if entry is None or is_completed(workspace, history):
        return []
    times = {name: run.finished for name, run in holdings.runs.items()}
    for name, dataset in holdings.datasets.items():
        times[name] = max(dataset.written, modified_time(workspace / name / MANIFEST_NAME))
    whole = [name for name in holdings.names if name in entry.deleted and times.get(name, "") <= entry.when]
    names = [*whole, *sorted(list_unrecorded(workspace))]
    obstacles = find_obstacles(holdings, names)
    return [name for name in names if name not in obstacles]


def _delete(
    workspace: Place, history: History, names: tuple[list[str], list[str]], dry_run: bool, **entry: Any
) -> DeletionResult:
    """Delete what is pending, and what was chosen after an entry of the history about it."""
    pending, chosen = names
    every = [*pending, *chosen]
    if not every:
        return DeletionResult({}, None)
    sizes = measure(workspace, every)
    deleted = {name: sizes[name] for name in every}
    if dry_run:
        return DeletionResult(deleted, None)
    number = None
    if chosen:
        about: dict[str, Any] = {"run_id": None, "dataset_id": None, "dataset_digest": None, "deleted": tuple(every)}
        number = append_entry(workspace, history, **about, **entry).number
    with temporary_files_in(workspace):
        for name in every:
            _delete_one(workspace, name)
            show_message(f"deleted {name}")
    completed = number or (history.last_deletion.number if history.last_deletion else None)
    if completed:
        write_atomically(deletion_mark(workspace, completed), b"")
    return DeletionResult(deleted, number)


def _delete_one(workspace: Place, name: str) -> None:
    kind, _, owner = name.partition("/")
    kinds: dict[str, Callable[[Place, str], None]] = {
        "groups": _delete_group,
        "runs": _delete_run,
        "datasets": _delete_dataset,
    }
    kinds[kind](workspace, owner)


def _delete_group(workspace: Place, group: str) -> None:
    remove_file(record_path(workspace, f"groups/{group}"))
    remove_tables(workspace, group, ("seeds",))


def _delete_run(workspace: Place, run_id: str) -> None:
    _hide_and_delete(workspace, f"runs/{run_id}", RUN_NAME)
    remove_tables(workspace, run_id, (*EVALUATION_TABLES, *TRAINING_TABLES))
    remove_file(workspace / "reports" / "pages" / f"{run_id}.html")
    _delete_answers(workspace, "*", run_id)


def _delete_dataset(workspace: Place, dataset_id: str) -> None:
    _hide_and_delete(workspace, f"datasets/{dataset_id}", MANIFEST_NAME)
    _hide_and_delete(workspace, f"reports/{TABLE}/dataset={dataset_id}")
    remove_file(workspace / "origins" / f"{dataset_id}.json")
    _delete_answers(workspace, dataset_id, "*")
    for folder in (f"inspect/{dataset_id}", f"registry/contests/{dataset_id}"):
        remove_tree(workspace / folder)
    if isinstance(workspace, RemotePath):
        remove_tree(local_folder_of(workspace) / "datasets" / dataset_id)


def _delete_answers(workspace: Place, dataset_id: str, run_id: str) -> None:
    """Delete the stored answers of a run, or to a data set; * stands for any."""
    for folder in list_answers(workspace, dataset_id, run_id):
        owner = f"{folder.parent.name}/{folder.name}"
        _hide_and_delete(workspace, f"registry/contests/{owner}", ANSWERS_NAME)


def _hide_and_delete(workspace: Place, folder: str, record: str | None = None) -> None:
    hidden = temporary_folder(local_folder_of(workspace)) / "deleted"
    remove_at_once(workspace / folder, hidden, record)
