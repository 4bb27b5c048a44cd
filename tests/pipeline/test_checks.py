"""What the checks find in examples that are made up in memory."""

import numpy as np
import pytest

from model.examples import Examples
from pipeline.checks import SHOWN_EXAMPLES, Some, SplitFacts, describe_shard, total_variation
from pipeline.shards import encode_shard

NUM_CLASSES = 3


def examples(num_examples=4):
    random = np.random.default_rng(num_examples)
    images = random.integers(0, 256, (num_examples, 6)).astype(np.uint8)
    return Examples(np.arange(num_examples) * 10, images, np.arange(num_examples) % NUM_CLASSES)


def info_of(given):
    return encode_shard("train-00000-of-00001.tfrecord", given, NUM_CLASSES)[1]


def test_a_sound_shard_has_nothing_wrong():
    assert describe_shard(examples(), info_of(examples()), NUM_CLASSES) == SplitFacts(Some(), Some())


def test_every_example_of_a_shard_that_cannot_be_decoded_is_broken():
    assert describe_shard(None, info_of(examples()), NUM_CLASSES) == SplitFacts(Some(4), Some())


def test_a_label_from_the_number_of_classes_on_is_broken():
    wrong = examples()._replace(labels=np.array([2, 3, 0, 4]))
    assert describe_shard(wrong, info_of(examples()), NUM_CLASSES).broken == Some(2, ((10, -1), (30, -1)))


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
def test_every_example_of_a_shard_that_does_not_add_up_is_broken(change):
    info = info_of(examples()).model_copy(update=change)
    assert describe_shard(examples(), info, NUM_CLASSES).broken.num_examples == 4


def test_an_image_of_one_value_is_constant():
    given = examples(5)
    given.images[1] = 0
    given.images[2] = 255
    given.images[3] = 7
    given.images[3, 5] = 8
    assert describe_shard(given, info_of(given), NUM_CLASSES).constant == Some(2, ((10, -1), (20, -1)))


def test_the_first_examples_of_all_shards_are_listed():
    first, second = (Some(12, tuple((index, -1) for index in range(start, 24, 2)[:10])) for start in (0, 1))
    both = SplitFacts(first, second).add(SplitFacts(second, first))
    assert both.broken == both.constant
    assert both.broken == Some(24, tuple((index, -1) for index in range(SHOWN_EXAMPLES)))


def test_as_many_broken_examples_as_are_shown_are_listed_in_order():
    given = examples(25)
    reverse = given.take(np.arange(24, -1, -1))
    wrong = reverse._replace(labels=np.full(25, 9))
    found = describe_shard(wrong, info_of(given), NUM_CLASSES).broken
    assert found == Some(25, tuple((10 * place, -1) for place in range(SHOWN_EXAMPLES)))


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
def test_total_variation_by_hand(now, then, expected):
    assert total_variation(now, then) == expected
