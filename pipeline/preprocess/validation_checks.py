"""The checks of `validation.CHECKS`: what is known of a data set's examples -> what is found, split by split. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from model.examples import Examples, Integers
from pipeline.preprocess.duplicate_images import (
    DuplicatePairs,
    KeyRows,
    find_later_duplicates,
    find_repeated,
    find_shared,
)
from pipeline.preprocess.manifest import Manifest, ShardInfo, SplitInfo
from pipeline.preprocess.shards import pixel_sums

SHOWN_EXAMPLES = 10  # how many of the examples that a check objects to are listed


class FlaggedExamples(NamedTuple):
    """Examples that a check objects to: how many, and the first of them by their position in the source.

    Attributes:
        num_examples: all of them.
        first: for up to SHOWN_EXAMPLES of them, (index, index of the twin), ascending; without a twin, -1.
    """

    num_examples: int = 0
    first: tuple[tuple[int, int], ...] = ()

    def add(self, other: "FlaggedExamples") -> "FlaggedExamples":
        """Take others together with these."""
        return FlaggedExamples(
            self.num_examples + other.num_examples, tuple(sorted(self.first + other.first)[:SHOWN_EXAMPLES])
        )


class SplitFacts(NamedTuple):
    """What is known of some shards of a split. It adds up.

    Attributes:
        broken: examples that are not what the manifest promises; those that could not be read have no position.
        constant: those whose image has one value only.
    """

    broken: FlaggedExamples = FlaggedExamples()
    constant: FlaggedExamples = FlaggedExamples()

    def add(self, other: "SplitFacts") -> "SplitFacts":
        """Take other shards together with these."""
        return SplitFacts(self.broken.add(other.broken), self.constant.add(other.constant))


@dataclass(frozen=True)
class CheckFinding:
    """What a check found in a split; see `validation.CheckResult` for the attributes."""

    check: str
    split: str
    value: float
    num_examples: int = 0
    indices: list[int] = field(default_factory=list)
    twin_indices: list[int] = field(default_factory=list)


def describe_shard(examples: Examples | None, shard: ShardInfo, num_classes: int) -> SplitFacts:
    """Work out what must be known of a shard.

    Args:
        examples: as they are; None if the file holds no examples of the promised size.
        shard: as the manifest promises.
        num_classes: of the data set.
    """
    if examples is None:
        return SplitFacts(broken=FlaggedExamples(shard.num_examples))
    indices, images, labels = examples
    broken = indices[labels >= num_classes]
    if not len(broken) and not _adds_up(examples, shard, num_classes):
        broken = indices
    constant = indices[images.max(axis=1, initial=0) == images.min(axis=1, initial=255)]
    return SplitFacts(_some(broken), _some(constant))


def find_faults(
    manifest: Manifest, facts: dict[str, SplitFacts], buckets: Iterable[KeyRows], baseline: Manifest | None
) -> Iterator[CheckFinding]:
    """Yield what every check finds in every split that it is about.

    Args:
        manifest: of the data set.
        facts: of each split.
        buckets: what is kept of all examples, those with equal content keys in one of them; splits by their place in
            facts.
        baseline: the manifest of an earlier data set, to compare with.
    """
    for name, split in manifest.splits.items():
        yield from _find_in_split(name, split, facts[name])
    yield from _find_repeated(manifest, list(facts), buckets)
    if baseline is not None:
        for name, split in manifest.splits.items():
            if name in baseline.splits:
                yield from _find_drift(name, split, manifest.class_names, baseline)


def _adds_up(examples: Examples, shard: ShardInfo, num_classes: int) -> bool:
    counts = tuple(np.bincount(examples.labels, minlength=num_classes).tolist())
    promised = (shard.num_examples, shard.class_counts, shard.pixel_sum, shard.pixel_square_sum)
    return (len(examples.labels), counts, *pixel_sums(examples.images)) == promised


def _find_in_split(name: str, split: SplitInfo, facts: SplitFacts) -> Iterator[CheckFinding]:
    """Say what is known of the examples of a split one by one, and how many there are of each class."""
    present = [count for count in split.class_counts if count]
    yield _finding("schema", name, facts.broken, split.num_examples)
    yield CheckFinding("missing_classes", name, float(len(split.class_counts) - len(present)))
    yield CheckFinding("class_balance", name, min(present, default=0) / max(present, default=1))
    yield _finding("constant_images", name, facts.constant, split.num_examples)


def _find_repeated(manifest: Manifest, names: list[str], buckets: Iterable[KeyRows]) -> Iterator[CheckFinding]:
    """Look for equal images, in each split and between train and the others."""
    found: dict[tuple[str, str], FlaggedExamples] = {}
    for kept in buckets:
        for place, some in _repeated_in(kept, names):
            found[place] = found.get(place, FlaggedExamples()).add(some)
    for name in names:
        size = manifest.splits[name].num_examples
        checks = ["duplicates", "conflicting_labels"]
        if name != "train" and "train" in names:
            checks.append("test_in_train")
        yield from (_finding(check, name, found.get((check, name), FlaggedExamples()), size) for check in checks)


def _repeated_in(kept: KeyRows, names: list[str]) -> Iterator[tuple[tuple[str, str], FlaggedExamples]]:
    """Yield what each check finds among examples of which all with the same image are there."""
    rows, groups = find_repeated(kept["key"])
    indices, labels, of_split = (kept[column][rows] for column in ("index", "label", "split"))
    for number, name in enumerate(names):
        own = np.flatnonzero(of_split == number)
        later = DuplicatePairs(*(own[positions] for positions in find_later_duplicates(groups[own], indices[own])))
        yield ("duplicates", name), _some_pairs(later, indices)
        differ = labels[later.members] != labels[later.twins]
        conflicting = DuplicatePairs(later.members[differ], later.twins[differ])
        yield ("conflicting_labels", name), _some_pairs(conflicting, indices)
        if name != "train" and "train" in names:
            either = np.flatnonzero((of_split == number) | (of_split == names.index("train")))
            found = find_shared(groups[either], of_split[either] == number, indices[either])
            leaked = DuplicatePairs(*(either[positions] for positions in found))
            yield ("test_in_train", name), _some_pairs(leaked, indices)


def _find_drift(
    name: str, split: SplitInfo, class_names: tuple[str, ...], baseline: Manifest
) -> Iterator[CheckFinding]:
    """Compare a split with that of an earlier data set; classes are the same if their names are."""
    before = baseline.splits[name]
    now = dict(zip(class_names, split.class_counts, strict=True))
    then = dict(zip(baseline.class_names, before.class_counts, strict=True))
    unit = before.pixel_std or 1.0  # a grey value, where all are equal
    yield CheckFinding("class_drift", name, total_variation(now, then))
    yield CheckFinding("pixel_mean_drift", name, abs(split.pixel_mean - before.pixel_mean) / unit)
    yield CheckFinding("pixel_std_drift", name, abs(split.pixel_std - before.pixel_std) / unit)


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


def _finding(check: str, split: str, some: FlaggedExamples, num_examples: int) -> CheckFinding:
    """Describe examples as a share of their split."""
    indices, twins = [index for index, _ in some.first], [twin for _, twin in some.first if twin >= 0]
    return CheckFinding(check, split, some.num_examples / max(1, num_examples), some.num_examples, indices, twins)


def _some(indices: Integers) -> FlaggedExamples:
    return FlaggedExamples(len(indices), tuple((index, -1) for index in np.sort(indices)[:SHOWN_EXAMPLES].tolist()))


def _some_pairs(pairs: DuplicatePairs, indices: Integers) -> FlaggedExamples:
    """Describe examples that have a twin; indices holds the place in the source of every position in pairs."""
    first = np.argsort(indices[pairs.members], kind="stable")[:SHOWN_EXAMPLES]
    members, twins = (indices[positions[first]].tolist() for positions in pairs)
    return FlaggedExamples(len(pairs.members), tuple(zip(members, twins, strict=True)))
