import pytest

from model.errors import BadUsage
from pipeline.shards import MOST_MEAN_BYTES, MOST_SHARDS, choose_num_shards, default_num_shards


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
    with pytest.raises(BadUsage, match=r"vast is too large: .* at most 99999"):
        choose_num_shards(None, MOST_SHARDS * MOST_MEAN_BYTES, 784, "vast")
