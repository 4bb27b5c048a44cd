"""How files of the registry are made again; see `mend`. The history itself cannot be."""

from pathlib import Path

from model.errors import CorruptArtefact
from pipeline import storage
from pipeline.care.replacing import made, put_differing, put_named
from pipeline.lookup import Dataset
from pipeline.manifest import check_dataset
from pipeline.places import Place
from pipeline.registry.contest import contest_folder, load_contest, write_contest
from pipeline.registry.history import CHAMPION_NAME, champion_path, load_history
from pipeline.runs import load_run
from pipeline.work import Settings


def mend_champion(workspace: Place, _: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Write the pointer again as the last entry of the history says."""
    champion, path = load_history(workspace).champion, champion_path(workspace)
    if champion is None:
        raise CorruptArtefact(f"{path}: the history names no champion: put the history back from a copy, or delete it")
    storage.write_atomically(scratch / CHAMPION_NAME, champion.to_json())
    return put_differing([made(path, scratch / CHAMPION_NAME)])


def mend_contest(workspace: Place, owner: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Ask the run's model again."""
    dataset_id, _, run_id = owner.partition("/")
    folder, again = (contest_folder(place, dataset_id, run_id) for place in (workspace, scratch))
    run, data = load_run(workspace / "runs" / run_id), workspace / "datasets" / dataset_id
    storage.write_atomically(
        scratch / "runs" / run_id / run.parameters.name, run.parameters.read(workspace / "runs" / run_id)
    )
    write_contest(Settings(scratch, ()), Dataset(data, *check_dataset(data)), run, again)
    files = [made(folder / file.name, again / file.name) for file in load_contest(again).files]
    return put_named(files, [(folder / file.name, file) for file in load_contest(folder).files], faulty)
