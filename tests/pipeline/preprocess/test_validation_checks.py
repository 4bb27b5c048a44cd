"""Values of the checks on examples in memory."""

import numpy as np
import pytest

from model.examples import Examples
from pipeline.preprocess.duplicate_images import content_keys, pack_keys
from pipeline.preprocess.manifest import Manifest, RejectedCounts, SplitInfo
from pipeline.preprocess.shards import encode_shard
from pipeline.preprocess.validation_checks import (
    SHOWN_EXAMPLES,
    FlaggedExamples,
    add_flagged,
    compute_check_values,
    flag_duplicates,
    flag_shard,
    total_variation,
)
from pipeline.sources.picture_style import PictureStyle

NUM_CLASSES = 3


def examples(num_examples=4):
    random = np.random.default_rng(num_examples)
    images = random.integers(0, 256, (num_examples, 6)).astype(np.uint8)
    return Examples(np.arange(num_examples) * 10, images, np.arange(num_examples) % NUM_CLASSES)


def info_of(shard_examples):
    return encode_shard("train-00000-of-00001.tfrecord", shard_examples, NUM_CLASSES)[1]


def test_labels_out_of_range_are_broken_and_the_first_are_listed_in_order():
    wrong = examples()._replace(labels=np.array([2, 3, 0, 4]))
    assert flag_shard(wrong, info_of(examples()), NUM_CLASSES)["schema"] == FlaggedExamples(2, ((10, -1), (30, -1)))
    reverse = examples(25).take(np.arange(24, -1, -1))._replace(labels=np.full(25, 9))
    first = tuple((10 * place, -1) for place in range(SHOWN_EXAMPLES))
    assert flag_shard(reverse, info_of(examples(25)), NUM_CLASSES)["schema"] == FlaggedExamples(25, first)


@pytest.mark.parametrize(
    "change", [{"num_examples": 5}, {"class_counts": (1, 2, 1)}, {"pixel_sum": 1}, {"pixel_square_sum": 1}]
)
def test_all_examples_of_a_shard_with_other_totals_or_none_are_broken(change):
    info = info_of(examples())
    nothing = FlaggedExamples()
    assert flag_shard(examples(), info, NUM_CLASSES) == {"schema": nothing, "constant_images": nothing}
    changed = info.model_copy(update=change)
    assert flag_shard(examples(), changed, NUM_CLASSES)["schema"].num_examples == 4
    assert flag_shard(None, info, NUM_CLASSES) == {"schema": FlaggedExamples(4)}


def test_image_of_equal_pixels_is_constant():
    given = examples(5)
    given.images[[1, 2, 3]] = [[0] * 6, [255] * 6, [7, 7, 7, 7, 7, 8]]
    found = flag_shard(given, info_of(given), NUM_CLASSES)["constant_images"]
    assert found == FlaggedExamples(2, ((10, -1), (20, -1)))


def test_first_examples_of_all_shards_are_listed():
    first, second = (FlaggedExamples(12, tuple((index, -1) for index in range(start, 24, 2)[:10])) for start in (0, 1))
    assert first.add(second) == second.add(first)
    assert first.add(second) == FlaggedExamples(24, tuple((index, -1) for index in range(SHOWN_EXAMPLES)))


def test_flagged_examples_of_several_parts_are_added_by_check_and_split():
    one = FlaggedExamples(1, ((5, -1),))
    two = FlaggedExamples(2, ((3, -1), (9, -1)))
    added = add_flagged([{("schema", "test"): one}, {}, {("schema", "test"): two, ("schema", "train"): one}])
    assert added == {("schema", "test"): one.add(two), ("schema", "train"): one}
    assert add_flagged([]) == {}


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


def values_of(splits, baseline=None, flagged=None):
    """Return every value by (check, split)."""
    names = ("a", "b", "c")
    manifest = Manifest.model_construct(num_rejected=0, splits=splits, class_names=names)
    before = Manifest.model_construct(splits=baseline, class_names=names) if baseline else None
    found = compute_check_values(manifest, flagged or {}, before)
    return {(each.check, each.split): each.value for each in found}


def test_class_values_equal_hand_computed_values():
    found = values_of({"train": split_of((4, 0, 1)), "test": split_of((0, 0, 0))})
    assert (found["missing_classes", "train"], found["class_balance", "train"]) == (1, 0.25)
    assert (found["missing_classes", "test"], found["class_balance", "test"]) == (3, 0)


def test_values_are_shares_of_the_split():
    checks = ("schema", "constant_images", "duplicates", "conflicting_labels", "test_in_train")
    flagged = {(check, "test"): FlaggedExamples(number) for number, check in enumerate(checks, 1)}
    flagged["schema", "train"] = FlaggedExamples(1)
    found = values_of({"train": split_of((1, 0, 0)), "test": split_of((5, 2, 1))}, flagged=flagged)
    assert [found[check, "test"] for check in checks] == [number / 8 for number in range(1, 6)]
    assert [found[check, "train"] for check in checks[:-1]] == [1, 0, 0, 0]
    assert ("test_in_train", "train") not in found


def test_rejected_examples_are_shares_of_the_source():
    counts = {"train": RejectedCounts(num_examples=7, class_counts=(4, 0, 2))}
    splits = {"train": split_of((4, 1, 8)), "test": split_of((1, 1, 1))}
    manifest = Manifest.model_construct(
        num_rejected=0, splits=splits, class_names=("a", "b", "c"), rejected_counts=counts
    )
    found = {(each.check, each.split): each.value for each in compute_check_values(manifest, {}, None)}
    assert (found["rejected", "train"], found["rejected_of_class", "train"]) == (7 / 20, 4 / 8)
    assert (found["rejected", "test"], found["rejected_of_class", "test"]) == (0, 0)
    earlier = Manifest.model_construct(splits=splits, class_names=("a", "b", "c"), num_rejected=4)
    found = {(each.check, each.split): each.value for each in compute_check_values(earlier, {}, None)}
    assert (found["rejected", "train"], found["rejected", "test"]) == (4 / 20, 4 / 20)
    assert ("rejected_of_class", "train") not in found


def test_pixel_range_is_that_of_the_data_set():
    style = PictureStyle(darkest=1, brightest=16)
    manifest = Manifest.model_construct(
        num_rejected=0, splits={"train": split_of((1,))}, class_names=("a",), pictures=style
    )
    found = {(each.check, each.split): each.value for each in compute_check_values(manifest, {}, None)}
    assert found["pixel_range", "train"] == 15


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


def test_flagged_duplicates_equal_hand_computed_ones():
    """Images 0, 0, 1, 0 with labels 2, 1, 1, 2 in train, and 1, 2 in test."""
    train = pack_keys(content_keys(np.array([[0], [0], [1], [0]], np.uint8)), np.arange(4), np.array([2, 1, 1, 2]), 0)
    test = pack_keys(content_keys(np.array([[1], [2]], np.uint8)), np.arange(2), np.array([1, 1]), 1)
    assert flag_duplicates(np.concatenate([train, test]), ["train", "test"]) == {
        ("duplicates", "train"): FlaggedExamples(2, ((1, 0), (3, 0))),
        ("conflicting_labels", "train"): FlaggedExamples(1, ((1, 0),)),
        ("duplicates", "test"): FlaggedExamples(),
        ("conflicting_labels", "test"): FlaggedExamples(),
        ("test_in_train", "test"): FlaggedExamples(1, ((0, 2),)),
    }


def test_first_duplicates_are_listed():
    rows = pack_keys(content_keys(np.zeros((15, 1), np.uint8)), np.arange(15)[::-1], np.zeros(15, int), 0)
    found = flag_duplicates(rows, ["train"])
    assert found["duplicates", "train"] == FlaggedExamples(14, tuple((index, 0) for index in range(1, 11)))
