"""From shards to the batches of a run, in an order that is a pure function of (seed, epoch, shards).

The examples of a run are one endless stream: epoch after epoch, each a permutation of the split. Step k takes the
stream's examples k * batch_size to (k + 1) * batch_size, so a batch may span two epochs and none is ever short.

Within an epoch the shards are permuted and cut into windows, as many shards together as fit the memory budget; the
examples of a window are permuted together. If the whole split fits, it is one window and stays in memory: an epoch is
then a full permutation. Resident and streaming are this one path.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import gcd, prod
from typing import Any, Protocol
from weakref import finalize

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.errors import BadInput, CorruptArtefact
from model.examples import Bytes, Examples, Integers
from model.functions import Tensor
from model.order import permutation
from model.random_streams import Purpose, stream_key

ALIGNMENT = 64  # bytes
WINDOW_BYTES = 2**30
CHUNK_BYTES = 2**24  # of pixels handed to one compiled call: large enough to hide the call, small enough to prefetch


class ReadShard(Protocol):
    """Reads a shard, verified."""

    def __call__(self, number: int, images: Bytes | None = None) -> Examples:
        """Return the shard's examples; images are uint8[n, num_pixels] to fill, where there is memory already."""


@dataclass(frozen=True)
class SplitReader:
    """A split's examples, shard by shard.

    Attributes:
        shard_sizes: number of examples of each shard.
        num_pixels: bytes of one image.
        read_shard: the examples of shard i.
    """

    shard_sizes: tuple[int, ...]
    num_pixels: int
    read_shard: ReadShard

    @property
    def num_examples(self) -> int:
        """Examples in the split."""
        return sum(self.shard_sizes)


@dataclass(frozen=True)
class BatchPlan:
    """Which batches to make.

    Attributes:
        seed: of the order.
        batch_size: examples a step.
        num_steps: steps in all.
        report_every: chunks end at multiples of this many steps.
        window_bytes: budget for the images that are permuted together.
        chunk_bytes: budget for the images of a chunk; it decides no bits of the parameters.
    """

    seed: int
    batch_size: int
    num_steps: int
    report_every: int
    window_bytes: int = WINDOW_BYTES
    chunk_bytes: int = CHUNK_BYTES


def make_chunks(reader: SplitReader, plan: BatchPlan, first_step: int = 0) -> tf.data.Dataset:
    """Return the run's batches, many to an element, prefetched.

    Args:
        reader: of the split.
        plan: which batches.
        first_step: updates done already. The batches are those that a run from step 0 has from there on; shards that
            only earlier steps need are not read.

    Returns:
        a tf.data.Dataset of (images uint8[steps, batch_size, num_pixels], labels int32[steps, batch_size]).

    Raises:
        BadInput: the split is empty.
        CorruptArtefact: first_step is beyond the last.
    """
    _check_start(reader, plan, first_step)
    size = plan.batch_size
    pixels = reader.num_pixels
    signature = (tf.TensorSpec((None, size, pixels), tf.uint8), tf.TensorSpec((None, size), tf.int32))

    def generate() -> Iterator[tuple[Tensor, Tensor]]:
        stream = _Shuffled(reader, plan, first_step * size)
        memory = _Reused()
        for steps in chunk_lengths(plan, pixels, first_step):
            images = memory.take((steps * size, pixels))
            labels = aligned((steps * size,), np.int32)
            stream.take_into(images, labels)
            yield images.reshape(steps, size, pixels), labels.reshape(steps, size)

    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)


def make_chunks_on(
    device: str, reader: SplitReader, plan: BatchPlan, first_step: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the chunks of `make_chunks` as tensors in the memory of a GPU.

    A split that is a single window is copied to the GPU once, and a chunk is gathered there from its positions: copying
    the images of every batch would take longer than large batches train (docs/devices.md). Other splits are copied
    chunk by chunk while the chunk before is trained on.

    Args:
        device: of this process, such as GPU:0.
        reader: of the split; other arguments and errors as for `make_chunks`.
        plan: which batches.
        first_step: updates done already.
    """
    _check_start(reader, plan, first_step)
    if reader.num_pixels * reader.num_examples > plan.window_bytes:
        on_device = tf.data.experimental.prefetch_to_device(device, buffer_size=2)
        yield from make_chunks(reader, plan, first_step).apply(on_device)
        return
    stream = _Shuffled(reader, plan, first_step * plan.batch_size)
    window = stream.read_window()
    with tf.device(device):
        images = tf.constant(window.images)
    for positions, labels in _position_chunks(stream, window, plan, first_step):
        with tf.device(device):
            chunk = tf.gather(images, positions), tf.identity(labels)
        yield chunk  # outside of the scope, which would hold for the caller too


def _position_chunks(stream: "_Shuffled", window: Examples, plan: BatchPlan, first_step: int) -> tf.data.Dataset:
    """Return the positions in the split's only window, and the labels, of each chunk: int32[steps, batch_size]."""
    size = plan.batch_size
    signature = (tf.TensorSpec((None, size), tf.int32), tf.TensorSpec((None, size), tf.int32))

    def generate() -> Iterator[tuple[Integers, Integers]]:
        for steps in chunk_lengths(plan, window.images.shape[1], first_step):
            positions = stream.take_positions(steps * size).reshape(steps, size)
            yield positions.astype(np.int32), window.labels[positions].astype(np.int32)

    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)


def _check_start(reader: SplitReader, plan: BatchPlan, first_step: int) -> None:
    if not reader.num_examples:
        raise BadInput("the train split holds no examples")
    if first_step > plan.num_steps:
        raise CorruptArtefact(
            f"this run has {plan.num_steps} steps, so it cannot go on from step {first_step}; delete its checkpoints "
            "to train from the start"
        )


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialised array at an address aligned for TensorFlow, which then uses it without a copy."""
    num_bytes = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + ALIGNMENT, np.uint8)
    return _align(memory, num_bytes).view(dtype).reshape(shape)


def _align(memory: Bytes, num_bytes: int) -> Bytes:
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + num_bytes]


class _Reused:
    """A pool of memory for chunks of images; a piece returns to it when the last reference to its chunk is gone.

    TensorFlow makes the C library return memory of this size to the kernel when it is freed. Allocating it again, page
    by page, takes longer than filling it.
    """

    def __init__(self) -> None:
        self._free: list[Bytes] = []

    def take(self, shape: tuple[int, int]) -> Bytes:
        """Return an uninitialised uint8 array, aligned as in `aligned`."""
        num_bytes = prod(shape)
        size = num_bytes + ALIGNMENT
        self._free[:] = [piece for piece in self._free if len(piece) == size]
        piece = self._free.pop() if self._free else np.empty(size, np.uint8)
        # not a view of another array, so every view or tensor of it keeps this object alive, and finalize waits for all
        memory = np.frombuffer(piece.data, np.uint8)
        finalize(memory, self._free.append, piece).atexit = False
        return _align(memory, num_bytes).reshape(shape)


def chunk_lengths(plan: BatchPlan, num_pixels: int, first_step: int = 0) -> Iterator[int]:
    """Yield the steps of each chunk from first_step on.

    A chunk ends at every report and, between two reports, at multiples of one length. So a resumed run has the same
    chunks from there on, and XLA, which compiles a program for each number of steps, compiles one if it can.
    """
    length = _chunk_length(plan, num_pixels)
    done = first_step
    while done < plan.num_steps:
        since_report = done % plan.report_every
        to_report = plan.report_every - since_report
        to_multiple = length - since_report % length
        steps = min(to_multiple, to_report, plan.num_steps - done)
        yield steps
        done += steps


def _chunk_length(plan: BatchPlan, num_pixels: int) -> int:
    """Choose a length that divides every interval between reports, the last one too; of equal pieces if there is none.

    A length of less than half of the budget's is not worth its calls.
    """
    interval = min(plan.report_every, plan.num_steps)
    most = max(1, min(interval, plan.chunk_bytes // (plan.batch_size * num_pixels)))
    for whole in (gcd(interval, plan.num_steps), interval):
        longest = max(length for length in range(1, most + 1) if whole % length == 0)
        if 2 * longest > most:
            return longest
    return -(-interval // -(-interval // most))


def epoch_windows(shard_sizes: tuple[int, ...], plan: BatchPlan, num_pixels: int, epoch: int) -> list[tuple[int, ...]]:
    """Cut an epoch's permuted shards into windows of at most the budget (or of one shard, where that is larger)."""
    budget = plan.window_bytes // num_pixels
    used = 0
    windows: list[list[int]] = []
    order = permutation(stream_key(Purpose.SHARD_ORDER, plan.seed, epoch), len(shard_sizes))
    for shard in order.tolist():
        if not windows or used + shard_sizes[shard] > budget:
            windows.append([shard])
            used = shard_sizes[shard]
        else:
            windows[-1].append(shard)
            used += shard_sizes[shard]
    return [tuple(sorted(window)) for window in windows]


class _Shuffled:
    """The endless stream of shuffled examples, taken in pieces of any size.

    Attributes:
        window: the examples of the window that it has reached; none before the first are taken.
    """

    def __init__(self, reader: SplitReader, plan: BatchPlan, num_taken: int) -> None:
        self._reader = reader
        self._windows = _shuffled_windows(reader, plan, num_taken)
        self._shards: tuple[int, ...] = ()
        self._store = _allocate(min(reader.num_examples, _most_in_a_window(reader, plan)), reader.num_pixels)
        self.window = self._store
        self._order = np.zeros(0, np.int64)

    def take_into(self, images: Tensor, labels: Tensor) -> None:
        """Fill uint8[n, num_pixels] and int32[n] with the next n examples."""
        start = 0
        while start < len(labels):
            chosen = self._take_at_most(len(labels) - start)
            place = slice(start, start + len(chosen))
            # "clip" keeps NumPy from making a copy first; no position is out of range
            np.take(self.window.images, chosen, axis=0, out=images[place], mode="clip")
            labels[place] = self.window.labels[chosen]
            start = place.stop

    def read_window(self) -> Examples:
        """Return the window of the next example."""
        if not len(self._order):
            self._go_on()
        return self.window

    def take_positions(self, num_examples: int) -> Integers:
        """Return the positions of the next examples in the window, which must be the only one of the split."""
        pieces = []
        while num_examples:
            pieces.append(self._take_at_most(num_examples))
            num_examples -= len(pieces[-1])
        return np.concatenate(pieces)

    def _take_at_most(self, num_examples: int) -> Integers:
        """Return the positions of the next examples in the window; go to the next window if this one is used up."""
        while not len(self._order):
            self._go_on()
        chosen, self._order = np.split(self._order, [num_examples])
        return chosen

    def _go_on(self) -> None:
        """Go to the next window; read it unless it is the one in memory, as for a split that is a single window."""
        shards, self._order = next(self._windows)
        if shards != self._shards:
            self.window = _read_window(self._reader, shards, self._store)
            self._shards = shards


def _most_in_a_window(reader: SplitReader, plan: BatchPlan) -> int:
    return max(plan.window_bytes // reader.num_pixels, *reader.shard_sizes)


def _allocate(num_examples: int, num_pixels: int) -> Examples:
    images = np.empty((num_examples, num_pixels), np.uint8)
    return Examples(np.empty(num_examples, np.int64), images, np.empty(num_examples, np.int64))


def _read_window(reader: SplitReader, window: tuple[int, ...], store: Examples) -> Examples:
    """Read shards into the store, over its old content; allocating memory for each window costs as much as reading."""
    start = 0
    for shard in window:
        place = slice(start, start + reader.shard_sizes[shard])
        store.indices[place], _, store.labels[place] = reader.read_shard(shard, store.images[place])
        start = place.stop
    return Examples(store.indices[:start], store.images[:start], store.labels[:start])


def _shuffled_windows(
    reader: SplitReader, plan: BatchPlan, num_taken: int
) -> Iterator[tuple[tuple[int, ...], Integers]]:
    """Yield each window and the order to take its examples in, epoch after epoch without end.

    The first num_taken examples of the stream are skipped; windows that contain no others are not yielded.
    """
    first_epoch, num_taken = divmod(num_taken, reader.num_examples)
    for epoch in count(first_epoch):
        for number, window in enumerate(epoch_windows(reader.shard_sizes, plan, reader.num_pixels, epoch)):
            num_examples = sum(reader.shard_sizes[shard] for shard in window)
            if num_taken < num_examples:
                key = stream_key(Purpose.EXAMPLE_ORDER, plan.seed, epoch, number)
                yield window, permutation(key, num_examples)[num_taken:]
            num_taken = max(0, num_taken - num_examples)
