"""No two streams of random numbers share a key."""

import itertools

import numpy as np
import pytest

from model.order import mix64, order_keys, permutation
from model.random_streams import Purpose, philox_seed, stream_key

SEED_BITS = 31  # of a run's seed; see model.recipes.TrainingConfig


def test_no_two_purposes_share_a_key_for_any_seeds():
    """mix64(mix64(p) ^ s) is equal for (p, s) and (q, t) only if mix64(p) ^ mix64(q) = s ^ t, which is below 2^31."""
    mixed = mix64(np.array(sorted(set(Purpose) - {Purpose.STORED_ORDER}), np.uint64)).tolist()
    assert len(mixed) == 11
    assert all((first ^ second) >> SEED_BITS for first, second in itertools.combinations(mixed, 2))


def test_keys_of_many_runs_differ():
    seeds = [*range(60), 5000, 2**31 - 1]
    pairs = list(itertools.product(seeds, range(12)))
    names = [
        *((purpose, seed) for purpose in (Purpose.DROPOUT, Purpose.GRADIENT_CHECK_BATCH) for seed in seeds),
        *((purpose, *pair) for purpose in (Purpose.STARTING_WEIGHTS, Purpose.STARTING_BIASES) for pair in pairs),
        *((Purpose.SHARD_ORDER, *pair) for pair in pairs),
        *((Purpose.EXAMPLE_ORDER, *pair, window) for pair in pairs for window in range(4)),
        *((Purpose.READING_SHARD_ORDER, *pair) for pair in pairs),
        *((Purpose.READING_EXAMPLE_ORDER, *pair, shard) for pair in pairs for shard in range(4)),
        *((Purpose.GRADIENT_CHECK_PLACES, *pair, field) for pair in pairs for field in range(2)),
        *((Purpose.JITTER, number) for number in (0, 1, 2**64 - 1)),
        (Purpose.BOOTSTRAP,),
    ]
    assert set(Purpose) - {Purpose.STORED_ORDER} == {purpose for purpose, *_ in names}
    assert len({stream_key(*name) for name in names}) == len(names)
    assert len({tuple(philox_seed(*name)) for name in names}) == len(names)


def test_no_order_of_training_equals_that_of_stored_examples():
    """Equal sort keys at positions 0 and 1, whatever the two keys, would need mix64(0) ^ mix64(1) = 0 ^ 1.

    It matters because keys can be equal: shuffle seed 3 and split 1 have the key of the shard order of seed 1.
    """
    first, second = mix64(np.array([0, 1], np.uint64)).tolist()
    assert first ^ second != 1
    key = stream_key(Purpose.STORED_ORDER, 3, 1)
    assert key == stream_key(Purpose.SHARD_ORDER, 1)
    assert permutation(key, 50).tolist() != np.argsort(order_keys(key, np.arange(50))).tolist()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ((Purpose.STORED_ORDER, 1, 0), 0x5E41AB087439611E),
        ((Purpose.STARTING_WEIGHTS, 1, 0), 0x5775264A9A7E1B09),
        ((Purpose.STARTING_BIASES, 1, 0), 0x90B96B4DD23BD6EB),
        ((Purpose.SHARD_ORDER, 1, 0), 0x5564FA0600422600),
        ((Purpose.EXAMPLE_ORDER, 1, 0, 0), 0x9DF939D4695132D6),
        ((Purpose.DROPOUT, 1), 0xE17B6D147DA182DA),
        ((Purpose.GRADIENT_CHECK_BATCH, 1), 0x3B5B26B4ABEDC4AB),
        ((Purpose.GRADIENT_CHECK_PLACES, 1, 0, 0), 0x328B43DC0BF159E5),
        ((Purpose.BOOTSTRAP,), 0x9E5651B0EF953636),
        ((Purpose.JITTER, 1), 0x6299D894C7C33835),
    ],
)
def test_keys_are_pinned(name, key):
    """If one changes, raise STREAMS_VERSION; that of STORED_ORDER must never change."""
    assert stream_key(*name) == key


@pytest.mark.parametrize("number", [-1, 2**64])
def test_number_out_of_range_is_rejected(number):
    with pytest.raises(OverflowError):
        stream_key(Purpose.DROPOUT, number)
