"""What is not meant to stay: the names of temporary files and folders, and clearing away those of killed processes."""

import os
import uuid
from glob import escape
from pathlib import Path

from pipeline import disk

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


def list_leftovers(workspace: Path) -> list[Path]:
    """List what processes that were killed left below a workspace: temporary folders and files; nobody reads them."""
    scratch = [temporary_folder(workspace), repair_folder(workspace)]
    scratch += [*workspace.glob("datasets/.scratch-*"), *workspace.glob(".scratch-*")]  # the latter of a store's side
    files = sorted(path for path in workspace.rglob(f".*{_ENDING}") if path.is_file())
    return [*(folder for folder in scratch if folder.exists()), *files]


def clear_all(workspace: Path) -> None:
    """Delete what processes that were killed left below a workspace, which is locked.

    Temporary files of other processes that are alive stay, since a report is written without the lock.
    """
    _clear(list_leftovers(workspace))


def clear_leftovers_of(path: Path) -> None:
    """Delete what processes that were killed left of a file or folder that they were writing."""
    _clear(sorted(path.parent.glob(f".{escape(path.name)}.*{_ENDING}")))


def _clear(places: list[Path]) -> None:
    for path in places:
        if path.name.endswith(_ENDING) and _is_in_work(path):
            continue
        if path.is_dir():
            disk.delete_folder(path)
        else:
            disk.delete_file(path)


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
