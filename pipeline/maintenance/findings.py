"""Check one file of a workspace against its record: the kinds of files, the faults, and what to do about each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from model.errors import CorruptArtefact
from model.examples import decode
from pipeline.preprocess.manifest import Manifest, ShardInfo
from pipeline.preprocess.shards import sum_examples
from pipeline.storage.files import digest_of, file_digest, size_or_none
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo

R = TypeVar("R")

Kind: TypeAlias = Literal[
    "manifest",
    "shard",
    "rejected",
    "origin",
    "validation",
    "validation table",
    "run",
    "parameters",
    "training table",
    "checkpoint",
    "evaluation",
    "evaluation table",
    "group",
    "seeds table",
    "history",
    "rollback target",
    "champion",
    "contest",
    "answers",
    "stray",
]

# What the user has to do about files that `verify --repair` cannot rebuild, because no other record describes them.
REMEDIES: dict[Kind, str] = {
    "manifest": "without it the data set's files cannot be checked: delete {folder}, and give `backbeam preprocess` "
    "again with the sources and options that origins/{owner}.json names",
    "origin": "without it the data set cannot be rebuilt: `backbeam preprocess` with its options writes it again",
    "validation": "without it the table cannot be checked: delete {path}, and give `backbeam validate {owner}` again",
    "run": "without it the run's files cannot be checked: delete {folder}, and give `backbeam train` and `backbeam "
    "evaluate` again with its options",
    "checkpoint": "delete it: training resumes from an older checkpoint, or says that there is none",
    "evaluation": "without it the run's tables cannot be checked: delete {path}, and give `backbeam evaluate {owner}` "
    "again, with --slice for slices of your own",
    "group": "without it the table cannot be checked: delete {path}, and give `backbeam run --seeds` again with its "
    "options",
    "history": "without it earlier decisions are unknown: put it back from a copy",
    "rollback target": "`backbeam rollback` cannot go back to it: put {folder} back from a copy, or enter in the "
    "history that it is gone, by `backbeam rm {owner}`",
    "contest": "without it the predictions cannot be checked: delete {folder}, and the next `backbeam retrain` or "
    "`backbeam promote` that needs them predicts again",
    "stray": "no record names it: delete it if it is not wanted",
}


@dataclass(frozen=True)
class Fault:
    """A missing, damaged or unexpected file."""

    kind: Kind
    owner: str  # the id of the data set, the run or the group of runs that the file belongs to
    path: Place
    expected: str  # a phrase that describes the expected file
    found: str  # a phrase that describes the actual file

    @property
    def remedy(self) -> str | None:
        """What the user has to do; None if `verify --repair` rebuilds the file."""
        remedy = REMEDIES.get(self.kind)
        return remedy and remedy.format(path=self.path, folder=self.path.parent, owner=self.owner)

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


class ExpectedFile(NamedTuple):
    """A file that is not checked yet, and its recorded size and SHA-256; a shard has its manifest, without shards."""

    kind: Kind
    owner: str
    path: Place
    info: FileInfo
    manifest: Manifest | None = None


class CheckedItem(NamedTuple):
    """A file that was read and is intact."""

    path: Place
    num_bytes: int


Item: TypeAlias = Fault | ExpectedFile | CheckedItem


def read_record(kind: Kind, owner: str, path: Place, load: Callable[[], R]) -> R | Fault:
    """Return a record, or a fault if it is missing or damaged."""
    if size_or_none(path) is None:
        return Fault(kind, owner, path, "a record", "nothing")
    try:
        return load()
    except CorruptArtefact as problem:
        return Fault(kind, owner, path, "a sound record", str(problem).removeprefix(f"{path} ").splitlines()[0])


def check_expected(expected: ExpectedFile) -> Fault | CheckedItem:
    """Compare a file's size and SHA-256 with its record, and a shard's examples with the manifest's counts and sums.

    A shard is read into memory whole; other files are read in pieces.
    """
    kind, owner, path, info, manifest = expected
    size = size_or_none(path)
    if size != info.num_bytes:
        found = "nothing" if size is None else f"{size} bytes"
        return Fault(kind, owner, path, f"{info.num_bytes} bytes", found)
    if isinstance(info, ShardInfo) and manifest is not None:
        data = path.read_bytes()
        digest = digest_of(data)
        if digest == info.sha256:
            return _check_examples(expected, data, info, manifest)
    else:
        digest = file_digest(path)
    if digest != info.sha256:
        return Fault(kind, owner, path, f"SHA-256 {info.sha256}", digest)
    return CheckedItem(path, size)


def _check_examples(expected: ExpectedFile, data: bytes, info: ShardInfo, manifest: Manifest) -> Fault | CheckedItem:
    """Compare a shard's examples with the manifest, which may have been wrong from the start with a right digest."""
    kind, owner, path = expected[:3]
    try:
        examples = decode(data, manifest.num_pixels, path.name)
    except CorruptArtefact as problem:
        return Fault(kind, owner, path, f"{info.num_examples} examples", str(problem))
    num_classes = len(manifest.class_names)
    largest = int(examples.labels.max(initial=0))
    if largest >= num_classes:
        return Fault(kind, owner, path, f"labels below {num_classes}", str(largest))
    for name, value in sum_examples(examples, num_classes).items():
        recorded = getattr(info, name)
        if value != recorded:
            return Fault(kind, owner, path, f"{name} {recorded}", str(value))
    return CheckedItem(path, len(data))
