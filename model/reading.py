"""Reading the windows of a run into memory, ahead of the steps that need them.

One thread reads. While the examples of a window are taken, it reads the next one, which is then in memory when it is
needed, if reading takes no longer than the steps. A split that fits the budget of a window stays in memory, and each
of its shards is read once; of a larger one, each stream holds the window in use and the one that is read.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeAlias

import numpy as np

from model.epochs import Rows, Window
from model.examples import Bytes, Examples, Integers
from model.functions import Tensor


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
        read_shard: the examples of shard i; called from another thread.
    """

    shard_sizes: tuple[int, ...]
    num_pixels: int
    read_shard: ReadShard

    @property
    def num_examples(self) -> int:
        """Examples in the split."""
        return sum(self.shard_sizes)


class LoadedWindow(NamedTuple):
    """A window in memory.

    Attributes:
        examples: that are in memory.
        positions: int64[n], of the examples to take, in that order.
    """

    examples: Examples
    positions: Integers


class WindowMemory(Protocol):
    """Holds windows."""

    def load(self, window: Window, order: Integers) -> LoadedWindow:
        """Read the examples of a window that are not in memory yet; order is int64[n], positions in the window."""


class ResidentSplit:
    """Memory of a whole split, which stays: a shard is read when a window first has it.

    Attributes:
        examples: of all shards in order; those of shards that were not read are undefined.
    """

    def __init__(self, reader: SplitReader) -> None:
        self.examples = _allocate(reader.num_examples, reader.num_pixels)
        self._reader = reader
        self._starts = np.cumsum((0, *reader.shard_sizes))
        self._present: set[int] = set()

    def load(self, window: Window, order: Integers) -> LoadedWindow:
        """Read the window's shards that were not read before, whole: another window may have the rest of a shard."""
        self._read(rows.shard for rows in window)
        positions = [np.arange(rows.start, rows.stop) + self._starts[rows.shard] for rows in window]
        return LoadedWindow(self.examples, np.concatenate(positions)[order])

    def read_all(self) -> None:
        """Read every shard that was not read before."""
        self._read(range(len(self._reader.shard_sizes)))

    def _read(self, shards: Iterable[int]) -> None:
        for shard in shards:
            if shard not in self._present:
                whole = Rows(shard, 0, self._reader.shard_sizes[shard])
                _read_rows(self._reader, whole, self.examples, int(self._starts[shard]))
                self._present.add(shard)


class TwoWindows:
    """Memory of two windows of a stream: examples are taken from one while the next is read into the other."""

    def __init__(self, reader: SplitReader, size: int) -> None:
        self._reader = reader
        self._current = _allocate(size, reader.num_pixels)
        self._other = _allocate(size, reader.num_pixels)
        self._window: Window = ()

    def load(self, window: Window, order: Integers) -> LoadedWindow:
        """Read a window over the one before the last, unless it is the last one again."""
        if window != self._window:
            # allocating memory for each window would cost as much as reading
            before = self._current
            self._current = self._other
            self._other = before
            start = 0
            for rows in window:
                start = _read_rows(self._reader, rows, self._current, start)
            self._window = window
        return LoadedWindow(self._current, order)


def _allocate(num_examples: int, num_pixels: int) -> Examples:
    images = np.empty((num_examples, num_pixels), np.uint8)
    return Examples(np.empty(num_examples, np.int64), images, np.empty(num_examples, np.int64))


def _read_rows(reader: SplitReader, rows: Rows, store: Examples, start: int) -> int:
    """Read examples of a shard to positions of the store from start on, and return where they end."""
    size = rows.stop - rows.start
    place = slice(start, start + size)
    if size == reader.shard_sizes[rows.shard]:
        store.indices[place], _, store.labels[place] = reader.read_shard(rows.shard, store.images[place])
    else:
        wanted = slice(rows.start, rows.stop)
        whole = reader.read_shard(rows.shard)
        store.indices[place] = whole.indices[wanted]
        store.images[place] = whole.images[wanted]
        store.labels[place] = whole.labels[wanted]
    return place.stop


class BackgroundReader:
    """A thread that reads; a context manager, which ends the thread with the shard that it is reading."""

    def __init__(self, reader: SplitReader) -> None:
        self._pool = ThreadPoolExecutor(1, "backbeam-read")
        self._is_closed = Event()
        self._read_shard = reader.read_shard
        self.reader = SplitReader(reader.shard_sizes, reader.num_pixels, self._read_unless_closed)

    def submit(self, windows: Iterator[tuple[Window, Integers]], memory: WindowMemory) -> "NextWindow":
        """Load the next of the windows in the thread; the result is None if there are no more."""
        return self._pool.submit(_load_next, windows, memory)

    def _read_unless_closed(self, number: int, images: Bytes | None = None) -> Examples:
        if self._is_closed.is_set():
            raise CancelledError
        return self._read_shard(number, images)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closed.set()
        self._pool.shutdown(cancel_futures=True)


def _load_next(windows: Iterator[tuple[Window, Integers]], memory: WindowMemory) -> LoadedWindow | None:
    for window, order in windows:
        return memory.load(window, order)
    return None


NextWindow: TypeAlias = Future[LoadedWindow | None]


class ExampleStream:
    """The examples of a part of every batch, in the order of the run, taken in pieces of any size."""

    def __init__(
        self, windows: Iterator[tuple[Window, Integers]], memory: WindowMemory, background: BackgroundReader
    ) -> None:
        self._windows = windows
        self._memory = memory
        self._background = background
        self._next = background.submit(windows, memory)
        self._examples = _allocate(0, 0)
        self._positions = np.zeros(0, np.int64)

    def take_into(self, images: Tensor, labels: Tensor) -> None:
        """Copy the next n examples into uint8[n, num_pixels] and int32[n].

        Raises the error of the shard reader, if it failed in the background.
        """
        start = 0
        while start < len(labels):
            chosen = self._take_at_most(len(labels) - start)
            place = slice(start, start + len(chosen))
            # "clip" keeps NumPy from making a copy first; no position is out of range
            np.take(self._examples.images, chosen, axis=0, out=images[place], mode="clip")
            labels[place] = self._examples.labels[chosen]
            start = place.stop

    def take_positions(self, num_examples: int) -> Integers:
        """Return int64[num_examples], the positions of the next examples in a resident split.

        Raises the error of the shard reader, if it failed in the background.
        """
        pieces = []
        while num_examples:
            pieces.append(self._take_at_most(num_examples))
            num_examples -= len(pieces[-1])
        return np.concatenate(pieces)

    def _take_at_most(self, num_examples: int) -> Integers:
        """Return the positions of the next examples in memory; go to the next window if this one is used up."""
        while not len(self._positions):
            self._go_on()
        chosen, self._positions = np.split(self._positions, [num_examples])
        return chosen

    def _go_on(self) -> None:
        """Wait for the next window, and have the one after it read over the one that is used up."""
        found = self._next.result()
        if found is None:
            raise IndexError("all examples of the run are taken")
        self._examples = found.examples
        self._positions = found.positions
        self._next = self._background.submit(self._windows, self._memory)
