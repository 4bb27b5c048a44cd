"""Verify a workspace: read every file once and compare it with its record. Nothing is changed; see `repair`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from model.errors import BadUsage
from pipeline.evaluate.seeds import group_path
from pipeline.maintenance.findings import CheckedItem, ExpectedFile, Fault, Item, check_expected
from pipeline.maintenance.inventory import VerifyScope, take_inventory
from pipeline.maintenance.owned_files import list_interrupted, list_left_paths
from pipeline.progress import show_progress
from pipeline.storage.cleanup import list_stale_files
from pipeline.storage.files import list_files
from pipeline.storage.places import Place
from pipeline.storage.workspace import poll_interval

_FOLDERS = ("datasets", "runs", "reports")  # a workspace has at least one of them
_RECORDS = ("manifest", "run", "validation", "evaluation", "group")  # the kinds that name files in `reports`


@dataclass(frozen=True)
class VerifyResult:
    """The result of a verification."""

    scope: VerifyScope
    num_files: int  # intact, damaged and missing ones
    num_bytes: int  # of the intact files
    faults: tuple[Fault, ...]  # one for each path, sorted by path
    leftovers: tuple[Place, ...]  # temporary files of killed processes and of their deletions, which nothing reads


# Given a workspace, return what `check_expected` does for each file, in order.
CheckFunction: TypeAlias = Callable[[Place, list[ExpectedFile]], list[Fault | CheckedItem]]


def find_scope(place: Place) -> VerifyScope:
    """Return the scope of a path, a workspace or the folder of a data set or run in one; else raises BadUsage."""
    parent = str(place).rpartition("/")[0].rpartition("/")[2]  # empty for a bucket, which has no `Place.parent`
    if parent in ("datasets", "runs"):
        return VerifyScope(place.parent.parent, parent, place.name)
    if not any((place / name).is_dir() for name in _FOLDERS):
        raise BadUsage(
            f"{place} is no workspace, nor the folder of a data set or run in one: there is nothing to check"
        )
    return VerifyScope(place)


def verify(scope: VerifyScope, check: CheckFunction | None = None) -> VerifyResult:
    """Check every file in a scope; check is by default `check_in_order`.

    Raises OSError if the disk cannot read a file, StorageFailed if the store cannot, and what check raises.
    """
    workspace = scope.workspace
    items = take_inventory(scope)
    results = iter((check or check_in_order)(workspace, [item for item in items if isinstance(item, ExpectedFile)]))
    checked = [next(results) if isinstance(item, ExpectedFile) else item for item in items]
    checked.extend(_find_unnamed_tables(scope, items))
    faults = {str(item.path): item for item in checked if isinstance(item, Fault)}
    intact = [item for item in checked if isinstance(item, CheckedItem)]
    num_stray = sum(fault.kind == "stray" for fault in faults.values())
    return VerifyResult(
        scope=scope,
        num_files=len(intact) + len(faults) - num_stray,
        num_bytes=sum(item.num_bytes for item in intact),
        faults=tuple(faults[path] for path in sorted(faults)),
        leftovers=() if scope.owner is not None else _list_leftovers(workspace),
    )


def check_in_order(workspace: Place, files: list[ExpectedFile]) -> list[Fault | CheckedItem]:
    """Check files one after the other, with one shard in memory at a time."""
    checked = list[Fault | CheckedItem]()
    interval = poll_interval(workspace)
    with show_progress("verify", len(files), "files", lambda: len(checked) / max(1, len(files)), interval):
        for file in files:
            checked.append(check_expected(file))
    return checked


def _list_leftovers(workspace: Place) -> tuple[Place, ...]:
    stale = list_stale_files(workspace) if isinstance(workspace, Path) else []
    return (*stale, *list_left_paths(workspace))


def _find_unnamed_tables(scope: VerifyScope, items: Iterable[Item]) -> Iterator[Fault]:
    """Yield a fault for each table file that no record names, since readers of the tables would count its rows.

    Files of an owner whose record is damaged are left out: they may be intact, and the record is a fault already.
    Those of an owner that was deleted are left out too.
    """
    named = {str(item.path) for item in items}
    unknown = {item.owner for item in items if isinstance(item, Fault) and item.kind in _RECORDS}
    unknown |= {name.partition("/")[2] for name in list_interrupted(scope.workspace)}
    for path in list_files(scope.workspace / "reports", "*/*/*.parquet"):
        table = path.parent.parent.name
        owner = path.parent.name.partition("=")[2]
        if str(path) in named or owner in unknown or scope.owner not in (None, owner):
            continue
        if table == "seeds":
            yield Fault("group", owner, group_path(scope.workspace, owner), f"the record of {path}", "nothing")
        else:
            yield Fault("stray", owner, path, "nothing: no record names it", "a file")
