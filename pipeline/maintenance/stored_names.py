"""Find the runs and data sets that a user names to delete them."""

from model.errors import BadUsage
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.registry.history import History, load_history, resolve_run
from pipeline.storage.files import list_folders_with
from pipeline.storage.places import Place
from pipeline.storage.workspace import explain_match, match_ids
from pipeline.train.run_names import find_named
from pipeline.train.run_record import RUN_NAME


def find_stored(workspace: Place, wanted: str) -> str:
    """Return the name, runs/ID or datasets/ID, of a run or data set: by that, its id, its beginning or a run's name.

    Also found are an earlier champion whose run is gone, and what the last deletion names, so that an interrupted one
    can be repeated. Raises BadUsage if the name is empty, none matches or several do; CorruptArtefact as `find_named`
    does.
    """
    if not wanted:  # every id begins with it, so it would find the only one
        raise BadUsage(
            "the name of what to delete is empty, expected that of a run or data set: `backbeam du` lists them"
        )
    history = load_history(workspace)
    existing = {
        parent: [folder.name for folder in list_folders_with(workspace / parent, record)]
        for parent, record in (("runs", RUN_NAME), ("datasets", MANIFEST_NAME))
    }
    names = [f"{parent}/{owner}" for parent, owners in existing.items() for owner in owners]
    gone = [name for name in _list_gone(history) if name not in names]
    if wanted in (*names, *gone):
        return wanted
    word = resolve_run(workspace, wanted)
    matching = [f"{parent}/{owner}" for parent, owners in existing.items() for owner in match_ids(owners, word)]
    matching = matching or [f"runs/{run_id}" for run_id in find_named(workspace, word)]
    matching = matching or [name for name in gone if match_ids([name.partition("/")[2]], word)]
    if len(matching) == 1:
        return matching[0]
    raise BadUsage(explain_match(workspace, wanted, "run or data set", bool(matching), matching or names))


def _list_gone(history: History) -> list[str]:
    deletion = history.last_deletion
    deleted = [name for name in (deletion.deleted if deletion else ()) if not name.startswith("groups/")]
    versions = [f"runs/{entry.run_id}" for entry in history.versions().values()]
    return list(dict.fromkeys([*deleted, *versions]))
