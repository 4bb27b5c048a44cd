"""The checks of `validation_config.CHECKS`: from examples and a manifest to the value of each check. No files."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from model.examples import Examples, Integers
from pipeline.preprocess.duplicate_images import KeyRows, find_repeated, find_twins
from pipeline.preprocess.manifest import Manifest, RejectedCounts, ShardInfo, SplitInfo
from pipeline.preprocess.shards import sum_examples

SHOWN_EXAMPLES = 10  # examples that a result lists


class FlaggedExamples(NamedTuple):
    """The examples that fail a check."""

    num_examples: int = 0
    first: tuple[tuple[int, int], ...] = ()  # (index, of its twin or -1) of the first SHOWN_EXAMPLES, ascending

    def add(self, other: "FlaggedExamples") -> "FlaggedExamples":
        """Return the union with the flagged examples of other shards or buckets."""
        return FlaggedExamples(
            self.num_examples + other.num_examples, tuple(sorted(self.first + other.first)[:SHOWN_EXAMPLES])
        )


Flagged: TypeAlias = dict[tuple[str, str], FlaggedExamples]  # by check and split


def add_flagged(parts: Iterable[Flagged]) -> Flagged:
    """Return the union of what was flagged in several shards or buckets."""
    total: Flagged = {}
    for part in parts:
        for key, examples in part.items():
            total[key] = total.get(key, FlaggedExamples()).add(examples)
    return total


class CheckValue(NamedTuple):
    """The value of a check for a split, before it is compared with a threshold."""

    check: str
    split: str
    value: float
    flagged: FlaggedExamples = FlaggedExamples()


def flag_shard(examples: Examples | None, shard: ShardInfo, num_classes: int) -> dict[str, FlaggedExamples]:
    """Return the examples of a shard that fail the checks of single examples, by check.

    examples is None if they cannot be decoded: then all are counted and none is listed.
    """
    if examples is None:
        return {"schema": FlaggedExamples(shard.num_examples)}
    indices, images, labels = examples
    broken = indices[labels >= num_classes]
    if not len(broken) and not sum_examples(examples, num_classes).items() <= vars(shard).items():
        broken = indices  # the totals do not tell which example is wrong
    constant = indices[images.max(axis=1, initial=0) == images.min(axis=1, initial=255)]
    return {"schema": _flag(broken), "constant_images": _flag(constant)}


def compute_check_values(
    manifest: Manifest, flagged: Mapping[tuple[str, str], FlaggedExamples], baseline: Manifest | None
) -> Iterator[CheckValue]:
    """Yield the value of every check for every split that it applies to.

    flagged has what `flag_shard` and `flag_duplicates` found, by (check, split); baseline is an earlier data set.
    """

    def share(check: str, name: str, split: SplitInfo) -> CheckValue:
        found = flagged.get((check, name), FlaggedExamples())
        return CheckValue(check, name, found.num_examples / max(1, split.num_examples), found)

    for name, split in manifest.splits.items():
        present = [count for count in split.class_counts if count]
        yield share("schema", name, split)
        yield CheckValue("missing_classes", name, float(len(split.class_counts) - len(present)))
        yield CheckValue("class_balance", name, min(present, default=0) / max(present, default=1))
        yield share("constant_images", name, split)
        yield from _compute_rejected(manifest, name)
    yield CheckValue("pixel_range", "train", float(manifest.style.brightest - manifest.style.darkest))
    for name, split in manifest.splits.items():
        yield share("duplicates", name, split)
        yield share("conflicting_labels", name, split)
        if name != "train":
            yield share("test_in_train", name, split)
    if baseline is not None:
        yield from _compute_drift(manifest, baseline)


def _compute_rejected(manifest: Manifest, name: str) -> Iterator[CheckValue]:
    """Compare the rejected examples of a split, and of its worst class, with those of the source.

    A manifest of an earlier version records their number in all splits alone, so the share is that of all splits.
    """
    split = manifest.splits[name]
    num_rejected = manifest.num_rejected_of(name)
    if num_rejected is None:
        num_kept = sum(each.num_examples for each in manifest.splits.values())
        yield CheckValue("rejected", name, manifest.num_rejected / (manifest.num_rejected + num_kept))
        return
    yield CheckValue("rejected", name, num_rejected / max(1, num_rejected + split.num_examples))
    rejected = manifest.rejected_counts.get(name, RejectedCounts())
    pairs = zip(rejected.class_counts, split.class_counts, strict=False)  # there are no counts if none is rejected
    shares = [num_lost / max(1, num_lost + num_kept) for num_lost, num_kept in pairs]
    yield CheckValue("rejected_of_class", name, max(shares, default=0.0))


def flag_duplicates(bucket: KeyRows, names: list[str]) -> Flagged:
    """Return the flagged examples of equal images in a split, and in train and another split.

    The bucket has every example of the images in it, with the position of its split in names; train is one of them.
    """
    rows, groups = find_repeated(bucket["key"])
    indices = bucket["index"][rows]
    labels = bucket["label"][rows]
    positions = {name: np.flatnonzero(bucket["split"][rows] == number) for number, name in enumerate(names)}
    flagged: Flagged = {}
    for name, own in positions.items():
        members, twins = find_twins(groups, indices, own, own)
        flagged["duplicates", name] = _flag(indices[members], indices[twins])
        differ = labels[members] != labels[twins]
        flagged["conflicting_labels", name] = _flag(indices[members][differ], indices[twins][differ])
        if name != "train":
            members, twins = find_twins(groups, indices, own, positions["train"])
            flagged["test_in_train", name] = _flag(indices[members], indices[twins])
    return flagged


def _compute_drift(manifest: Manifest, baseline: Manifest) -> Iterator[CheckValue]:
    """Compare the splits with those of an earlier data set; classes are matched by name."""
    for name, split in manifest.splits.items():
        before = baseline.splits.get(name)
        if before is None:
            continue
        now = dict(zip(manifest.class_names, split.class_counts, strict=True))
        then = dict(zip(baseline.class_names, before.class_counts, strict=True))
        unit = before.pixel_std or 1.0  # one grey level if all pixels are equal
        yield CheckValue("class_drift", name, total_variation(now, then))
        yield CheckValue("pixel_mean_drift", name, abs(split.pixel_mean - before.pixel_mean) / unit)
        yield CheckValue("pixel_std_drift", name, abs(split.pixel_std - before.pixel_std) / unit)


def total_variation(now: dict[str, int], then: dict[str, int]) -> float:
    """Return the total variation distance of two distributions, given by the counts of their values: 0 to 1.

    Half the sum of the absolute differences of the probabilities: D. Levin, Y. Peres and E. Wilmer, Markov Chains and
    Mixing Times, 2nd ed. 2017, proposition 4.2.
    """
    num_now = max(1, sum(now.values()))
    num_then = max(1, sum(then.values()))
    values = dict.fromkeys([*now, *then])
    return sum(abs(now.get(value, 0) / num_now - then.get(value, 0) / num_then) for value in values) / 2


def _flag(indices: Integers, twins: Integers | None = None) -> FlaggedExamples:
    first = np.argsort(indices, kind="stable")[:SHOWN_EXAMPLES]
    shown_twins = [-1] * len(first) if twins is None else twins[first].tolist()
    return FlaggedExamples(len(indices), tuple(zip(indices[first].tolist(), shown_twins, strict=True)))
