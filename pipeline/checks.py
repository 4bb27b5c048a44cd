"""The checks of `validation.CHECKS`: what is known of a data set's examples -> what is found, split by split. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.examples import Examples, Integers
from pipeline.duplicates import ContentKeys, Pairs, content_keys, find_repeated, in_both, later_ones
from pipeline.manifest import Manifest, ShardInfo, SplitInfo
from pipeline.shards import pixel_sums

SHOWN_EXAMPLES = 10  # how many of the examples that a check objects to are listed


@dataclass(frozen=True)
class ShardFacts:
    """What is kept of a shard's n examples: 28 bytes each.

    Attributes:
        keys: uint64[n, 2], content keys of the images.
        indices: int64[n], positions in the source.
        labels: int32[n].
        constant: int64[c], indices of the images whose pixels are all equal.
        num_broken: examples that are not what the manifest promises.
        broken: int64[b], indices of those among them that could be read.
    """

    keys: ContentKeys
    indices: Integers
    labels: npt.NDArray[np.int32]
    constant: Integers
    num_broken: int
    broken: Integers


@dataclass(frozen=True)
class Finding:
    """What a check found in a split; see `validation.CheckResult` for the attributes."""

    check: str
    split: str
    value: float
    num_examples: int = 0
    indices: list[int] = field(default_factory=list)
    twin_indices: list[int] = field(default_factory=list)


class _Columns(NamedTuple):
    """Everything that is kept of a data set's examples, all splits end to end.

    Attributes:
        keys: uint64[n, 2].
        indices: int64[n].
        labels: int32[n].
        edges: where each split starts, and the end.
    """

    keys: ContentKeys
    indices: Integers
    labels: npt.NDArray[np.int32]
    edges: list[int]


def describe_shard(examples: Examples | None, shard: ShardInfo, num_classes: int) -> ShardFacts:
    """Work out what must be known of a shard.

    Args:
        examples: as they are; None if the file holds no examples of the promised size.
        shard: as the manifest promises.
        num_classes: of the data set.
    """
    if examples is None:
        none = np.zeros(0, np.int64)
        return ShardFacts(np.zeros((0, 2), np.uint64), none, none.astype(np.int32), none, shard.num_examples, none)
    indices, images, labels = examples
    broken = indices[labels >= num_classes]
    if not len(broken) and not _adds_up(examples, shard, num_classes):
        broken = indices
    constant = indices[images.max(axis=1, initial=0) == images.min(axis=1, initial=255)]
    return ShardFacts(content_keys(images), indices, labels.astype(np.int32), constant, len(broken), np.sort(broken))


def find(manifest: Manifest, facts: dict[str, list[ShardFacts]], baseline: Manifest | None) -> Iterator[Finding]:
    """Yield what every check finds in every split that it is about.

    Args:
        manifest: of the data set.
        facts: the shards of each split.
        baseline: the manifest of an earlier data set, to compare with.
    """
    for name, split in manifest.splits.items():
        yield from _find_in_split(name, split, facts[name])
    yield from _find_repeated(facts)
    if baseline is not None:
        for name, split in manifest.splits.items():
            if name in baseline.splits:
                yield from _find_drift(name, split, manifest.class_names, baseline)


def _adds_up(examples: Examples, shard: ShardInfo, num_classes: int) -> bool:
    counts = tuple(np.bincount(examples.labels, minlength=num_classes).tolist())
    promised = (shard.num_examples, shard.class_counts, shard.pixel_sum, shard.pixel_square_sum)
    return (len(examples.labels), counts, *pixel_sums(examples.images)) == promised


def _find_in_split(name: str, split: SplitInfo, facts: list[ShardFacts]) -> Iterator[Finding]:
    """Look at the examples of a split one by one, and at how many there are of each class."""
    num_broken = sum(shard.num_broken for shard in facts)
    broken, constant = (_smallest([getattr(shard, of) for shard in facts]) for of in ("broken", "constant"))
    num_constant = sum(len(shard.constant) for shard in facts)
    present = [count for count in split.class_counts if count]
    yield Finding("schema", name, num_broken / max(1, split.num_examples), num_broken, broken)
    yield Finding("missing_classes", name, float(len(split.class_counts) - len(present)))
    yield Finding("class_balance", name, min(present, default=0) / max(present, default=1))
    yield Finding("constant_images", name, num_constant / max(1, split.num_examples), num_constant, constant)


def _find_repeated(facts: dict[str, list[ShardFacts]]) -> Iterator[Finding]:
    """Look for equal images, in each split and between train and the others."""
    columns = _join(facts)
    rows, groups = find_repeated(columns.keys)
    indices, labels = columns.indices[rows], columns.labels[rows]
    of_split = np.searchsorted(columns.edges, rows, side="right") - 1
    sizes = np.diff(columns.edges).tolist()
    for number, (name, size) in enumerate(zip(facts, sizes, strict=True)):
        own = np.flatnonzero(of_split == number)
        later = Pairs(*(own[positions] for positions in later_ones(groups[own], indices[own])))
        yield _pairs_finding("duplicates", name, later, indices, size)
        differ = labels[later.members] != labels[later.twins]
        yield _pairs_finding(
            "conflicting_labels", name, Pairs(later.members[differ], later.twins[differ]), indices, size
        )
        if name != "train" and "train" in facts:
            either = np.flatnonzero((of_split == number) | (of_split == list(facts).index("train")))
            found = in_both(groups[either], of_split[either] == number, indices[either])
            leaked = Pairs(*(either[positions] for positions in found))
            yield _pairs_finding("test_in_train", name, leaked, indices, size)


def _find_drift(name: str, split: SplitInfo, class_names: tuple[str, ...], baseline: Manifest) -> Iterator[Finding]:
    """Compare a split with that of an earlier data set; classes are the same if their names are."""
    before = baseline.splits[name]
    now = dict(zip(class_names, split.class_counts, strict=True))
    then = dict(zip(baseline.class_names, before.class_counts, strict=True))
    unit = before.pixel_std or 1.0  # a grey value, where all are equal
    yield Finding("class_drift", name, total_variation(now, then))
    yield Finding("pixel_mean_drift", name, abs(split.pixel_mean - before.pixel_mean) / unit)
    yield Finding("pixel_std_drift", name, abs(split.pixel_std - before.pixel_std) / unit)


def total_variation(now: dict[str, int], then: dict[str, int]) -> float:
    """Return how far two distributions are from each other: 0 if they are equal, 1 if they have nothing in common.

    Half the sum of the differences of the probabilities: D. Levin, Y. Peres and E. Wilmer, Markov Chains and Mixing
    Times, 2nd ed. 2017, proposition 4.2.

    Args:
        now: how often each value was seen.
        then: the same of the other; a value that is not there was never seen.
    """
    num_now, num_then = max(1, sum(now.values())), max(1, sum(then.values()))
    values = dict.fromkeys([*now, *then])
    return sum(abs(now.get(value, 0) / num_now - then.get(value, 0) / num_then) for value in values) / 2


def _join(facts: dict[str, list[ShardFacts]]) -> _Columns:
    shards = [shard for split in facts.values() for shard in split]
    sizes = [sum(len(shard.indices) for shard in split) for split in facts.values()]
    keys, indices, labels = (
        np.concatenate([getattr(shard, name) for shard in shards]) for name in ("keys", "indices", "labels")
    )
    return _Columns(keys, indices, labels, np.cumsum([0, *sizes]).tolist())


def _pairs_finding(check: str, split: str, pairs: Pairs, indices: Integers, num_examples: int) -> Finding:
    """Describe examples that have a twin; indices holds the place in the source of every position in pairs."""
    first = np.argsort(indices[pairs.members], kind="stable")[:SHOWN_EXAMPLES]
    members, twins = (indices[positions[first]].tolist() for positions in pairs)
    return Finding(check, split, len(pairs.members) / max(1, num_examples), len(pairs.members), members, twins)


def _smallest(parts: list[Integers]) -> list[int]:
    return np.sort(np.concatenate(parts))[:SHOWN_EXAMPLES].tolist() if parts else []
