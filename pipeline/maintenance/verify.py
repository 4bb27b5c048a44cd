"""Verification of a workspace: every file is read once and compared with what its record says of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import BadUsage
from pipeline.evaluate.seeds import group_path
from pipeline.maintenance.findings import Expected, Fault, Item, Passed, check_expected
from pipeline.maintenance.inventory import Scope, take_inventory
from pipeline.progress import watched
from pipeline.storage.cleanup import list_leftovers
from pipeline.storage.files import list_files
from pipeline.storage.places import Place
from pipeline.storage.workspace import poll_seconds

_FOLDERS = ("datasets", "runs", "reports")
_RECORDS = ("manifest", "run", "validation", "evaluation", "group")


@dataclass(frozen=True)
class Verified:
    """What came of a verification.

    Attributes:
        scope: what was looked at.
        num_files: that were read, or should have been there.
        num_bytes: of those that are sound.
        faults: every file that is not what it should be, in the order of the workspace.
        leftovers: what processes that were killed left behind; nobody reads it.
    """

    scope: Scope
    num_files: int
    num_bytes: int
    faults: tuple[Fault, ...]
    leftovers: tuple[Path, ...]


def find_scope(place: Place) -> Scope:
    """Tell a workspace from the folder of a data set or a run in one.

    Raises:
        BadUsage: it is neither.
    """
    if _is_below(place, "datasets"):
        return Scope(place.parent.parent, dataset=place.name)
    if _is_below(place, "runs"):
        return Scope(place.parent.parent, run=place.name)
    if not any((place / name).is_dir() for name in _FOLDERS):
        raise BadUsage(
            f"{place} is no workspace, nor the folder of a data set or run in one: there is nothing to check"
        )
    return Scope(place)


def _is_below(place: Place, name: str) -> bool:
    parts = str(place).split("/")
    return len(parts) > 2 and parts[-2] == name


def verify(scope: Scope) -> Verified:
    """Check everything in a scope. One shard is in memory at a time; nothing is changed.

    Raises:
        OSError: the disk does not give a file.
        StorageFailed: the store does not.
    """
    items = take_inventory(scope)
    found = list[Item]()
    with watched("verify", len(items), "files", lambda: len(found) / max(1, len(items)), poll_seconds(scope.workspace)):
        for item in items:
            found.append(check(item))
    found.extend(_check_reports(scope, items))
    faults = tuple(sorted({str(item.path): item for item in found if isinstance(item, Fault)}.values(), key=_place))
    sound = [item for item in found if isinstance(item, Passed)]
    stray = sum(fault.kind == "stray" for fault in faults)
    num_files = len(sound) + len(faults) - stray
    return Verified(scope, num_files, sum(item.num_bytes for item in sound), faults, _leftovers(scope))


def check(item: Item) -> Fault | Passed:
    """Check a file, if that is not done."""
    if not isinstance(item, Expected):
        return item
    return check_expected(item) or Passed(item.path, item.info.num_bytes)


def _check_reports(scope: Scope, items: Iterable[Item]) -> Iterator[Item]:
    """Look for rows that no record names: readers of the tables know nothing of records and would count them.

    Those of a run whose record is not sound may be sound; that the record is not is said already.
    """
    named = {str(item.path) for item in items}
    unknown = {item.owner for item in items if isinstance(item, Fault) and item.kind in _RECORDS}
    for path in list_files(scope.workspace / "reports", "*/*/*.parquet"):
        table, owner = path.parent.parent.name, path.parent.name.partition("=")[2]
        if str(path) in named or owner in unknown or (scope.is_part and owner not in (scope.dataset, scope.run)):
            continue
        if table == "seeds":
            yield Fault("group", owner, group_path(scope.workspace, owner), f"the record of {path}", "nothing")
        else:
            yield Fault("stray", owner, path, "nothing: no record names it", "a file")


def _leftovers(scope: Scope) -> tuple[Path, ...]:
    workspace = scope.workspace
    if not isinstance(workspace, Path) or scope.is_part:
        return ()
    return tuple(list_leftovers(workspace))


def _place(fault: Fault) -> str:
    return str(fault.path)
