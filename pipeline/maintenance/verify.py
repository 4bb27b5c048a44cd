"""Verification of a workspace: every file is read once and compared with what its record says of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import BadUsage
from pipeline.evaluate.seeds import group_path
from pipeline.maintenance.findings import CheckedItem, ExpectedFile, Fault, Item, check_expected
from pipeline.maintenance.inventory import VerifyScope, take_inventory
from pipeline.progress import show_progress
from pipeline.storage.cleanup import list_stale_files
from pipeline.storage.files import list_files
from pipeline.storage.places import Place
from pipeline.storage.workspace import poll_interval

_FOLDERS = ("datasets", "runs", "reports")
_RECORDS = ("manifest", "run", "validation", "evaluation", "group")


@dataclass(frozen=True)
class VerifyResult:
    """What came of a verification.

    Attributes:
        scope: what was looked at.
        num_files: that were read, or should have been there.
        num_bytes: of those that are sound.
        faults: every file that is not what it should be, in the order of the workspace.
        leftovers: what processes that were killed left behind; nobody reads it.
    """

    scope: VerifyScope
    num_files: int
    num_bytes: int
    faults: tuple[Fault, ...]
    leftovers: tuple[Path, ...]


def find_scope(place: Place) -> VerifyScope:
    """Tell a workspace from the folder of a data set or a run in one.

    Raises:
        BadUsage: it is neither.
    """
    if _is_below(place, "datasets"):
        return VerifyScope(place.parent.parent, dataset=place.name)
    if _is_below(place, "runs"):
        return VerifyScope(place.parent.parent, run=place.name)
    if not any((place / name).is_dir() for name in _FOLDERS):
        raise BadUsage(
            f"{place} is no workspace, nor the folder of a data set or run in one: there is nothing to check"
        )
    return VerifyScope(place)


def _is_below(place: Place, name: str) -> bool:
    parts = str(place).split("/")
    return len(parts) > 2 and parts[-2] == name


def verify(scope: VerifyScope) -> VerifyResult:
    """Check everything in a scope. One shard is in memory at a time; nothing is changed.

    Raises:
        OSError: the disk does not give a file.
        StorageFailed: the store does not.
    """
    items = take_inventory(scope)
    found = list[Item]()
    with show_progress(
        "verify", len(items), "files", lambda: len(found) / max(1, len(items)), poll_interval(scope.workspace)
    ):
        for item in items:
            found.append(check(item))
    found.extend(_check_reports(scope, items))
    faults = tuple(sorted({str(item.path): item for item in found if isinstance(item, Fault)}.values(), key=_place))
    sound = [item for item in found if isinstance(item, CheckedItem)]
    stray = sum(fault.kind == "stray" for fault in faults)
    num_files = len(sound) + len(faults) - stray
    return VerifyResult(scope, num_files, sum(item.num_bytes for item in sound), faults, _leftovers(scope))


def check(item: Item) -> Fault | CheckedItem:
    """Check a file, if that is not done."""
    if not isinstance(item, ExpectedFile):
        return item
    return check_expected(item) or CheckedItem(item.path, item.info.num_bytes)


def _check_reports(scope: VerifyScope, items: Iterable[Item]) -> Iterator[Item]:
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


def _leftovers(scope: VerifyScope) -> tuple[Path, ...]:
    workspace = scope.workspace
    if not isinstance(workspace, Path) or scope.is_part:
        return ()
    return tuple(list_stale_files(workspace))


def _place(fault: Fault) -> str:
    return str(fault.path)
