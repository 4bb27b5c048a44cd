"""The registry's history, an append-only sequence of numbered entries, and the pointer to the champion.

    registry/history/00000007.json    a decision or a deletion: when, by whom and why
    registry/deletions/00000007       an empty file: the deletion of the entry was completed
    registry/champion.json            the current champion

The history is authoritative. An entry is written atomically, and only if no entry has its number; then the pointer is
replaced atomically. If a process is killed in between, the pointer is one entry behind. Every command that changes the
registry updates it first, by `load_history_and_repair_pointer`.
"""

import getpass
import os
import re
import socket
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator

from model.errors import BadUsage, CorruptArtefact, Locked
from pipeline.evaluate.evaluated_runs import find_best_run, find_latest_run
from pipeline.registry.decision import CriterionResult
from pipeline.registry.policy import Policy
from pipeline.storage.files import digest_of, list_files, read_record_bytes, write_atomically, write_if_absent
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, UtcTime, now
from pipeline.train.run_names import BEST, CHAMPION, LATEST
from pipeline.train.run_record import RunRecord

CHAMPION_NAME = "champion.json"
_ADVICE = "nothing else says what was decided: put it back from a copy"

Name = TypeVar("Name", str, str | None)


# What a deletion names: the folder of a run or data set, or the record of a group without its suffix.
StoredName = Annotated[str, StringConstraints(pattern=r"^(runs|datasets|groups)/[A-Za-z0-9][A-Za-z0-9._=-]*$")]


class Champion(VersionedRecord):
    """The champion: all that a program needs to use its model."""

    format_version: Literal[1] = 1
    version: int = Field(ge=1)  # the number of the entry that promoted the run
    entry: int = Field(ge=1)  # the number of the entry that made it the current champion; a later one after a rollback
    run_id: FileName
    folder: str  # of the run, relative to the workspace
    parameters: FileInfo  # in that folder
    dataset_id: FileName
    dataset_digest: Digest  # of the manifest of the data set that it was trained on
    since: UtcTime

    @model_validator(mode="after")
    def _is_in_the_folder_of_runs(self) -> Self:
        if self.folder != f"runs/{self.run_id}":
            raise ValueError("expected the folder of the run")
        return self


class Entry(VersionedRecord):
    """An entry of the history: a decision about a run, or a deletion."""

    format_version: Literal[1] = 1
    number: int = Field(ge=1)  # 1 for the first entry, without gaps
    action: Literal["retrain", "promote", "rollback", "prune", "rm"]
    outcome: Literal["promoted", "kept"]  # promoted if the champion changed
    forced: bool = False  # whether the run was promoted without a test of the policy
    run_id: FileName | None  # None if the data were rejected before training, and of a deletion
    dataset_id: FileName | None  # the data set whose test split was used, or that was rejected; None of a deletion
    dataset_digest: Digest | None
    deleted: tuple[StoredName, ...] = Field((), exclude_if=lambda names: not names)  # by `prune` or `rm`
    inputs: Digest | None = None  # digest of the inputs of a retraining, see `retrain`
    num_examples: Count = 0  # of the test split; 0 if it was not used
    num_correct: dict[str, Count] = Field(default_factory=dict)  # correct answers of each run that was compared
    findings: tuple[CriterionResult, ...] = ()  # results of all criteria
    reasons: tuple[str, ...]  # texts of the decisive ones
    policy: Policy | None = None
    before: FileName | None  # the champion before the entry
    champion: Champion | None  # the champion after the entry
    previous: Digest | None  # SHA-256 of the previous entry as first written; None for the first
    when: UtcTime
    who: str  # user and host
    why: str = ""  # the user's reason
    # SHA-256 of the file as an earlier version of the format wrote it, by which other records name it
    as_written: Digest | None = Field(None, exclude_if=lambda digest: digest is None)

    @model_validator(mode="after")
    def _names_the_champion(self) -> Self:
        if self.outcome == "promoted" and (self.champion is None or self.champion.entry != self.number):
            raise ValueError("a promotion names the champion that it makes")
        return self

    @model_validator(mode="after")
    def _names_a_data_set_or_what_was_deleted(self) -> Self:
        is_deletion = self.action in ("prune", "rm")
        if is_deletion is not bool(self.deleted) or is_deletion is not (self.dataset_id is None):
            raise ValueError("a deletion names what it deletes, a decision its data set")
        return self

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the run on the test split; None if it was not used."""
        num_correct = self.num_correct.get(self.run_id or "")
        return num_correct / self.num_examples if num_correct is not None and self.num_examples else None


class History(tuple[Entry, ...]):
    """All entries in order of their numbers."""

    __slots__ = ()

    @property
    def champion(self) -> Champion | None:
        """The champion after the last entry; None if there is none."""
        return self[-1].champion if self else None

    def versions(self) -> dict[int, Entry]:
        """Return the entries that created a version, by version; a rollback creates none."""
        return {entry.number: entry for entry in self if entry.outcome == "promoted" and entry.action != "rollback"}

    @property
    def last_deletion(self) -> Entry | None:
        """The last entry of a deletion; None if nothing was deleted."""
        return next((entry for entry in reversed(self) if entry.deleted), None)

    def deletions(self) -> dict[str, int]:
        """Return the number of the last entry that deletes each name; some may have been made again since."""
        return {name: entry.number for entry in self for name in entry.deleted}

    def names_since(self, number: int) -> set[str]:
        """Return the names of the runs and data sets that later entries than that one name in a decision."""
        later = [entry for entry in self if entry.number > number and not entry.deleted]
        return {f"runs/{entry.run_id}" for entry in later} | {f"datasets/{entry.dataset_id}" for entry in later}

    def lineage(self) -> list[Champion]:
        """Return the current champion and its predecessors, the current one last.

        A promotion appends a champion. A rollback removes the champions after its target; a target that an earlier
        rollback removed replaces the last champion.
        """
        lineages = [lineage for _, lineage in self._lineages()]
        return lineages[-1] if lineages else []

    def _lineages(self) -> Iterator[tuple[Entry, list[Champion]]]:
        """Yield each entry that promotes, with the lineage after it."""
        lineage: list[Champion] = []
        for entry in self:
            if entry.outcome != "promoted" or entry.champion is None:
                continue
            if entry.action == "rollback":
                versions = [champion.version for champion in lineage]
                target = entry.champion.version
                lineage = lineage[: versions.index(target) if target in versions else -1]
            lineage = [*lineage, entry.champion]
            yield entry, lineage

    def rolled_back(self) -> set[str]:
        """Return the promoted runs that a rollback removed from the lineage and that were not promoted again."""
        removed: set[str] = set()
        before: set[str] = set()
        for entry, lineage in self._lineages():
            after = {champion.run_id for champion in lineage}
            removed |= before - after
            if entry.action == "rollback" and entry.before:
                removed.add(entry.before)  # even if an earlier version of the same run stays in the lineage
            removed.discard(lineage[-1].run_id)
            before = after
        return removed


def champion_path(workspace: Place) -> Place:
    """Return the path of the pointer to the champion."""
    return workspace / "registry" / CHAMPION_NAME


def entry_path(workspace: Place, number: int) -> Place:
    """Return the path of an entry."""
    return workspace / "registry" / "history" / f"{number:08d}.json"


def deletion_mark(workspace: Place, number: int) -> Place:
    """Return the path of the empty file that says that the deletion of an entry was completed."""
    return workspace / "registry" / "deletions" / f"{number:08d}"


def load_history(workspace: Place) -> History:
    """Load all entries; raises CorruptArtefact as `read_entries` does."""
    return History(read_entries(workspace))


def read_entries(workspace: Place) -> Iterator[Entry]:
    """Yield all entries in order; raises CorruptArtefact at the first that is missing, corrupt or does not follow."""
    previous: str | None = None
    paths = list_files(workspace / "registry" / "history", "*.json")
    for number, path in enumerate((path for path in paths if re.fullmatch(r"\d{8}\.json", path.name)), 1):
        if path != entry_path(workspace, number):
            raise CorruptArtefact(f"{entry_path(workspace, number)} is missing: {path.name} follows; {_ADVICE}")
        data = read_record_bytes(path)
        entry = Entry.from_json(data, path)
        if entry.number != number or entry.previous != previous:
            raise CorruptArtefact(f"{path} does not follow the entry before it; {_ADVICE}")
        yield entry
        previous = entry.as_written or digest_of(data)


def _load_pointer(workspace: Place) -> Champion | None:
    try:
        return Champion.load(champion_path(workspace))
    except FileNotFoundError:
        return None


def find_champion(workspace: Place) -> Champion:
    """Load the pointer to the champion; raises BadUsage if there is none, CorruptArtefact if it is corrupt."""
    champion = _load_pointer(workspace)
    if champion is None:
        raise BadUsage(
            f"{workspace} has no champion yet", hint="`backbeam retrain` or `backbeam promote RUN` makes one"
        )
    return champion


def resolve_champion(workspace: Place, name: Name) -> Name:
    """Return the champion's id for the word "champion", else the name unchanged; raises as `find_champion`."""
    return find_champion(workspace).run_id if name == CHAMPION else name


def resolve_run(workspace: Place, name: Name) -> Name:
    """Return the id for one of the words "champion", "latest" and "best", else the name unchanged.

    Raises as `find_champion`, `find_latest_run` and `find_best_run`.
    """
    if name == LATEST:
        return find_latest_run(workspace).run_id
    if name == BEST:
        return find_best_run(workspace).run_id
    return resolve_champion(workspace, name)


def is_consistent_pointer(history: History, pointer: Champion | None) -> bool:
    """Return whether the pointer agrees with the last entry, or with the one before it if its writer was killed."""
    return pointer in (history.champion, History(history[:-1]).champion)


def load_history_and_repair_pointer(workspace: Place) -> History:
    """Load all entries and update the pointer if it is behind; the process must hold the lock of the workspace.

    Raises CorruptArtefact if the history is corrupt, or the pointer is ahead of it.
    """
    history = load_history(workspace)
    _update_pointer(workspace, history.champion)
    return history


def _update_pointer(workspace: Place, champion: Champion | None) -> None:
    pointer = _load_pointer(workspace)
    if pointer == champion:
        return
    if champion is None or (pointer and pointer.entry > champion.entry):  # entries at the end were lost
        raise CorruptArtefact(f"{champion_path(workspace)} names an entry that is not in the history; {_ADVICE}")
    write_atomically(champion_path(workspace), champion.to_json())


def append_entry(workspace: Place, history: History, promoted: Champion | None = None, **fields: Any) -> Entry:
    """Append an entry and update the pointer; `fields` are those of `Entry` that do not follow from the others.

    Without a promoted champion, the present one is kept. Raises Locked if another process has appended an entry.
    """
    last = history[-1] if history else None
    entry = Entry(
        number=len(history) + 1,
        outcome="promoted" if promoted else "kept",
        champion=promoted or history.champion,
        before=history.champion.run_id if history.champion else None,
        previous=(last.as_written or digest_of(last.to_json())) if last else None,
        when=now(),
        who=_user_and_host(),
        **fields,
    )
    path = entry_path(workspace, entry.number)
    # the entry before the pointer, which load_history_and_repair_pointer updates if the process is killed in between
    if not write_if_absent(path, entry.to_json()):
        raise Locked(f"{path} was written by another process meanwhile: do it again")
    _update_pointer(workspace, entry.champion)
    return entry


def next_champion(history: History, run: RunRecord, version: int | None = None) -> Champion:
    """Return a run as the champion of the next entry; a rollback gives the version that the run already has."""
    number = len(history) + 1
    return Champion(
        version=version or number,
        entry=number,
        run_id=run.run_id,
        folder=f"runs/{run.run_id}",
        parameters=run.parameters,
        dataset_id=run.dataset_id,
        dataset_digest=run.dataset_digest,
        since=now(),
    )


def rank_champions(history: History) -> list[Champion]:
    """Return the champions of the lineage, the highest accuracy at promotion first, later ones first among equals.

    Champions without an accuracy, which were promoted by force without an evaluation, are left out.
    """
    versions = history.versions()
    rated = [champion for champion in history.lineage() if versions[champion.version].accuracy is not None]
    return sorted(rated, key=lambda champion: (versions[champion.version].accuracy, champion.version), reverse=True)


def _user_and_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
