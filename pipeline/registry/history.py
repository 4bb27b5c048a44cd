"""The history of the registry: numbered entries that are only added to, and the pointer to the champion.

    registry/history/00000007.json    what was decided, when, by whom and why
    registry/champion.json            the run that is the champion now

The history is the truth. An entry is put in place whole, and only if its number is not taken; then the pointer is
replaced. Whoever is broken off in between leaves an entry that the pointer does not follow yet: the next command that
works on the registry makes up for it. Readers of the pointer see the champion before or after, never half of one.
"""

import getpass
import os
import re
import socket
from collections.abc import Iterator
from typing import Any, Literal, Self, TypeAlias, overload

from pydantic import Field, model_validator

from model.errors import BadUsage, CorruptArtefact, Locked
from pipeline.registry.decision import CriterionResult
from pipeline.registry.policy import Policy
from pipeline.storage.files import digest_of, list_files, read_record, write_atomically, write_if_absent
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, Record, UtcTime, now
from pipeline.train.run_record import RunRecord

CHAMPION_NAME = "champion.json"
CHAMPION = "champion"  # names the champion, whichever run that is

Action: TypeAlias = Literal["retrain", "promote", "rollback"]
Outcome: TypeAlias = Literal["promoted", "kept"]


class Champion(Record):
    """The champion: what a program needs to know to use it. Replaced as a whole when there is another.

    Attributes:
        version: the number of the entry by which the run was promoted.
        entry: the number of the entry that made it the champion now; a later one after a rollback.
        run_id: the run.
        folder: of the run, below the workspace.
        parameters: the model's file in that folder.
        dataset_id: the data set it was trained on.
        dataset_digest: SHA-256 of that one's manifest.
        since: when it became the champion.
    """

    format_version: Literal[1] = 1
    version: int = Field(ge=1)
    entry: int = Field(ge=1)
    run_id: FileName
    folder: str
    parameters: FileInfo
    dataset_id: FileName
    dataset_digest: Digest
    since: UtcTime

    @model_validator(mode="after")
    def _lies_where_runs_do(self) -> Self:
        if self.folder != f"runs/{self.run_id}":
            raise ValueError("expected the folder of the run")
        return self


class Entry(Record):
    """What was decided once.

    Attributes:
        number: counted from 1, without gaps.
        action: which command it was.
        outcome: promoted if there is another champion now.
        forced: whether it was promoted whatever the policy says.
        run_id: the run that it is about; None where the data were refused before one was trained.
        dataset_id: the data set whose test split decided, or which was refused.
        dataset_digest: SHA-256 of its manifest.
        inputs: digest of all that a retraining looked at; None for other actions.
        num_examples: of the test split that decided; 0 where none did.
        num_correct: right answers of each run that took part.
        findings: what was looked at.
        reasons: the same in words, as far as it tipped the balance.
        policy: what was asked for; None where nothing was.
        before: the champion until then; None if there was none.
        champion: the champion from then on; None if there is none yet.
        previous: SHA-256 of the entry before; None for the first.
        when: in UTC.
        who: user and host.
        why: what the user says of it.
    """

    format_version: Literal[1] = 1
    number: int = Field(ge=1)
    action: Action
    outcome: Outcome
    forced: bool = False
    run_id: FileName | None
    dataset_id: FileName
    dataset_digest: Digest
    inputs: Digest | None = None
    num_examples: Count = 0
    num_correct: dict[str, Count] = Field(default_factory=dict)
    findings: tuple[CriterionResult, ...] = ()
    reasons: tuple[str, ...]
    policy: Policy | None = None
    before: FileName | None
    champion: Champion | None
    previous: Digest | None
    when: UtcTime
    who: str
    why: str = ""

    @model_validator(mode="after")
    def _names_the_champion(self) -> Self:
        if self.outcome == "promoted" and (self.champion is None or self.champion.entry != self.number):
            raise ValueError("a promotion names the champion that it makes")
        return self

    @property
    def accuracy(self) -> float | None:
        """Of the run that it is about, on the test split that decided."""
        right = self.num_correct.get(self.run_id or "")
        return right / self.num_examples if right is not None and self.num_examples else None


class History(tuple[Entry, ...]):
    """All entries in order, the first first."""

    __slots__ = ()

    @property
    def champion(self) -> Champion | None:
        """The champion by the last entry."""
        return self[-1].champion if self else None

    def versions(self) -> dict[int, Entry]:
        """Return the promotions by the version that they made; rollbacks make none."""
        return {entry.number: entry for entry in self if entry.outcome == "promoted" and entry.action != "rollback"}

    def line(self) -> list[Champion]:
        """Return the champions that lead to the one now: a promotion adds one, a rollback goes back to an earlier.

        A rollback to one that is not in the line, because another went back past it, puts it in the place of the last.
        """
        lines = [line for _, line in self._lines()]
        return lines[-1] if lines else []

    def _lines(self) -> Iterator[tuple[Entry, list[Champion]]]:
        """Yield each entry that promotes, with the line after it."""
        line: list[Champion] = []
        for entry in self:
            if entry.outcome != "promoted" or entry.champion is None:
                continue
            places = [place for place, each in enumerate(line) if each.version == entry.champion.version]
            if entry.action == "rollback":  # what it goes back from is left behind in any case
                del line[places[0] if places else len(line) - 1 :]
            line = [*line, entry.champion]
            yield entry, line

    def rolled_back(self) -> set[str]:
        """Return the runs that were promoted once and that a rollback went back past, unless they came again."""
        left: set[str] = set()
        before: set[str] = set()
        for entry, line in self._lines():
            now = {champion.run_id for champion in line}
            gone = {entry.before} if entry.action == "rollback" and entry.before else set[str]()
            left, before = (left | (before - now) | gone) - {line[-1].run_id}, now
        return left

    def seen(self, inputs: str) -> Entry | None:
        """Find the last entry of a retraining that looked at the same."""
        return next((entry for entry in reversed(self) if entry.inputs == inputs), None)


def champion_path(workspace: Place) -> Place:
    """Return the place of the pointer to the champion."""
    return workspace / "registry" / CHAMPION_NAME


def entry_path(workspace: Place, number: int) -> Place:
    """Return the place of an entry."""
    return workspace / "registry" / "history" / f"{number:08d}.json"


def load_history(workspace: Place) -> History:
    """Read all entries.

    Raises:
        CorruptArtefact: one is missing, not sound, or not of the chain.
    """
    return History(read_entries(workspace))


def read_entries(workspace: Place) -> Iterator[Entry]:
    """Yield all entries in order, up to the first that is not as it should be; raises CorruptArtefact for that one."""
    previous: str | None = None
    for number, path in enumerate(_entry_paths(workspace), 1):
        if path != entry_path(workspace, number):
            raise CorruptArtefact(f"{entry_path(workspace, number)} is missing: {path.name} follows; {_ADVICE}")
        data = read_record(path)
        entry = Entry.from_json(data, path)
        if entry.number != number or entry.previous != previous:
            raise CorruptArtefact(f"{path} does not follow the entry before it; {_ADVICE}")
        yield entry
        previous = digest_of(data)


_ADVICE = "nothing else says what was decided: put it back from a copy"


def _entry_paths(workspace: Place) -> list[Place]:
    paths = list_files(workspace / "registry" / "history", "*.json")
    return [path for path in paths if re.fullmatch(r"\d{8}\.json", path.name)]


def load_champion(workspace: Place) -> Champion | None:
    """Read the pointer to the champion; None if there is none. Raises CorruptArtefact if it is not sound."""
    path = champion_path(workspace)
    try:
        data = read_record(path)
    except FileNotFoundError:
        return None
    return Champion.from_json(data, path)


def find_champion(workspace: Place) -> Champion:
    """Read the pointer to the champion; raises BadUsage if there is none, CorruptArtefact if it is not sound."""
    found = load_champion(workspace)
    if found is None:
        raise BadUsage(f"{workspace} has no champion yet: `backbeam retrain` or `backbeam promote RUN` makes one")
    return found


@overload
def resolve_run(workspace: Place, wanted: str) -> str: ...


@overload
def resolve_run(workspace: Place, wanted: str | None) -> str | None: ...


def resolve_run(workspace: Place, wanted: str | None) -> str | None:
    """Return the run that a user names: "champion" stands for the champion's id, any other name for itself.

    Raises:
        BadUsage: there is no champion.
        CorruptArtefact: the pointer to the champion is not sound.
    """
    return find_champion(workspace).run_id if wanted == CHAMPION else wanted


def is_consistent_pointer(history: History, standing: Champion | None) -> bool:
    """Tell whether the pointer is as the last entry says, or as the one before, whose writer was broken off."""
    return standing in (history.champion, History(history[:-1]).champion)


def open_history(workspace: Place) -> History:
    """Read all entries, for a process that has the workspace for itself, and make the pointer follow the last.

    Raises:
        CorruptArtefact: the history is not sound, or the pointer is of another history.
    """
    history = load_history(workspace)
    _point(workspace, history.champion)
    return history


def _point(workspace: Place, champion: Champion | None) -> None:
    standing = load_champion(workspace)
    if standing == champion:
        return
    if champion is None or (standing and standing.entry > champion.entry):
        raise CorruptArtefact(f"{champion_path(workspace)} names an entry that is not in the history; {_ADVICE}")
    write_atomically(champion_path(workspace), champion.to_json())


def append(workspace: Place, history: History, **about: Any) -> Entry:
    """Add an entry and make the pointer follow it.

    Args:
        workspace: whose registry it is.
        history: all entries so far.
        about: the fields of `Entry` that do not follow from the history.

    Raises:
        Locked: another process has added one meanwhile.
    """
    last = history[-1] if history else None
    entry = Entry(
        number=len(history) + 1,
        before=history.champion.run_id if history.champion else None,
        previous=digest_of(last.to_json()) if last else None,
        when=now(),
        who=_who(),
        **about,
    )
    path = entry_path(workspace, entry.number)
    if not write_if_absent(path, entry.to_json()):
        raise Locked(f"{path} was written by another process meanwhile: do it again")
    _point(workspace, entry.champion)
    return entry


def write_champion(history: History, run: RunRecord, version: int | None = None) -> Champion:
    """Return the champion that the next entry makes of a run; a version that it has already stays."""
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


def best_first(history: History) -> list[Champion]:
    """List the champions of the line by their accuracy when they were promoted, the later of equal ones first.

    Of those that were promoted by force without a test, there is no accuracy. One that was rolled back is not in line.
    """
    versions = history.versions()
    rated = [(versions[each.version].accuracy, each.version, each) for each in history.line()]
    known = [(accuracy, version, each) for accuracy, version, each in rated if accuracy is not None]
    return [each for _, _, each in sorted(known, key=lambda rating: rating[:2], reverse=True)]


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have a number only
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
