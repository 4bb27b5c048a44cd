import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.order import mix64, order_keys, permutation

GOLDEN = 0x9E3779B97F4A7C15


def test_mix64_is_splitmix64():
    # the first outputs of the reference implementation from states 0 and 1234567 (Vigna, splitmix64.c)
    assert mix64(np.array([0], np.uint64))[0] == 0xE220A8397B1DCDAF
    states = np.array([1234567, 1234567 + GOLDEN], np.uint64)
    assert mix64(states).tolist() == [6457827717110365317, 3203168211198807973]


@given(st.lists(st.integers(0, 2**32), max_size=4), st.integers(0, 500))
def test_permutation_holds_every_position_once(stream, length):
    assert sorted(permutation(tuple(stream), length).tolist()) == list(range(length))


@given(st.integers(0, 2**63 - 1), st.integers(0, 3))
def test_keys_of_a_stream_never_collide(seed, split):
    assert len(np.unique(order_keys((seed, split), np.arange(5000)))) == 5000


def test_streams_differ_in_every_part():
    orders = [tuple(permutation(stream, 50)) for stream in ((1, 0), (0, 1), (1, 1), (1,), (0, 0), (1, 0, 0))]
    assert len(set(orders)) == len(orders)


def test_a_permutation_is_spread_evenly():
    counts = np.zeros((4, 4), int)
    for seed in range(400):
        counts[np.arange(4), permutation((seed,), 4)] += 1
    assert counts.min() > 70  # 100 expected
    assert counts.max() < 130


def test_the_order_is_pinned():
    assert permutation((1, 2, 3), 10).tolist() == [0, 7, 5, 8, 3, 6, 9, 2, 1, 4]
