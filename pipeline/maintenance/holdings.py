"""Read from the records what retention has to know of a workspace."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from model.errors import BadUsage
from pipeline.evaluate.seeds import load_group
from pipeline.maintenance.retention import Holdings, StoredDataset, StoredRun
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.preprocess.provenance import find_time_made
from pipeline.registry.history import History, rank_champions, resolve_champion
from pipeline.registry.policy import BEST, NONE, Policy
from pipeline.storage.files import list_files, list_folders_with
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run_folder
from pipeline.train.run_record import RUN_NAME, load_run


def read_holdings(
    workspace: Place, history: History, policy: Policy | None = None, named: Mapping[str, str] | None = None
) -> Holdings:
    """Return what a workspace holds and what it needs in any case, which the history and a policy say.

    `named` has further names that are needed, with reasons. Raises CorruptArtefact if a record is corrupt: then nothing
    says what is needed.
    """
    runs = {f"runs/{folder.name}": _read_run(folder) for folder in list_folders_with(workspace / "runs", RUN_NAME)}
    folders = list_folders_with(workspace / "datasets", MANIFEST_NAME)
    datasets = {f"datasets/{folder.name}": _read_dataset(workspace, folder) for folder in folders}
    groups = {
        f"groups/{path.stem}": tuple(f"runs/{run_id}" for run_id in load_group(workspace, path.stem).run_ids)
        for path in list_files(workspace / "groups", "*.json")
    }
    required = dict(_list_required(workspace, history, {*runs}, policy))
    return Holdings(runs, datasets, groups, {**(named or {}), **required})


def _read_run(folder: Place) -> StoredRun:
    run = load_run(folder)
    start = run.config.warm_start
    return StoredRun(f"datasets/{run.dataset_id}", run.finished, f"runs/{start.run_id}" if start else None)


def _read_dataset(workspace: Place, folder: Place) -> StoredDataset:
    parts = load_dataset(folder).manifest.parts
    made = find_time_made(workspace, folder.name)
    return StoredDataset(made, tuple(f"datasets/{part.dataset_id}" for part in parts))


def _list_required(
    workspace: Place, history: History, runs: set[str], policy: Policy | None
) -> Iterator[tuple[str, str]]:
    """Yield what the registry needs, and the reason; of several reasons the one to show comes last.

    The champion and the data sets are needed although a record is missing, so that they can be put back from a copy. An
    earlier champion that is gone is not, so that `rm` can enter its loss.
    """
    used = next((entry.policy for entry in reversed(history) if entry.policy), Policy())
    for each in (used, policy or used):
        for name in _list_references(workspace, history, runs, each):
            yield name, "reference of the policy"
    lineage = history.lineage()
    if len(lineage) > 1:
        target = f"runs/{lineage[-2].run_id}"
        if history.deletions().get(target, 0) < lineage[-2].entry:
            yield f"datasets/{lineage[-2].dataset_id}", "data set of the rollback target"
        if target in runs:
            yield target, "rollback target"
    if history.champion:
        yield f"datasets/{history.champion.dataset_id}", "data set of the champion"
        yield f"runs/{history.champion.run_id}", "champion"


def _list_references(workspace: Place, history: History, runs: set[str], policy: Policy) -> Iterable[str]:
    """Return the run that a policy compares challengers with; none if it does not exist."""
    if policy.reference == NONE:
        return ()
    if policy.reference == BEST:
        ranked = (f"runs/{champion.run_id}" for champion in rank_champions(history))
        return [name for name in ranked if name in runs][:1]
    with suppress(BadUsage):  # the policy of an earlier decision may name a run that was deleted
        return (f"runs/{find_run_folder(workspace, resolve_champion(workspace, policy.reference)).name}",)
    return ()
