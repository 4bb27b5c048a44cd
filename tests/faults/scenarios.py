"""Commands to interrupt, the workspace before and after each, and functions to compare workspaces."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from backbeam.slices import PredictedExamples
from pipeline.maintenance.findings import CheckedItem, ExpectedFile, Fault
from pipeline.maintenance.inventory import VerifyScope, take_inventory
from pipeline.maintenance.verify import verify
from pipeline.storage.cleanup import list_stale_files
from tests.earlier_formats import write_earlier
from tests.faults.fork_server import ForkServer
from tests.helpers import write_digits_with_a_bad_label

DIGITS = "DIGITS"  # a placeholder in arguments for the folder of the source
FIGURES = "figures.prom"


class Command(NamedTuple):
    """A command to interrupt."""

    arguments: tuple[str, ...]  # its arguments; the workspace is `ws` in the working directory
    after: str | None  # the command that runs before it; None to start from an empty folder
    replaces: tuple[str, ...] = ()  # patterns of the files that it may replace; all other files must stay unchanged
    damage: Callable[[Path], object] = lambda _: None  # changes the workspace before the command runs
    every: int = 1  # the slow tests interrupt it at one in so many operations
    sample: int = 0  # the same for the fast tests; 0 if only the slow tests interrupt it
    warns_about: str | None = None  # a file beside the workspace that is only warned about if it cannot be written


def _delete_a_shard_and_a_table(workspace: Path) -> None:
    for pattern in ("datasets/*/train-00001-*", "reports/confusion/*/*.parquet"):
        [path] = workspace.glob(pattern)
        path.unlink()


_SOURCE = ("--dataset", DIGITS, "--num-classes", "3", "--max-rejected", "1", "--num-shards", "2")
_TRAINING = ("--num-steps", "2000", "--checkpoint-every", "1000")

_RETRAINING = ("--shuffle-seed", "2", "--num-steps", "20", "--warm-start", "--config", "promotion.toml")

_PRUNING = ("--num-steps", "10", "--config", "retention.toml")

_REPLACED = ("slices.parquet", "evaluation.json")  # by an evaluation to which slices are added

_DELETED = ("runs/*/*", "run=*/*", "groups/*")
_PRUNED = ("champion.json", *_DELETED, "datasets/*/*", "dataset=*/*", "origins/*", "contests/*/*/*")


def is_odd(examples: PredictedExamples) -> Any:
    return examples.indices % 2 == 1


# Each command starts from the workspace of an earlier one.
COMMANDS = {
    "preprocess": Command(("preprocess", *_SOURCE), None, sample=54),
    "train": Command(("train", *_TRAINING), "preprocess", sample=120),
    "evaluate": Command(("evaluate",), "train", sample=200),
    "slices": Command(("evaluate", "--slice", "odd=tests.faults.scenarios:is_odd"), "evaluate", _REPLACED, every=3),
    "report": Command(("report",), "evaluate", sample=3),
    "report of all": Command(("report", "--all"), "promote", sample=3),
    "learn": Command(("learn",), "evaluate", sample=3),
    "validate": Command(("validate", "--config", "checks.toml"), "evaluate", ("validation.*",)),
    "seeds": Command(("run", *_SOURCE, "--num-steps", "20", "--seeds", "1-2"), "preprocess", every=11),
    "prune": Command(("prune", "--keep", "0"), "seeds", ("*",), every=11, sample=40),
    "rm": Command(("rm", "article-manual-seed1", "article-manual-seed2"), "seeds", _DELETED, every=11, sample=40),
    "promote": Command(("promote", "--force", "--why", "it must be"), "evaluate", sample=7),
    "retrain": Command(("retrain", *_SOURCE, *_RETRAINING), "promote", ("champion.json",), every=3),
    "rollback": Command(("rollback", "--to", "1"), "retrain", ("champion.json",)),
    "retention": Command(("retrain", *_SOURCE, *_PRUNING), "rollback", _PRUNED, every=29),
    "figures": Command(("run", *_SOURCE, *_TRAINING, "--metrics-file", FIGURES), "evaluate", warns_about=FIGURES),
    "repair": Command(("verify", "--repair"), "evaluate", damage=_delete_a_shard_and_a_table, every=11),
    "migrate": Command(("migrate",), "promote", ("*.json",), damage=write_earlier, sample=9),
}
_PROMOTION = "[promotion]\nminimum_gain = -1.0\nsignificance = 1.0\nlargest_class_loss = 1.0\n"
_RETENTION = f"{_PROMOTION}[retention]\nkeep = 0\n"
_CHECKS = '[validation.class_balance]\nthreshold = 0.2\nseverity = "warning"\n'


class Scenario(NamedTuple):
    """The workspace before and after a command that is not interrupted."""

    before: Path  # the folder with `ws` before the command
    files: dict[str, bytes]  # the content of each file in it
    faults: set[str]  # see `faults`, before the command
    after: dict[str, Any]  # see `artefacts`, after the command
    operations: list[str]  # a line for each operation on the disk, in order


class Scenarios:
    def __init__(self, folder: Path, server: ForkServer) -> None:
        self.source = write_digits_with_a_bad_label(folder / "digits")
        self._folder = folder
        self._server = server
        self._built: dict[str, Scenario] = {}

    def arguments(self, name: str) -> tuple[str, ...]:
        arguments = [str(self.source) if word == DIGITS else word for word in COMMANDS[name].arguments]
        return (*arguments, "--workspace", "ws")

    def find(self, name: str) -> Scenario:
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def copy(self, name: str, folder: Path) -> Path:
        return shutil.copytree(self.find(name).before, folder)

    def _build(self, name: str) -> Scenario:
        command = COMMANDS[name]
        before = self._folder / f"{name}-before"
        after = self._folder / f"{name}-after"
        if command.after:
            self.find(command.after)
            shutil.copytree(self._folder / f"{command.after}-after", before)
        else:
            before.mkdir()
        (before / "checks.toml").write_text(_CHECKS)
        (before / "promotion.toml").write_text(_PROMOTION)
        (before / "retention.toml").write_text(_RETENTION)
        command.damage(before / "ws")
        shutil.copytree(before, after)
        log = self._folder / f"{name}.txt"
        finished = self._server.run(after, self.arguments(name), f"count:{log}")
        assert finished.code == 0, finished.err
        assert not faults(after / "ws")
        assert not list_stale_files(after / "ws")
        return Scenario(
            before=before,
            files=committed(before / "ws"),
            faults=faults(before / "ws"),
            after=artefacts(after / "ws"),
            operations=log.read_text().splitlines(),
        )


def committed(workspace: Path) -> dict[str, bytes]:
    files = sorted(path for path in workspace.rglob("*") if path.is_file())
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in files}


def faults(workspace: Path) -> set[str]:
    """Return the faults that `verify` finds, without those of unfinished artefacts, which have no record."""
    if not workspace.is_dir():
        return set()
    return {str(fault) for fault in verify(VerifyScope(workspace)).faults if not _is_unfinished(fault)}


def _is_unfinished(fault: Fault) -> bool:
    records = ("manifest", "origin", "validation", "run", "evaluation", "group", "contest")
    return fault.kind == "stray" or (fault.kind in records and fault.found == "nothing")


def recorded(workspace: Path) -> dict[str, bytes]:
    """Return the content of every record of a workspace and of every file that a record names."""
    items = take_inventory(VerifyScope(workspace)) if workspace.is_dir() else []
    named = [
        item for item in items if isinstance(item, CheckedItem | ExpectedFile) and "checkpoints" not in item.path.parts
    ]
    return {item.path.relative_to(workspace).as_posix(): item.path.read_bytes() for item in named}


def artefacts(workspace: Path) -> dict[str, Any]:
    """Return the content of everything in a workspace without times, including hidden files and empty folders."""
    paths = sorted(workspace.rglob("*"))
    return {path.relative_to(workspace).as_posix(): _read_without_times(path) for path in paths}


def _read_without_times(path: Path) -> Any:
    if path.is_dir():
        return "a folder"
    if path.name == "learning_curve.parquet":
        return repr(pq.read_table(path).drop(["seconds"]).to_pylist())
    data = path.read_bytes()
    if path.parent.name == "origins":
        return _drop_times(json.loads(data))
    if "registry" in path.parts and path.suffix == ".json":
        return _drop_times(json.loads(data))
    if path.name != "run.json":
        return data
    record = json.loads(data)
    record["tables"] = [table for table in record["tables"] if table["table"] != "learning_curve"]
    return {name: value for name, value in record.items() if name not in _TIMES}


def _drop_times(content: Any) -> Any:
    """Drop the times of an entry, a pointer or an origin, and the digests that depend on them."""
    if not isinstance(content, dict):
        return content
    times = ("when", "since", "made", "previous", "record_sha256")
    return {name: _drop_times(value) for name, value in content.items() if name not in times}


_TIMES = {"seconds", "finished", "resumed_at", "record_sha256"}  # of run.json
UNIQUE = re.compile(r"\.\d+\.[0-9a-f]{32}\.tmp|[0-9a-f]{32,64}|(buckets|beam-pipeline-temp)[^/]*")


def fingerprint(workspace: Path) -> str:
    """Return a digest of what an interrupted command left, without unique names, times and temporary content."""
    entries = []
    for path in sorted(workspace.rglob("*")):
        name = UNIQUE.sub("*", path.relative_to(workspace).as_posix())
        is_temporary = "*" in name or ".temporary" in name or path.name.startswith(".")
        entries.append((name, "" if is_temporary else _read_without_times(path)))
    return hashlib.sha256(repr(sorted(entries, key=repr)).encode()).hexdigest()
