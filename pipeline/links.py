"""Links in a workspace: there are none that we made, and what one points to may be anything, so none is followed.

A workspace that came from elsewhere could otherwise have files read, replaced or deleted that are not its own. The root
itself may be a link, and so may sources: their places are the user's own words.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from model.errors import CorruptArtefact
from pipeline.harmless import one_line
from pipeline.places import Place

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
        listed = ", ".join(map(one_line, found[:_MOST_NAMED])) + (" and more" if len(found) > _MOST_NAMED else "")
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
