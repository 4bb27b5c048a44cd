"""The checks of `validation_config.CHECKS`: from facts about the examples of each split to findings. No files."""

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

SHOWN_EXAMPLES = 10  # examples that a finding lists


class FlaggedExamples(NamedTuple):
    """The examples that fail a check.

    Attributes:
        num_examples: number of examples.
        first: (index, index of the twin) of the first SHOWN_EXAMPLES, ascending; -1 stands for no twin.
    """

    num_examples: int = 0
    first: tuple[tuple[int, int], ...] = ()

    def add(self, other: "FlaggedExamples") -> "FlaggedExamples":
        """Return the union with the flagged examples of other shards or buckets."""
        return FlaggedExamples(
            self.num_examples + other.num_examples, tuple(sorted(self.first + other.first)[:SHOWN_EXAMPLES])
        )


class SplitFacts(NamedTuple):
    """Facts about the examples of some shards of a split; `add` merges them.

    Attributes:
        broken: examples that do not match the manifest; those that cannot be decoded are counted but not listed.
        constant: examples whose pixels are all equal.
    """

    broken: FlaggedExamples = FlaggedExamples()
    constant: FlaggedExamples = FlaggedExamples()

    def add(self, other: "SplitFacts") -> "SplitFacts":
        """Return the facts of these and other shards."""
        return SplitFacts(self.broken.add(other.broken), self.constant.add(other.constant))


@dataclass(frozen=True)
class CheckFinding:
    """The value of a check for a split; `validation_config.CheckResult` describes the attributes."""

    check: str
    split: str
    value: float
    num_examples: int = 0
    indices: list[int] = field(default_factory=list)
    twin_indices: list[int] = field(default_factory=list)


def describe_shard(examples: Examples | None, shard: ShardInfo, num_classes: int) -> SplitFacts:
    """Return the facts of a shard.

    Args:
        examples: its examples; None if they cannot be decoded.
        shard: its record in the manifest.
        num_classes: number of classes of the data set.
    """
    if examples is None:
        return SplitFacts(broken=FlaggedExamples(shard.num_examples))
    indices, images, labels = examples
    broken = indices[labels >= num_classes]
    if not len(broken) and not _matches_record(examples, shard, num_classes):
        broken = indices  # the totals do not tell which example is wrong
    constant = indices[images.max(axis=1, initial=0) == images.min(axis=1, initial=255)]
    return SplitFacts(_flag(broken), _flag(constant))


def find_faults(
    manifest: Manifest, facts: dict[str, SplitFacts], buckets: Iterable[KeyRows], baseline: Manifest | None
) -> Iterator[CheckFinding]:
    """Yield a finding for every check and every split that it applies to.

    Args:
        manifest: manifest of the data set.
        facts: facts of each split, by name.
        buckets: the keys of all examples; equal keys are in the same bucket. Their field `split` is the position of the
            split in facts.
        baseline: manifest of an earlier data set to compare with.
    """
    for name, split in manifest.splits.items():
        yield from _check_split(name, split, facts[name])
    yield from _check_duplicates(manifest, list(facts), buckets)
    if baseline is not None:
        for name, split in manifest.splits.items():
            if name in baseline.splits:
                yield from _check_drift(name, split, manifest.class_names, baseline)


def _matches_record(examples: Examples, shard: ShardInfo, num_classes: int) -> bool:
    counts = tuple(np.bincount(examples.labels, minlength=num_classes).tolist())
    expected = (shard.num_examples, shard.class_counts, shard.pixel_sum, shard.pixel_square_sum)
    return (len(examples.labels), counts, *pixel_sums(examples.images)) == expected


def _check_split(name: str, split: SplitInfo, facts: SplitFacts) -> Iterator[CheckFinding]:
    """Yield the findings that need only one split: those of single examples and of class counts."""
    present = [count for count in split.class_counts if count]
    yield _finding("schema", name, facts.broken, split.num_examples)
    yield CheckFinding("missing_classes", name, float(len(split.class_counts) - len(present)))
    yield CheckFinding("class_balance", name, min(present, default=0) / max(present, default=1))
    yield _finding("constant_images", name, facts.constant, split.num_examples)


def _check_duplicates(manifest: Manifest, names: list[str], buckets: Iterable[KeyRows]) -> Iterator[CheckFinding]:
    """Yield the findings about equal images within each split, and between train and each other split."""
    flagged: dict[tuple[str, str], FlaggedExamples] = {}
    for rows in buckets:
        for check_and_split, examples in _flag_duplicates(rows, names):
            flagged[check_and_split] = flagged.get(check_and_split, FlaggedExamples()).add(examples)
    for name in names:
        size = manifest.splits[name].num_examples
        checks = ["duplicates", "conflicting_labels"]
        if name != "train" and "train" in names:
            checks.append("test_in_train")
        yield from (_finding(check, name, flagged.get((check, name), FlaggedExamples()), size) for check in checks)


def _flag_duplicates(bucket: KeyRows, names: list[str]) -> Iterator[tuple[tuple[str, str], FlaggedExamples]]:
    """Yield ((check, split), flagged examples) of a bucket, which holds every example of the images in it."""
    rows, groups = find_repeated(bucket["key"])
    indices = bucket["index"][rows]
    labels = bucket["label"][rows]
    split_numbers = bucket["split"][rows]
    for number, name in enumerate(names):
        own = np.flatnonzero(split_numbers == number)
        later = find_later_duplicates(groups[own], indices[own]).of(own)
        yield ("duplicates", name), _flag_pairs(later, indices)
        differ = labels[later.members] != labels[later.twins]
        conflicting = DuplicatePairs(later.members[differ], later.twins[differ])
        yield ("conflicting_labels", name), _flag_pairs(conflicting, indices)
        if name != "train" and "train" in names:
            either = np.flatnonzero((split_numbers == number) | (split_numbers == names.index("train")))
            leaked = find_shared(groups[either], split_numbers[either] == number, indices[either]).of(either)
            yield ("test_in_train", name), _flag_pairs(leaked, indices)


def _check_drift(
    name: str, split: SplitInfo, class_names: tuple[str, ...], baseline: Manifest
) -> Iterator[CheckFinding]:
    """Compare a split with the same split of an earlier data set; classes are matched by name."""
    before = baseline.splits[name]
    now = dict(zip(class_names, split.class_counts, strict=True))
    then = dict(zip(baseline.class_names, before.class_counts, strict=True))
    unit = before.pixel_std or 1.0  # one grey level if all pixels are equal
    yield CheckFinding("class_drift", name, total_variation(now, then))
    yield CheckFinding("pixel_mean_drift", name, abs(split.pixel_mean - before.pixel_mean) / unit)
    yield CheckFinding("pixel_std_drift", name, abs(split.pixel_std - before.pixel_std) / unit)


def total_variation(now: dict[str, int], then: dict[str, int]) -> float:
    """Return the total variation distance of two distributions: 0 if they are equal, 1 if they are disjoint.

    Half the sum of the absolute differences of the probabilities: D. Levin, Y. Peres and E. Wilmer, Markov Chains and
    Mixing Times, 2nd ed. 2017, proposition 4.2.

    Args:
        now: count of each value; a missing value has the count 0.
        then: the same for the other distribution.
    """
    num_now = max(1, sum(now.values()))
    num_then = max(1, sum(then.values()))
    values = dict.fromkeys([*now, *then])
    return sum(abs(now.get(value, 0) / num_now - then.get(value, 0) / num_then) for value in values) / 2


def _finding(check: str, split: str, flagged: FlaggedExamples, num_examples: int) -> CheckFinding:
    """Return a finding whose value is the flagged share of the split's num_examples."""
    indices = [index for index, _ in flagged.first]
    twins = [twin for _, twin in flagged.first if twin >= 0]
    share = flagged.num_examples / max(1, num_examples)
    return CheckFinding(check, split, share, flagged.num_examples, indices, twins)


def _flag(indices: Integers) -> FlaggedExamples:
    return FlaggedExamples(len(indices), tuple((index, -1) for index in np.sort(indices)[:SHOWN_EXAMPLES].tolist()))


def _flag_pairs(pairs: DuplicatePairs, indices: Integers) -> FlaggedExamples:
    """Flag the members of pairs; indices are the positions in the source of the rows that pairs refer to."""
    first = np.argsort(indices[pairs.members], kind="stable")[:SHOWN_EXAMPLES]
    members = indices[pairs.members[first]].tolist()
    twins = indices[pairs.twins[first]].tolist()
    return FlaggedExamples(len(pairs.members), tuple(zip(members, twins, strict=True)))
