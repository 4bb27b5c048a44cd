"""What is wrong with one file of a workspace: the kinds of artefacts, and the check of each against its record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from model.errors import CorruptArtefact
from model.examples import decode
from pipeline.preprocess.manifest import Manifest, ShardInfo
from pipeline.preprocess.shards import pixel_sums
from pipeline.storage.files import digest_of, file_digest, size_or_none
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo, Record

R = TypeVar("R", bound=Record)

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
    "champion",
    "contest",
    "answers",
    "stray",
]


# What to do about a file that `verify --repair` leaves: nothing but a record says what the files it names should be.
REMEDIES: dict[Kind, str] = {
    "manifest": "lost: what the data set's files should be; delete {folder}, and give `backbeam preprocess` again with "
    "the sources and options that origins/{owner}.json names",
    "origin": "lost: where the data set came from; `backbeam preprocess` with its options writes it again",
    "validation": "lost: which checks were made; delete {path}, and give `backbeam validate {owner}` again",
    "run": "lost: what the run's files should be; delete {folder}, and give `backbeam train` and `backbeam evaluate` "
    "again with its options",
    "checkpoint": "training would go on from an older one, or says that there is none: delete it",
    "evaluation": "lost: what the run's tables should be; delete {path}, and give `backbeam evaluate {owner}` again, "
    "with --slice for slices of your own",
    "group": "lost: which runs were summed up; delete {path}, and give `backbeam run --seeds` again with its options",
    "history": "lost: what was decided; put it back from a copy",
    "contest": "lost: what the answers should be; delete {folder}, and the next `backbeam retrain` or `backbeam "
    "promote` that needs them asks the model again",
    "stray": "no record names it: delete it if it is not wanted",
}


@dataclass(frozen=True)
class Fault:
    """A file that is not what it should be.

    Attributes:
        kind: of artefact.
        owner: the id of the data set, the run or the group of runs that it belongs to.
        path: the file.
        expected: what should be there.
        found: what is.
    """

    kind: Kind
    owner: str
    path: Place
    expected: str
    found: str

    @property
    def remedy(self) -> str | None:
        """What to do about it; None if `verify --repair` makes it again."""
        remedy = REMEDIES.get(self.kind)
        return remedy and remedy.format(path=self.path, folder=self.path.parent, owner=self.owner)

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


class ExpectedFile(NamedTuple):
    """A file that a record names, still to be checked.

    Attributes:
        kind: of artefact.
        owner: as of a Fault.
        path: the file.
        info: what the record says of it.
        manifest: of a shard, the data set's.
    """

    kind: Kind
    owner: str
    path: Place
    info: FileInfo
    manifest: Manifest | None = None


class CheckedItem(NamedTuple):
    """A file that was read and is sound.

    Attributes:
        path: the file.
        num_bytes: its length.
    """

    path: Place
    num_bytes: int


Item: TypeAlias = Fault | ExpectedFile | CheckedItem


def read_record(kind: Kind, owner: str, path: Place, load: Callable[[], R]) -> R | Fault:
    """Read a record, or say what is wrong with it."""
    if size_or_none(path) is None:
        return Fault(kind, owner, path, "a record", "nothing")
    try:
        return load()
    except CorruptArtefact as problem:
        return Fault(kind, owner, path, "a sound record", str(problem).removeprefix(f"{path} ").splitlines()[0])


def check_expected(expected: ExpectedFile) -> Fault | None:
    """Check a file against its record: its size, its SHA-256 and, of a shard, what its examples add up to.

    A shard is held in memory while its examples are counted; of another file only a piece is.
    """
    kind, owner, path, info, manifest = expected
    size = size_or_none(path)
    if size is None:
        return Fault(kind, owner, path, f"{info.num_bytes} bytes", "nothing")
    if size != info.num_bytes:
        return Fault(kind, owner, path, f"{info.num_bytes} bytes", f"{size} bytes")
    if isinstance(info, ShardInfo) and manifest is not None:
        data = path.read_bytes()
        digest = digest_of(data)
        if digest == info.sha256:
            return _miscounted(expected, data, info, manifest)
    else:
        digest = file_digest(path)
    return None if digest == info.sha256 else Fault(kind, owner, path, f"SHA-256 {info.sha256}", digest)


def _miscounted(expected: ExpectedFile, data: bytes, info: ShardInfo, manifest: Manifest) -> Fault | None:
    """Count what a shard's bytes hold, whatever their digest: a manifest may be wrong where it was made wrong."""
    kind, owner, path = expected[:3]
    try:
        _, images, labels = decode(data, manifest.num_pixels, path.name)
    except CorruptArtefact as problem:
        return Fault(kind, owner, path, f"{info.num_examples} examples", str(problem))
    num_classes, largest = len(manifest.class_names), int(labels.max(initial=0))
    if largest >= num_classes:
        return Fault(kind, owner, path, f"labels below {num_classes}", str(largest))
    counts = tuple(np.bincount(labels, minlength=num_classes).tolist())
    found = (len(labels), counts, *pixel_sums(images))
    promised = (info.num_examples, info.class_counts, info.pixel_sum, info.pixel_square_sum)
    names = ("num_examples", "class_counts", "pixel_sum", "pixel_square_sum")
    for name, one, other in zip(names, promised, found, strict=True):
        if one != other:
            return Fault(kind, owner, path, f"{name} {one}", str(other))
    return None
