"""From shards to the batches of a run: many batches to an element, in the order of `model.epochs`.

Resident and streaming are one path: the windows that `model.reading` reads ahead, and the chunks that are gathered
from them here. A chunk is handed to one compiled call.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import gcd, prod
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.epochs import EpochOrder
from model.errors import BadInput, CorruptArtefact
from model.examples import Bytes, Integers
from model.functions import Tensor
from model.reading import BackgroundReader, ExampleStream, ResidentSplit, SplitReader, TwoWindows

ALIGNMENT = 64  # bytes
WINDOW_BYTES = 2**30
MOST_MORE_CALLS = 1000  # of shorter chunks; compiling a second program takes as long as these or more
CHUNK_BYTES = 2**24  # of pixels handed to one compiled call: large enough to hide the call, small enough to prefetch


@dataclass(frozen=True)
class BatchPlan:
    """Which batches to make.

    Attributes:
        seed: of the order.
        batch_size: examples a step.
        num_steps: steps in all.
        report_every: chunks end at multiples of this many steps.
        window_bytes: budget for the images that are permuted together, those of all parts.
        chunk_bytes: budget for the images of a chunk; it decides no bits of the parameters.
        num_parts: equal parts of a batch whose examples come from different shards; see `model.epochs`.
        own_part: the only part of each batch to make, counted from 0; None for whole batches.
        early_steps: steps below num_steps, ascending, at which a chunk ends too.
    """

    seed: int
    batch_size: int
    num_steps: int
    report_every: int
    window_bytes: int = WINDOW_BYTES
    chunk_bytes: int = CHUNK_BYTES
    num_parts: int = 1
    own_part: int | None = None
    early_steps: tuple[int, ...] = ()

    @property
    def num_made(self) -> int:
        """Examples of a batch that are made."""
        return self.batch_size if self.own_part is None else self.batch_size // self.num_parts


def make_chunks(reader: SplitReader, plan: BatchPlan, first_step: int = 0) -> tf.data.Dataset:
    """Return the run's batches, many to an element, prefetched.

    Args:
        reader: of the split.
        plan: which batches.
        first_step: updates done already. The batches are those that a run from step 0 has from there on; shards that
            only earlier steps need are not read.

    Returns:
        a tf.data.Dataset of (images uint8[steps, n, num_pixels], labels int32[steps, n]), where n is batch_size, or the
        size of the plan's own part. Reading begins when an iterator of it is made.

    Raises:
        BadInput: the split is empty.
        CorruptArtefact: first_step is beyond the last.
    """
    _check_start(reader, plan, first_step)
    options = tf.data.Options()
    options.experimental_warm_start = True  # begin when the iterator is made, not when its first chunk is asked for
    return _gather_chunks(reader, plan, first_step).with_options(options)


def _gather_chunks(reader: SplitReader, plan: BatchPlan, first_step: int) -> tf.data.Dataset:
    size = plan.num_made
    pixels = reader.num_pixels
    signature = (tf.TensorSpec((None, size, pixels), tf.uint8), tf.TensorSpec((None, size), tf.int32))

    def generate() -> Iterator[tuple[Tensor, Tensor]]:
        memory = _Reused()
        spare = _Reused()
        with _open_streams(reader, plan, first_step) as streams:
            for steps in chunk_lengths(plan, pixels, first_step):
                images = memory.take((steps * size, pixels))
                labels = aligned((steps * size,), np.int32)
                if len(streams) == 1:
                    streams[0].take_into(images, labels)
                else:
                    _take_parts(streams, images.reshape(steps, size, pixels), labels.reshape(steps, size), spare)
                yield images.reshape(steps, size, pixels), labels.reshape(steps, size)

    return _prefetch(generate, signature)


def _prefetch(generate: Callable[[], Iterator[Any]], signature: tuple[tf.TensorSpec, ...]) -> tf.data.Dataset:
    """Return a dataset that runs a generator two elements ahead."""
    options = tf.data.Options()
    # there is nothing to tune, and four runs of a stack, which end together, waited 2 s for the threads that would
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2).with_options(options)


@contextmanager
def _open_streams(
    reader: SplitReader, plan: BatchPlan, first_step: int, resident: ResidentSplit | None = None
) -> Iterator[list[ExampleStream]]:
    """Return the stream of each part to make, in order; the thread that reads for them ends with the context.

    Args:
        reader: of the split.
        plan: which batches.
        first_step: updates done already.
        resident: the split in memory; if None, it is made if the split fits the budget.
    """
    order = EpochOrder(
        reader.shard_sizes,
        plan.seed,
        plan.batch_size,
        plan.num_parts,
        plan.window_bytes // (plan.num_parts * reader.num_pixels),
    )
    parts = range(plan.num_parts) if plan.own_part is None else (plan.own_part,)
    with BackgroundReader(reader) as background:
        if resident is None and _is_resident(reader, plan):
            resident = ResidentSplit(background.reader)
        yield [
            ExampleStream(
                order.stream(part, first_step, plan.num_steps),
                resident or TwoWindows(background.reader, order.largest_window),
                background,
            )
            for part in parts
        ]


def _take_parts(streams: list[ExampleStream], images: Tensor, labels: Tensor, spare: "_Reused") -> None:
    """Fill uint8[steps, batch_size, num_pixels] and int32[steps, batch_size] with the parts of the streams."""
    steps, batch_size, pixels = images.shape
    size = batch_size // len(streams)
    for number, stream in enumerate(streams):
        own_images = spare.take((steps * size, pixels))
        own_labels = np.empty(steps * size, np.int32)
        stream.take_into(own_images, own_labels)
        place = slice(number * size, (number + 1) * size)
        images[:, place] = own_images.reshape(steps, size, pixels)
        labels[:, place] = own_labels.reshape(steps, size)


class GpuMemory:
    """The memory of a GPU, where a split stays for all runs that are trained on it."""

    def __init__(self, device: str) -> None:
        """Choose a device of this process, such as GPU:0."""
        self.device = device
        self._lock = Lock()
        self._loaded: tuple[SplitReader, ResidentSplit, Tensor] | None = None

    def load(self, reader: SplitReader) -> tuple[ResidentSplit, Tensor]:
        """Return a split whose shards are all read, and its images on the device; they are copied once."""
        with self._lock:
            if self._loaded is None or self._loaded[0] is not reader:
                resident = ResidentSplit(reader)
                resident.read_all()
                with tf.device(self.device):
                    self._loaded = reader, resident, tf.constant(resident.examples.images)
            return self._loaded[1:]


def make_chunks_on(
    gpu: GpuMemory, reader: SplitReader, plan: BatchPlan, first_step: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the chunks of `make_chunks` as tensors in the memory of a GPU.

    A split that fits the budget of a window is copied to the GPU once, and a chunk is gathered there from its
    positions: copying the images of every batch would take longer than large batches train (docs/devices.md). Other
    splits are copied chunk by chunk while the chunk before is trained on.

    Args:
        gpu: where the chunks are needed.
        reader: of the split; other arguments and errors as for `make_chunks`.
        plan: which batches.
        first_step: updates done already.
    """
    _check_start(reader, plan, first_step)
    if not _is_resident(reader, plan):
        on_device = tf.data.experimental.prefetch_to_device(gpu.device, buffer_size=2)
        yield from _gather_chunks(reader, plan, first_step).apply(on_device)
        return
    resident, images = gpu.load(reader)
    for positions, labels in _position_chunks(reader, resident, plan, first_step):
        with tf.device(gpu.device):
            chunk = tf.gather(images, positions), tf.identity(labels)
        yield chunk  # outside of the scope, which would hold for the caller too


def _position_chunks(reader: SplitReader, resident: ResidentSplit, plan: BatchPlan, first_step: int) -> tf.data.Dataset:
    """Return the positions in a resident split, and the labels, of each chunk: int32[steps, n] as in `make_chunks`."""
    size = plan.num_made
    signature = (tf.TensorSpec((None, size), tf.int32), tf.TensorSpec((None, size), tf.int32))

    def generate() -> Iterator[tuple[Integers, Integers]]:
        with _open_streams(reader, plan, first_step, resident) as streams:
            part_size = size // len(streams)
            for steps in chunk_lengths(plan, reader.num_pixels, first_step):
                parts = [stream.take_positions(steps * part_size).reshape(steps, -1) for stream in streams]
                positions = np.concatenate(parts, axis=1)
                yield positions.astype(np.int32), resident.examples.labels[positions].astype(np.int32)

    return _prefetch(generate, signature)


def _is_resident(reader: SplitReader, plan: BatchPlan) -> bool:
    return reader.num_pixels * reader.num_examples <= plan.window_bytes


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

    A chunk ends at every report, at every early step and, between them, at multiples of one length. So a resumed run
    has the same chunks from there on, and XLA, which compiles a program for each number of steps, compiles one if it
    can.
    """
    done = first_step
    for phase in _list_phases(plan):
        length = _chunk_length(phase, num_pixels)
        while done < phase.num_steps:
            since_report = done % phase.report_every
            to_report = phase.report_every - since_report
            to_multiple = length - since_report % length
            steps = min(to_multiple, to_report, phase.num_steps - done)
            yield steps
            done += steps


def _list_phases(plan: BatchPlan) -> list[BatchPlan]:
    """Return plans whose reports, one after the other to the last step of each, are where chunks have to end.

    Chunks that end at early steps too are short. After the last early step they are long again, which takes a second
    program, only if that saves more than MOST_MORE_CALLS.
    """
    shared = gcd(plan.report_every, *plan.early_steps)
    short = replace(plan, report_every=shared)
    if plan.num_steps // shared - plan.num_steps // plan.report_every <= MOST_MORE_CALLS:
        return [short]
    return [replace(short, num_steps=plan.early_steps[-1]), plan]


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
