"""Commands to break off, the world before and after each, and what tells two worlds apart."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipeline.maintenance.findings import CheckedItem, ExpectedFile, Fault
from pipeline.maintenance.inventory import VerifyScope, take_inventory
from pipeline.maintenance.verify import verify
from pipeline.storage.cleanup import list_stale_files
from tests.faults.zygote import Zygote
from tests.helpers import Digits, labels_bytes, write_files

DIGITS = "DIGITS"  # in arguments, stands for the folder with the source


class Command(NamedTuple):
    """A command that is to be broken off.

    Attributes:
        arguments: of the command; the workspace is `ws` in the folder in which it is given.
        after: the command that makes the world before; none for an empty one.
        replaces: what it is to replace, as patterns of paths; all else that was there must stay.
        spoil: what happens to that world first.
        every: of the exhaustive sweep, which operations: each, or one in so many.
        sample: the same for the fast tests; 0 leaves it to the sweep.
    """

    arguments: tuple[str, ...]
    after: str | None
    replaces: tuple[str, ...] = ()
    spoil: Callable[[Path], object] = lambda _: None
    every: int = 1
    sample: int = 0


def _lose_a_shard_and_a_table(workspace: Path) -> None:
    for pattern in ("datasets/*/train-00001-*", "reports/confusion/*/*.parquet"):
        [path] = workspace.glob(pattern)
        path.unlink()


_SOURCE = ("--dataset", DIGITS, "--num-classes", "3", "--max-rejected", "1", "--num-shards", "2")
_TRAINING = ("--num-steps", "2000", "--checkpoint-every", "1000")

_RETRAINING = ("--shuffle-seed", "2", "--num-steps", "20", "--warm-start", "--config", "promotion.toml")

# One row a command; each starts from the world that an earlier row makes.
COMMANDS = {
    "preprocess": Command(("preprocess", *_SOURCE), None, sample=54),
    "train": Command(("train", *_TRAINING), "preprocess", sample=120),
    "evaluate": Command(("evaluate",), "train", sample=200),
    "report": Command(("report",), "evaluate", sample=3),
    "validate": Command(("validate", "--config", "checks.toml"), "evaluate", ("validation.*",)),
    "seeds": Command(("run", *_SOURCE, "--num-steps", "20", "--seeds", "1-2"), "preprocess", every=11),
    "promote": Command(("promote", "--force", "--why", "it must be"), "evaluate", sample=7),
    "retrain": Command(("retrain", *_SOURCE, *_RETRAINING), "promote", ("champion.json",), every=3),
    "rollback": Command(("rollback", "--to", "1"), "retrain", ("champion.json",)),
    "repair": Command(("verify", "--repair"), "evaluate", spoil=_lose_a_shard_and_a_table, every=11),
}
_PROMOTION = "[promotion]\nminimum_gain = -1.0\nsignificance = 1.0\nlargest_class_loss = 1.0\n"
_CHECKS = '[validation.class_balance]\nthreshold = 0.2\nseverity = "warning"\n'


class World(NamedTuple):
    """A command's world when nothing goes wrong.

    Attributes:
        before: the folder whose `ws` the command starts from.
        files: in that.
        faults: that it has, as they are told.
        after: what `ws` holds then, as `artefacts` tells it.
        operations: on the disk, in order, a line each.
    """

    before: Path
    files: dict[str, bytes]
    faults: set[str]
    after: dict[str, Any]
    operations: list[str]


class Worlds:
    """The worlds of all commands, each made when it is asked for."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        files = Digits().files()
        files["train-labels-idx1-ubyte"] = labels_bytes(np.array([7, *(np.arange(59) + 1) % 3]))  # 7 is no class
        self._folder, self._zygote, self.source = folder, zygote, write_files(folder / "digits", files)
        self._found: dict[str, World] = {}

    def arguments(self, name: str) -> tuple[str, ...]:
        named = [str(self.source) if each == DIGITS else each for each in COMMANDS[name].arguments]
        return (*named, "--workspace", "ws")

    def find(self, name: str) -> World:
        if name not in self._found:
            self._found[name] = self._make(name)
        return self._found[name]

    def copy(self, name: str, folder: Path) -> Path:
        """Make a folder with the world before a command."""
        return shutil.copytree(self.find(name).before, folder)

    def _make(self, name: str) -> World:
        command = COMMANDS[name]
        before, undisturbed = (self._folder / f"{name}-{when}" for when in ("before", "after"))
        if command.after:
            self.find(command.after)
            shutil.copytree(self._folder / f"{command.after}-after", before)
        else:
            before.mkdir()
        (before / "checks.toml").write_text(_CHECKS)
        (before / "promotion.toml").write_text(_PROMOTION)
        command.spoil(before / "ws")
        shutil.copytree(before, undisturbed)
        listed = self._folder / f"{name}.txt"
        done = self._zygote.run(undisturbed, self.arguments(name), f"count:{listed}")
        assert done.code == 0, done.err
        assert not faults(undisturbed / "ws")
        assert not list_stale_files(undisturbed / "ws")
        operations, after = listed.read_text().splitlines(), artefacts(undisturbed / "ws")
        return World(before, committed(before / "ws"), faults(before / "ws"), after, operations)


def committed(workspace: Path) -> dict[str, bytes]:
    """Every file of a workspace."""
    files = sorted(path for path in workspace.rglob("*") if path.is_file())
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in files}


def faults(workspace: Path) -> set[str]:
    """What `verify` says is wrong with what has a record: work that was not finished has none."""
    if not workspace.is_dir():
        return set()
    return {str(fault) for fault in verify(VerifyScope(workspace)).faults if not _is_unfinished(fault)}


def _is_unfinished(fault: Fault) -> bool:
    records = ("manifest", "origin", "validation", "run", "evaluation", "group", "contest")
    return fault.kind == "stray" or (fault.kind in records and fault.found == "nothing")


def recorded(workspace: Path) -> dict[str, bytes]:
    """Every record of a workspace and every file that one names."""
    items = take_inventory(VerifyScope(workspace)) if workspace.is_dir() else []
    sound = [
        item for item in items if isinstance(item, CheckedItem | ExpectedFile) and "checkpoints" not in item.path.parts
    ]
    return {item.path.relative_to(workspace).as_posix(): item.path.read_bytes() for item in sound}


def artefacts(workspace: Path) -> dict[str, Any]:
    """All that is in a workspace, hidden files and empty folders too: its bytes, but without times."""
    paths = sorted(workspace.rglob("*"))
    return {path.relative_to(workspace).as_posix(): _timeless(path) for path in paths}


def _timeless(path: Path) -> Any:
    if path.is_dir():
        return "a folder"
    if path.name == "learning_curve.parquet":
        return repr(pq.read_table(path).drop(["seconds"]).to_pylist())
    data = path.read_bytes()
    if "registry" in path.parts and path.suffix == ".json":
        return _without_times(json.loads(data))
    if path.name != "run.json":
        return data
    record = json.loads(data)
    record["tables"] = [table for table in record["tables"] if table["table"] != "learning_curve"]
    return {name: value for name, value in record.items() if name not in _TIMES}


def _without_times(content: Any) -> Any:
    """Leave out of an entry or a champion what tells times, and the digests that follow from them."""
    if not isinstance(content, dict):
        return content
    told = ("when", "since", "previous", "record_sha256")
    return {name: _without_times(value) for name, value in content.items() if name not in told}


_TIMES = {"seconds", "finished", "resumed_at", "record_sha256"}
ONCE = re.compile(r"\.\d+\.[0-9a-f]{32}\.tmp|[0-9a-f]{32,64}|(buckets|beam-pipeline-temp)[^/]*")


def fingerprint(workspace: Path) -> str:
    """Name what a broken-off command left, but for names used once, times, and torn content that nobody reads."""
    found = []
    for path in sorted(workspace.rglob("*")):
        name = ONCE.sub("*", path.relative_to(workspace).as_posix())
        unread = "*" in name or ".temporary" in name or path.name.startswith(".")
        found.append((name, "" if unread else _timeless(path)))
    return hashlib.sha256(repr(sorted(found, key=repr)).encode()).hexdigest()
