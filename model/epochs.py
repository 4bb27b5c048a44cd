"""Which examples a run takes, and in which order: a pure function of seed, epoch and the sizes of the shards.

The examples of a run are one endless stream: epoch after epoch, each a permutation of the split. Step k takes the
stream's examples k * batch_size to (k + 1) * batch_size, so a batch may span two epochs and none is ever short.

A batch is cut into num_parts equal parts, so each part has a stream of its own, and an epoch has a fixed number of
places in it: the numbers of two parts differ by less than a part of a batch. The shards are permuted, their examples
laid end to end, and cut at these numbers. So each part has a share of the shards that is contiguous in that order,
every example is in one share, and a shard is in two shares only where a cut is within it.

The shards of a share are cut into windows, as many shards together as fit a budget of memory; the examples of a window
are permuted together. If the whole share fits, it is one window: it is then permuted as a whole. What a share has of a
larger shard is a window too: a shard is read whole, so smaller windows would read it several times in an epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from typing import NamedTuple, TypeAlias

from model.examples import Integers
from model.order import permutation
from model.random_streams import Purpose, stream_key


class Rows(NamedTuple):
    """Examples of a shard: those at the positions start to stop, stop excluded."""

    shard: int
    start: int
    stop: int


Window: TypeAlias = tuple[Rows, ...]


@dataclass(frozen=True)
class EpochOrder:
    """The order of the examples of a run.

    Attributes:
        shard_sizes: number of examples of each shard.
        seed: of the order.
        batch_size: examples a step, a multiple of num_parts.
        num_parts: parts of a batch whose examples come from different shards.
        window_size: examples of a part that are permuted together; what a part has of a larger shard is a
            window alone.
    """

    shard_sizes: tuple[int, ...]
    seed: int
    batch_size: int
    num_parts: int
    window_size: int

    @property
    def part_size(self) -> int:
        """Examples of a part of a batch."""
        return self.batch_size // self.num_parts

    @property
    def largest_window(self) -> int:
        """Return the number of examples that no window exceeds."""
        return min(sum(self.shard_sizes), max(self.window_size, *self.shard_sizes))

    def windows(self, epoch: int, part: int = 0) -> list[Window]:
        """Return the windows of a part in an epoch; the shards of each are in the order of their numbers."""
        used = 0
        windows: list[list[Rows]] = []
        for rows in self._share(epoch, part):
            size = rows.stop - rows.start
            if not windows or used + size > self.window_size:
                windows.append([rows])
                used = size
            else:
                windows[-1].append(rows)
                used += size
        return [tuple(sorted(window)) for window in windows]

    def stream(self, part: int, first_step: int, num_steps: int) -> Iterator[tuple[Window, Integers]]:
        """Yield each window that the steps from first_step to num_steps need, and the order to take its examples in.

        The order is int64[n], positions in the window; what earlier steps take is left out.
        """
        num_examples = sum(self.shard_sizes)
        first = first_step * self.part_size
        last = num_steps * self.part_size
        first_epoch = first_step * self.batch_size // num_examples
        start = self._count_places(part, first_epoch * num_examples)
        for epoch in count(first_epoch):
            for number, window in enumerate(self.windows(epoch, part)):
                if max(first, start) >= last:
                    return
                size = sum(rows.stop - rows.start for rows in window)
                num_taken = max(0, first - start)
                if num_taken < size:
                    yield window, permutation(self._key(epoch, part, number), size)[num_taken:]
                start += size

    def _share(self, epoch: int, part: int) -> Iterator[Rows]:
        """Yield the examples of a part in an epoch, shard by shard in the order of the epoch."""
        num_examples = sum(self.shard_sizes)
        ends = (epoch * num_examples, (epoch + 1) * num_examples)
        places = [self._count_places(each, ends[1]) - self._count_places(each, ends[0]) for each in range(part + 1)]
        first, stop = list(accumulate(places, initial=0))[-2:]
        start = 0
        for shard in permutation(stream_key(Purpose.SHARD_ORDER, self.seed, epoch), len(self.shard_sizes)).tolist():
            size = self.shard_sizes[shard]
            rows = Rows(shard, *(min(max(0, cut - start), size) for cut in (first, stop)))
            if rows.start < rows.stop or not size:  # an empty shard costs nothing and changes the windows of one part
                yield rows
            start += size

    def _count_places(self, part: int, position: int) -> int:
        """Return how many of the first places of the run's stream are in a part of a batch."""
        num_batches, rest = divmod(position, self.batch_size)
        in_last = min(max(0, rest - part * self.part_size), self.part_size)
        return num_batches * self.part_size + in_last

    def _key(self, epoch: int, part: int, window: int) -> int:
        numbers = (epoch, window) if self.num_parts == 1 else (epoch, window, part)
        return stream_key(Purpose.EXAMPLE_ORDER, self.seed, *numbers)
