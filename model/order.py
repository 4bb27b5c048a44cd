"""The arithmetic shuffle: every order in backbeam is a sort by one 64-bit mix.

No random generator, no state: the same numbers give the same order on every machine, engine and NumPy version.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Keys: TypeAlias = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix64(values: Keys) -> Keys:
    """Scatter 64-bit integers over all 64-bit integers, one to one.

    This is one output of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    2014) for each value taken as the generator's state.

    Args:
        values: uint64[n].

    Returns:
        uint64[n]; distinct values have distinct results.
    """
    z = values + _GOLDEN  # arithmetic on uint64 arrays wraps around, as intended
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


def order_keys(key: int, positions: npt.NDArray[np.integer]) -> Keys:
    """Give each position its sort key in a stream; no two positions of a stream share one.

    Args:
        key: of the stream, as `model.random_streams.stream_key` gives it.
        positions: integer[n], non-negative.

    Returns:
        uint64[n].
    """
    return mix64(positions.astype(np.uint64) ^ np.uint64(key))


def permutation(key: int, length: int) -> npt.NDArray[np.int64]:
    """Return int64[length], the positions 0 .. length - 1 in an order that is a pure function of a stream's key.

    The sort keys are order_keys(key, mix64(positions)). They equal order_keys(other, positions) for no pair of streams:
    equality at positions 0 and 1 would need mix64(0) ^ mix64(1) = 1. So no permutation repeats the order of the stored
    examples.
    """
    scattered = mix64(np.arange(length, dtype=np.uint64))
    return np.argsort(order_keys(key, scattered)).astype(np.int64)
