"""Folders that are built once for all processes of a test session, and that no test may change."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tests.helpers import contents


class SharedFolders:
    """The folders that tests in this process have asked for; workers of pytest-xdist find each other's by name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._used: set[str] = set()

    def find(self, name: str, build: Callable[[Path], object]) -> Path:
        """Return the folder of a name; if no process has it yet, build is called with an empty one."""
        folder = self._root / name
        self._used.add(name)
        with FileLock(self._root / f"{name}.lock"):
            if not self._record(name).exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                build(folder)
                self._record(name).write_text(json.dumps(digests(folder)))
        return folder

    def check_unchanged(self) -> None:
        """Raise AssertionError if a folder that this process has asked for is not as it was built."""
        for name in sorted(self._used):
            built = json.loads(self._record(name).read_text())
            found = digests(self._root / name)
            changed = sorted(path for path in {*built, *found} if built.get(path) != found.get(path))
            assert not changed, f"a test changed the shared folder {name}, and should work on a copy: {changed[:5]}"

    def _record(self, name: str) -> Path:
        return self._root / f"{name}.json"


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents(folder).items()}
