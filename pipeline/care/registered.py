"""What the registry of a workspace should hold: entries that follow each other, a pointer to the champion, contests."""

from collections.abc import Iterator

from model.errors import CorruptArtefact
from pipeline.care.faults import Expected, Fault, Item, Passed, read_record
from pipeline.places import Place
from pipeline.registry.contest import CONTEST_NAME, load_contest
from pipeline.registry.history import (
    CHAMPION_NAME,
    Entry,
    History,
    champion_path,
    entry_path,
    find_champion,
    may_stand,
    read_entries,
)
from pipeline.storage import length, list_files

_OWNER = "registry"


def list_registry(workspace: Place) -> Iterator[Item]:
    """List the files of the registry, and what is wrong with its records."""
    entries = list[Entry]()
    try:
        for entry in read_entries(workspace):
            entries.append(entry)
            path = entry_path(workspace, entry.number)
            yield Passed(path, length(path) or 0)
    except CorruptArtefact as problem:  # what comes after it cannot be judged, and neither can the pointer
        path = entry_path(workspace, len(entries) + 1)
        yield Fault("history", _OWNER, path, "the entry of that number", str(problem).removeprefix(f"{path} "))
    else:
        yield from _list_pointer(workspace, History(entries))
    answers = list_files(workspace / "registry" / "contests", "*/*/*")
    for folder in dict.fromkeys(path.parent for path in answers):
        yield from _list_contest(folder)


def _list_pointer(workspace: Place, history: History) -> Iterator[Item]:
    path = champion_path(workspace)
    if length(path) is None:
        if not may_stand(history, None):
            yield Fault("champion", _OWNER, path, "a pointer to the champion", "nothing")
        return
    found = read_record("champion", _OWNER, path, lambda: find_champion(workspace))
    if isinstance(found, Fault):
        yield found
    elif found.entry > len(history):  # the history has lost its end, and no pointer may be made of what is left
        path = entry_path(workspace, len(history) + 1)
        yield Fault("history", _OWNER, path, f"an entry up to {found.entry}, which the pointer names", "nothing")
    elif not may_stand(history, found):
        wanted = history.champion.run_id if history.champion else f"no {CHAMPION_NAME}"
        yield Fault("champion", _OWNER, path, f"{wanted}, as the history says", found.run_id)
    else:
        yield Passed(path, length(path) or 0)
        yield Expected("parameters", found.run_id, workspace / found.folder / found.parameters.name, found.parameters)


def _list_contest(folder: Place) -> Iterator[Item]:
    owner, path = f"{folder.parent.name}/{folder.name}", folder / CONTEST_NAME
    record = read_record("contest", owner, path, lambda: load_contest(folder))
    yield record if isinstance(record, Fault) else Passed(path, length(path) or 0)
    if not isinstance(record, Fault):
        for file in record.files:
            yield Expected("answers", owner, folder / file.name, file)
