"""What is not meant to stay: the names of temporary files and folders, and clearing away those of killed processes."""

import os
import uuid
from collections.abc import Iterator
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Any

from model.errors import CorruptArtefact
from pipeline.progress import escape_to_one_line
from pipeline.storage.local_disk import delete_file, delete_folder
from pipeline.storage.places import Place

_ENDING = ".tmp"


def temporary_name(path: Path) -> Path:
    """Return the name, used once, by which a file or folder is written before it is put in place."""
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}{_ENDING}")


def temporary_folder(workspace: Path) -> Path:
    """Return the folder of what is not meant to stay; see `local_side.temporary_files_in`."""
    return workspace / ".temporary"


def repair_folder(workspace: Path) -> Path:
    """Return the folder where what is bad is made again; see `care.repair`."""
    return workspace / ".repair"


def list_stale_files(workspace: Path) -> list[Path]:
    """List what processes that were killed left below a workspace: temporary folders and files; nobody reads them."""
    scratch = [temporary_folder(workspace), repair_folder(workspace)]
    scratch += [*workspace.glob("datasets/.scratch-*"), *workspace.glob(".scratch-*")]  # the latter of a store's side
    files = sorted(path for path in workspace.rglob(f".*{_ENDING}") if path.is_file())
    return [*(folder for folder in scratch if folder.exists()), *files]


def remove_stale_files(workspace: Path) -> None:
    """Delete what processes that were killed left below a workspace, which is locked.

    Temporary files of other processes that are alive stay, since a report is written without the lock.
    """
    _clear(list_stale_files(workspace))


def remove_stale_files_of(path: Path) -> None:
    """Delete what processes that were killed left of a file or folder that they were writing."""
    _clear(sorted(path.parent.glob(f".{escape(path.name)}.*{_ENDING}")))


def _clear(places: list[Path]) -> None:
    for path in places:
        if path.name.endswith(_ENDING) and _is_in_work(path):
            continue
        if path.is_dir():
            delete_folder(path)
        else:
            delete_file(path)


def _is_in_work(temporary: Path) -> bool:
    """Tell whether the process that a temporary name tells of is another than this one, and alive."""
    number = temporary.name.split(".")[-3]
    if not number.isdecimal() or int(number) == os.getpid():  # in containers a later process often has the same
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user; no number of a process
        return True
    return True


# What a workspace holds; a user may keep other things beside it. Below the last ones, engines put what they like.
_FOLDERS = ("datasets", "runs", "reports", "origins", "groups", "inspect", "registry")


_ALONE = (
    *(".lock", ".lock-holder.json", ".schedule-lock", ".schedule-lock-holder.json", "schedule.json"),
    *("schedule-health.json", "engine.log", ".temporary", ".repair"),
)


_MOST_NAMED = 10


def refuse_links(workspace: Place) -> None:
    """Check that a workspace holds plain files and folders only, before any of them is read or written.

    Raises:
        CorruptArtefact: it holds a symbolic link, or something else that is neither a file nor a folder.
    """
    if not isinstance(workspace, Path) or not workspace.is_dir():
        return
    found = list(islice(_find_odd(workspace), _MOST_NAMED + 1))
    if found:
        listed = ", ".join(map(escape_to_one_line, found[:_MOST_NAMED])) + (
            " and more" if len(found) > _MOST_NAMED else ""
        )
        raise CorruptArtefact(
            f"{listed}: expected a plain file or folder, found a link or a device: nothing in a workspace may be one, "
            "so nothing was read or written; put in its place what it points to, or delete it"
        )


def _find_odd(workspace: Path) -> Iterator[str]:
    waiting = [str(workspace)]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(folder):
            if folder == str(workspace) and entry.name not in (*_FOLDERS, *_ALONE):
                continue
            if not _is_plain(entry):
                yield entry.path
            elif entry.name not in _ALONE and entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _entries(folder: str) -> list[Any]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, PermissionError):  # gone meanwhile, as another process works; or nobody's to read
        return []


def _is_plain(entry: Any) -> bool:
    return bool(entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False))
