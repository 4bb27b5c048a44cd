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


def order_keys(stream: tuple[int, ...], positions: npt.NDArray[np.integer]) -> Keys:
    """Give each position its sort key in a stream; no two positions of a stream share one.

    Args:
        stream: the non-negative integers that name the stream, such as (seed, split) or (seed, epoch, window).
        positions: integer[n], non-negative.

    Returns:
        uint64[n].
    """
    state = np.zeros(1, np.uint64)
    for part in stream:
        state = mix64(state ^ np.uint64(part))
    return mix64(positions.astype(np.uint64) ^ state)


def permutation(stream: tuple[int, ...], length: int) -> npt.NDArray[np.int64]:
    """Return int64[length], the positions 0 .. length - 1 in the order of their keys in the stream."""
    return np.argsort(order_keys(stream, np.arange(length))).astype(np.int64)
