"""The streams of random numbers: each named by its purpose, so that no two things draw the same numbers.

A stream is known by a 64-bit key. What draws (philox, NumPy's generator, a sort by mixed positions) begins with it.

For one purpose and one seed below 2^31, keys are equal for no other purpose and seed of that kind, because
mix64(purpose) differs in its upper 33 bits between any two purposes (tested). With more numbers behind the seed, equal
keys are a matter of chance: 2^-64 for each pair of streams.
"""

from enum import IntEnum, unique

import numpy as np
import numpy.typing as npt

from model.order import mix64

STREAMS_VERSION = 2
"""Part of a run's id. Raise it with every change of what a stream gives, or of which one is used where."""


@unique
class Purpose(IntEnum):
    """What a stream is for; the numbers that `stream_key` takes besides stand behind it.

    A purpose keeps its number for ever: the key is mixed from it.
    """

    STORED_ORDER = 0  # shuffle seed, split: the order of examples in the shards, which no version may change
    STARTING_WEIGHTS = 1  # seed, layer
    STARTING_BIASES = 2  # seed, layer
    SHARD_ORDER = 3  # seed, epoch
    EXAMPLE_ORDER = 4  # seed, epoch, window
    DROPOUT = 5  # seed; step and layer are counted within the stream
    GRADIENT_CHECK_BATCH = 6  # seed
    GRADIENT_CHECK_PLACES = 7  # seed, layer, field
    BOOTSTRAP = 8
    JITTER = 9  # a digest of scheduler and due time


def stream_key(purpose: Purpose, *numbers: int) -> int:
    """Return the key of a stream, 0 to 2^64 - 1.

    Args:
        purpose: what is drawn.
        numbers: 0 to 2^64 - 1 each, as many as the purpose has: which of its streams.

    Raises:
        OverflowError: a number is out of range.
    """
    # STORED_ORDER is older than the others: its number is not mixed in, so that some shuffle seed has another stream's
    # key. It is none of theirs all the same: only it sorts by `order_keys` of the bare positions (see `permutation`),
    # and no generator begins with its key.
    named = (purpose, *numbers) if purpose is not Purpose.STORED_ORDER else numbers
    state = np.zeros(1, np.uint64)
    for number in named:
        state = mix64(state ^ np.uint64(number))
    return int(state[0])


def philox_seed(purpose: Purpose, *numbers: int) -> npt.NDArray[np.int64]:
    """Return int64[2], the seed with which TensorFlow's stateless operations begin a stream: its key, and 0."""
    return np.array([stream_key(purpose, *numbers), 0], np.uint64).view(np.int64)
