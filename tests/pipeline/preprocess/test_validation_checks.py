"""Findings of the checks on examples in memory."""

import numpy as np
import pytest

from model.examples import Examples
from pipeline.preprocess.duplicate_images import content_keys, pack_keys
from pipeline.preprocess.manifest import Manifest, SplitInfo
from pipeline.preprocess.shards import encode_shard
from pipeline.preprocess.validation_checks import (
    SHOWN_EXAMPLES,
    FlaggedExamples,
    SplitFacts,
    describe_shard,
    find_faults,
    total_variation,
)

NUM_CLASSES = 3


def examples(num_examples=4):
    random = np.random.default_rng(num_examples)
    images = random.integers(0, 256, (num_examples, 6)).astype(np.uint8)
    return Examples(np.arange(num_examples) * 10, images, np.arange(num_examples) % NUM_CLASSES)


def info_of(shard_examples):
    return encode_shard("train-00000-of-00001.tfrecord", shard_examples, NUM_CLASSES)[1]


def test_sound_shard_has_no_flagged_examples():
    assert describe_shard(examples(), info_of(examples()), NUM_CLASSES) == SplitFacts(
        FlaggedExamples(), FlaggedExamples()
    )


def test_all_examples_of_an_undecodable_shard_are_broken():
    assert describe_shard(None, info_of(examples()), NUM_CLASSES) == SplitFacts(FlaggedExamples(4), FlaggedExamples())


def test_label_out_of_range_is_broken():
    wrong = examples()._replace(labels=np.array([2, 3, 0, 4]))
    assert describe_shard(wrong, info_of(examples()), NUM_CLASSES).broken == FlaggedExamples(2, ((10, -1), (30, -1)))


@pytest.mark.parametrize(
    "change",
    [
        {"num_examples": 5},
        {"class_counts": (1, 2, 1)},
        {"pixel_sum": 1},
        {"pixel_square_sum": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_examples_of_a_shard_with_other_totals_are_broken(change):
    info = info_of(examples()).model_copy(update=change)
    assert describe_shard(examples(), info, NUM_CLASSES).broken.num_examples == 4


def test_image_of_equal_pixels_is_constant():
    given = examples(5)
    given.images[1] = 0
    given.images[2] = 255
    given.images[3] = 7
    given.images[3, 5] = 8
    assert describe_shard(given, info_of(given), NUM_CLASSES).constant == FlaggedExamples(2, ((10, -1), (20, -1)))


def test_first_examples_of_all_shards_are_listed():
    first, second = (FlaggedExamples(12, tuple((index, -1) for index in range(start, 24, 2)[:10])) for start in (0, 1))
    both = SplitFacts(first, second).add(SplitFacts(second, first))
    assert both.broken == both.constant
    assert both.broken == FlaggedExamples(24, tuple((index, -1) for index in range(SHOWN_EXAMPLES)))


def test_first_broken_examples_are_listed_in_order():
    given = examples(25)
    reverse = given.take(np.arange(24, -1, -1))
    wrong = reverse._replace(labels=np.full(25, 9))
    found = describe_shard(wrong, info_of(given), NUM_CLASSES).broken
    assert found == FlaggedExamples(25, tuple((10 * place, -1) for place in range(SHOWN_EXAMPLES)))


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        ({"a": 1, "b": 1}, {"a": 5, "b": 5}, 0),
        ({"a": 3}, {"b": 4}, 1),
        ({"a": 1, "b": 3}, {"a": 2, "b": 2}, 0.25),
        ({"a": 0}, {"a": 0}, 0),
        ({}, {"a": 7}, 0.5),
    ],
)
def test_total_variation_equals_hand_computed_values(now, then, expected):
    assert total_variation(now, then) == expected


def split_of(counts, mean=100.0, std=50.0):
    return SplitInfo(num_examples=sum(counts), class_counts=counts, pixel_mean=mean, pixel_std=std, shards=())


def values_of(splits, baseline=None, facts=None, names=("a", "b", "c")):
    """Return the value of every finding by (check, split), for a data set without duplicates."""
    manifest = Manifest.model_construct(splits=splits, class_names=names)
    before = Manifest.model_construct(splits=baseline, class_names=names) if baseline else None
    nothing = {name: SplitFacts() for name in splits}
    found = find_faults(manifest, nothing | (facts or {}), (), before)
    return {(finding.check, finding.split): finding.value for finding in found}


def test_class_findings_equal_hand_computed_values():
    found = values_of({"train": split_of((4, 0, 1)), "test": split_of((0, 0, 0))})
    assert (found["missing_classes", "train"], found["class_balance", "train"]) == (1, 0.25)
    assert (found["missing_classes", "test"], found["class_balance", "test"]) == (3, 0)


def test_values_are_shares_of_the_split():
    facts = {"train": SplitFacts(FlaggedExamples(1), FlaggedExamples(2))}
    found = values_of({"train": split_of((2, 2, 1)), "test": split_of((1, 0, 0))}, facts=facts)
    assert (found["schema", "train"], found["constant_images", "train"]) == (1 / 5, 2 / 5)
    assert (
        values_of({"train": split_of((1, 0, 0))}, facts={"train": SplitFacts(FlaggedExamples(1))})["schema", "train"]
        == 1
    )


def test_drift_equals_hand_computed_values():
    now, then = split_of((3, 1, 0), mean=110.0, std=70.0), split_of((2, 2, 0), mean=100.0, std=40.0)
    found = values_of({"train": now, "test": now}, {"train": then})
    assert found["class_drift", "train"] == 0.25
    assert (found["pixel_mean_drift", "train"], found["pixel_std_drift", "train"]) == (10 / 40, 30 / 40)
    assert ("class_drift", "test") not in found  # the baseline has no such split
    assert not any(check.endswith("drift") for check, _ in values_of({"train": now}))


def test_drift_from_a_constant_baseline_is_in_grey_levels():
    now, then = split_of((1, 1, 1), mean=97.0, std=3.0), split_of((1, 1, 1), mean=100.0, std=0.0)
    found = values_of({"train": now}, {"train": then})
    assert (found["pixel_mean_drift", "train"], found["pixel_std_drift", "train"]) == (3, 3)


def duplicate_findings(rows):
    """Return (number, indices, indices of twins) of the findings about equal images by (check, split)."""
    manifest = Manifest.model_construct(
        splits=dict.fromkeys(("train", "test"), split_of((9, 0, 0))), class_names=("a",)
    )
    found = find_faults(manifest, dict.fromkeys(("train", "test"), SplitFacts()), [rows], None)
    return {
        (finding.check, finding.split): (finding.num_examples, finding.indices, finding.twin_indices)
        for finding in found
        if finding.check in ("duplicates", "conflicting_labels", "test_in_train")
    }


def test_duplicate_findings_equal_hand_computed_values():
    """Images 0, 0, 1, 0 with labels 2, 1, 1, 2 in train, and 1, 2 in test."""
    train = pack_keys(content_keys(np.array([[0], [0], [1], [0]], np.uint8)), np.arange(4), np.array([2, 1, 1, 2]), 0)
    test = pack_keys(content_keys(np.array([[1], [2]], np.uint8)), np.arange(2), np.array([1, 1]), 1)
    assert duplicate_findings(np.concatenate([train, test])) == {
        ("duplicates", "train"): (2, [1, 3], [0, 0]),
        ("conflicting_labels", "train"): (1, [1], [0]),
        ("duplicates", "test"): (0, [], []),
        ("conflicting_labels", "test"): (0, [], []),
        ("test_in_train", "test"): (1, [0], [2]),
    }


def test_first_duplicates_are_listed():
    images = np.zeros((15, 1), np.uint8)
    found = duplicate_findings(pack_keys(content_keys(images), np.arange(15)[::-1], np.zeros(15, int), 0))
    assert found["duplicates", "train"] == (14, list(range(1, 11)), [0] * 10)
