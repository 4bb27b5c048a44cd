"""Copies of a workspace, taken by the script of docs/operations.md while `retrain` works in it."""

import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.maintenance.inventory import VerifyScope
from pipeline.maintenance.verify import verify
from pipeline.storage import local_disk
from tests.faults.scenarios import faults, fingerprint
from tests.helpers import run_in_process
from tests.page_scripts import BASH, find_script

EVERY = 7  # a copy is begun before one in so many operations on the disk
STRIDES = (1, 5, 25)  # operations between two steps of a copy, by turns


def ordered_steps() -> list[str]:
    """Return the commands of the page's script, those of its loop once for each part."""
    script = find_script("operations.md", "Backup and restore", "for part in")
    parts, body, rest = re.fullmatch(r"for part in (.*?); do\n(.*?)done\n(.*)", script, re.DOTALL).groups()
    return [*(f"part={part}\n{body}" for part in parts.split()), rest]


# as programs that copy folders do: in the order of their names
NAMES_STEPS = [f"tar -rf backup.tar backbeam-workspace/{name}" for name in ("datasets", "origins", "registry")]
NAMES_STEPS += [f"tar -rf backup.tar backbeam-workspace/{name}" for name in ("reports", "runs")]


class Copy:
    """A copy in progress, to an archive; the operation before which its next step is due is `due`."""

    def __init__(self, archive: Path, steps: Sequence[str], due: int, stride: int) -> None:
        self.archive = archive
        self.due = due
        self._stride = stride
        self._steps = list(steps)

    def advance(self, folder: Path) -> None:
        if self._steps:
            script = self._steps.pop(0).replace("backup.tar", str(self.archive))
            script = script.replace("backbeam-workspace", "ws")
            subprocess.run([BASH, "-c", script], cwd=folder, capture_output=True, timeout=60)
            self.due += self._stride

    def finish(self, folder: Path) -> None:
        while self._steps:
            self.advance(folder)


class Copier:
    """A hook of the disk that takes copies of `ws` in a folder."""

    def __init__(self, folder: Path, archives: Path, steps: Sequence[str]) -> None:
        archives.mkdir()
        self.copies: list[Copy] = []
        self._folder = folder
        self._archives = archives
        self._steps = steps
        self._lock = threading.Lock()
        self._num_operations = 0

    def __call__(self, operation: str, path: Path) -> None:
        with self._lock:
            self._num_operations += 1
            number = self._num_operations
            if number % EVERY == 1:
                stride = STRIDES[len(self.copies) % len(STRIDES)]
                self.copies.append(Copy(self._archives / f"{number}.tar", self._steps, number, stride))
            for copy in self.copies:
                if copy.due <= number:
                    copy.advance(self._folder)


@pytest.fixture
def take_copies(scenarios, tmp_path, monkeypatch):
    """Run `retrain` and return the restored copies that differ, each a folder with `ws`."""

    def take(steps: Sequence[str]) -> list[Path]:
        folder = scenarios.copy("retrain", tmp_path / "writer")
        copier = Copier(folder, tmp_path / "archives", steps)
        monkeypatch.chdir(folder)
        with monkeypatch.context() as patch:
            patch.setattr(local_disk, "hook", copier)
            done = run_in_process(*scenarios.arguments("retrain"))
        assert done.code == 0, done.err
        different = {}
        for copy in copier.copies:
            copy.finish(folder)
            restored = tmp_path / "restored" / copy.archive.stem
            scenarios.copy("retrain", restored)
            restore(copy.archive, restored)
            different.setdefault(fingerprint(restored / "ws"), restored)
        assert len(copier.copies) > 20
        return list(different.values())

    return take


def restore(archive: Path, folder: Path) -> None:
    shutil.rmtree(folder / "ws")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")


@pytest.mark.slow
def test_a_copy_in_the_order_of_the_page_goes_on(take_copies, scenarios, server):
    """What is complete in it is sound, and the interrupted command completes the rest."""
    for folder in take_copies(ordered_steps()):
        assert not faults(folder / "ws"), folder
        rerun = server.run(folder, scenarios.arguments("retrain"))
        assert rerun.code == 0, (folder, rerun)
        assert not verify(VerifyScope(folder / "ws")).faults, folder


@pytest.mark.slow
def test_a_copy_in_the_order_of_names_lacks_files_that_its_records_name(take_copies):
    assert [folder for folder in take_copies(NAMES_STEPS) if faults(folder / "ws")]
