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


KEYS = st.integers(0, 2**64 - 1)


@given(KEYS, st.integers(0, 500))
def test_permutation_holds_every_position_once(key, length):
    assert sorted(permutation(key, length).tolist()) == list(range(length))


@given(KEYS)
def test_sort_keys_of_a_stream_never_collide(key):
    assert len(np.unique(order_keys(key, np.arange(5000)))) == 5000


def test_permutation_is_pinned():
    assert permutation(123, 10).tolist() == [2, 8, 5, 0, 3, 6, 1, 4, 7, 9]
