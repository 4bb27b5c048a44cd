import pytest
from pydantic import ValidationError

from model.errors import BadUsage
from pipeline.manifest import MOST_SHARDS, PreprocessConfig
from pipeline.shards import (
    MOST_MEAN_BYTES,
    check_size,
    choose_num_shards,
    default_num_shards,
    number_order,
    shard_name,
    split_num_shards,
)


@pytest.mark.parametrize(
    ("num_examples", "num_pixels", "expected"),
    [
        (60_000, 784, 8),  # what decides the ids of everybody's data sets
        (4_000, 784, 1),
        (8_192, 784, 1),
        (8_193, 784, 2),
        (7_000_000, 784, 855),
        (1_000, 2**20, 164),  # 6 images of a megapixel each
        (100, 2**24, 100),  # an image is larger than a shard should be
        (65_537, 1, 2),  # tiny images
        (0, 784, 1),
        (10**10, 784, MOST_SHARDS),
    ],
)
def test_shards_are_sized_by_bytes(num_examples, num_pixels, expected):
    assert default_num_shards(num_examples, num_pixels) == expected


def test_what_the_user_wants_is_taken_within_bounds():
    assert choose_num_shards(3, 60_000, 784, "mnist") == 3
    assert choose_num_shards(None, 60_000, 784, "mnist") == 8
    with pytest.raises(BadUsage, match="--num-shards 9 is more than the 8 train examples of few"):
        choose_num_shards(9, 8, 784, "few")
    with pytest.raises(BadUsage, match=r"--num-shards 1 is too few for many: .* 128 MiB .* at least 41$"):
        choose_num_shards(1, 7_000_000, 784, "many")


def test_a_shard_for_every_example_is_allowed():
    assert choose_num_shards(8, 8, 784, "few") == 8


def test_shards_may_be_as_large_as_the_limit_on_average():
    assert choose_num_shards(1, MOST_MEAN_BYTES, 1, "full") == 1
    with pytest.raises(BadUsage, match=r"at least 2$"):
        choose_num_shards(1, MOST_MEAN_BYTES + 1, 1, "fuller")


def test_a_split_that_no_number_of_shards_can_hold_is_refused():
    check_size(MOST_SHARDS, MOST_MEAN_BYTES, "full")
    with pytest.raises(BadUsage, match=r"the test split of vast is too large: .* 128 MiB .* at most 99999"):
        check_size(MOST_SHARDS * MOST_MEAN_BYTES + 1, 1, "the test split of vast")


def test_every_split_has_the_same_largest_number_of_shards():
    assert split_num_shards(1, 1, MOST_SHARDS) == MOST_SHARDS
    assert split_num_shards(1, 1, 1_000_000) == MOST_SHARDS
    assert split_num_shards(MOST_SHARDS, 100_000, 200_000) == MOST_SHARDS
    assert split_num_shards(8, 60_000, 0) == 1
    with pytest.raises(ValidationError, match="num_shards"):
        PreprocessConfig(seed=1, num_shards=MOST_SHARDS + 1)


def test_the_limit_is_what_names_have_digits_for():
    names = [shard_name("test", number, MOST_SHARDS) for number in (0, 9, 10, MOST_SHARDS - 1)]
    assert len({len(name) for name in names}) == 1
    assert names == sorted(names)


def test_names_are_ordered_by_number():
    names = [shard_name(split, number, 10**6) for split in ("test", "train") for number in (2, 10, 99_999, 100_000)]
    assert sorted(names) != names
    assert sorted(names, key=number_order) == names
    parts = ["part-2-train-00001-of-00002.parquet", "part-10-train-00000-of-00002.parquet"]
    assert sorted(parts) != parts
    assert sorted(parts, key=number_order) == parts
