"""Names of temporary files, their cleanup after crashes, and the check that a workspace holds no links."""

import os
import uuid
from collections.abc import Iterator
from glob import escape
from itertools import islice
from pathlib import Path

from model.errors import CorruptArtefact
from pipeline.progress import escape_to_one_line
from pipeline.storage.local_disk import delete_file, delete_folder
from pipeline.storage.places import Place

_SUFFIX = ".tmp"


def temporary_name(path: Path) -> Path:
    """Return a unique name, in the same folder, under which a file or folder is written before it is renamed."""
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}{_SUFFIX}")


def temporary_folder(workspace: Path) -> Path:
    """Return the folder of a workspace's temporary files."""
    return workspace / ".temporary"


def repair_folder(workspace: Path) -> Path:
    """Return the folder where corrupt files are rebuilt."""
    return workspace / ".repair"


def list_stale_files(workspace: Path) -> list[Path]:
    """List the temporary folders and files that killed processes left in a workspace."""
    folders = [temporary_folder(workspace), repair_folder(workspace)]
    # The second pattern matches the local folder of a workspace in a store; see `workspace.scratch_folder_of`.
    folders += [*workspace.glob("datasets/.scratch-*"), *workspace.glob(".scratch-*")]
    files = sorted(path for path in workspace.rglob(f".*{_SUFFIX}") if path.is_file())
    return [*(folder for folder in folders if folder.exists()), *files]


def remove_stale_files(workspace: Path) -> None:
    """Delete the temporary files that killed processes left in a workspace, whose lock this process holds."""
    _remove_unless_in_use(list_stale_files(workspace))


def remove_stale_files_of(path: Path) -> None:
    """Delete the temporary files that killed processes left while they wrote a file or folder."""
    _remove_unless_in_use(sorted(path.parent.glob(f".{escape(path.name)}.*{_SUFFIX}")))


def _remove_unless_in_use(paths: list[Path]) -> None:
    for path in paths:
        if path.name.endswith(_SUFFIX) and _is_in_use(path):  # reports are written without the lock
            continue
        if path.is_dir():
            delete_folder(path)
        else:
            delete_file(path)


def _is_in_use(temporary: Path) -> bool:
    """Return whether the process id in a temporary name is that of another live process."""
    process_id = temporary.name.split(".")[-3]
    # Containers reuse ids: a file with this process's own id is from an earlier container.
    if not process_id.isdecimal() or int(process_id) == os.getpid():
        return False
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # a process of another user; a number that is not a process id
        return True
    return True


# Only these entries of a workspace are checked: users may keep other files beside them.
_CHECKED_FOLDERS = ("datasets", "runs", "reports", "origins", "groups", "inspect", "registry")

# Their content is not checked: engines write what they like to the folders.
_CHECKED_ENTRIES = (
    *(".lock", ".lock-holder.json", ".schedule-lock", ".schedule-lock-holder.json", "schedule.json"),
    *("schedule-health.json", "engine.log", ".temporary", ".repair"),
)

_MAX_LISTED = 10


def refuse_links(workspace: Place) -> None:
    """Raise CorruptArtefact if a workspace holds a symbolic link, a device or another special file."""
    if not isinstance(workspace, Path) or not workspace.is_dir():
        return
    special = list(islice(_find_special_files(workspace), _MAX_LISTED + 1))
    if special:
        listed = ", ".join(map(escape_to_one_line, special[:_MAX_LISTED]))
        more = " and more" if len(special) > _MAX_LISTED else ""
        raise CorruptArtefact(
            f"{listed}{more}: expected a plain file or folder, found a link or a device: nothing in a workspace may be "
            "one, so nothing was read or written; put in its place what it points to, or delete it"
        )


def _find_special_files(workspace: Path) -> Iterator[str]:
    pending = [str(workspace)]
    while pending:
        folder = pending.pop()
        for entry in _list_entries(folder):
            if folder == str(workspace) and entry.name not in (*_CHECKED_FOLDERS, *_CHECKED_ENTRIES):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _CHECKED_ENTRIES:
                    pending.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                yield entry.path


def _list_entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, PermissionError):  # deleted by another process in the meantime; not readable
        return []
