"""Streams of random numbers, one for each purpose, so that no two uses draw the same numbers.

A stream is identified by a 64-bit key, which seeds its generator (philox, NumPy's, or a sort by mixed positions).

The keys of any two different pairs of purpose and seed below 2^31 differ, because mix64(purpose) differs in its
upper 33 bits between any two purposes (tested). With more numbers after the seed, two streams have equal keys with
probability 2^-64.
"""

from enum import IntEnum, unique

import numpy as np
import numpy.typing as npt

from model.order import mix64

STREAMS_VERSION = 2
"""Part of a run's id. Raise it with every change of the numbers of a stream, or of where a stream is used."""


@unique
class Purpose(IntEnum):
    """What a stream is for; comments name the other arguments of `stream_key`.

    The number of a purpose must never change: the keys are mixed from it.
    """

    STORED_ORDER = 0  # shuffle seed, split: the order of examples in the shards, which no version may change
    STARTING_WEIGHTS = 1  # seed, layer
    STARTING_BIASES = 2  # seed, layer
    SHARD_ORDER = 3  # seed, epoch
    EXAMPLE_ORDER = 4  # seed, epoch, window; and the part of a batch, if each has shards of its own
    DROPOUT = 5  # seed; step and layer are counted within the stream
    GRADIENT_CHECK_BATCH = 6  # seed
    GRADIENT_CHECK_PLACES = 7  # seed, layer, field
    BOOTSTRAP = 8
    JITTER = 9  # a digest of scheduler and due time
    READING_SHARD_ORDER = 10  # seed, number of the pass: of a tf.data.Dataset for other programs, as is the next
    READING_EXAMPLE_ORDER = 11  # seed, number of the pass, shard


def stream_key(purpose: Purpose, *numbers: int) -> int:
    """Return the key of a stream, 0 to 2^64 - 1.

    Args:
        purpose: what is drawn.
        numbers: 0 to 2^64 - 1 each, as listed at the purpose: they select one of its streams.

    Raises:
        OverflowError: a number is out of range.
    """
    # STORED_ORDER is older than the other purposes, and its number is not mixed in, so a shuffle seed can have the key
    # of another stream. The orders differ all the same: only STORED_ORDER sorts by `order_keys` of the positions
    # themselves (see `permutation`), and no generator is seeded with its key.
    named = (purpose, *numbers) if purpose is not Purpose.STORED_ORDER else numbers
    state = np.zeros(1, np.uint64)
    for number in named:
        state = mix64(state ^ np.uint64(number))
    return int(state[0])


def philox_seed(purpose: Purpose, *numbers: int) -> npt.NDArray[np.int64]:
    """Return int64[2], the seed of a stream for TensorFlow's stateless operations: its key, and 0."""
    return np.array([stream_key(purpose, *numbers), 0], np.uint64).view(np.int64)
