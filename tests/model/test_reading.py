import threading
import time
from concurrent.futures import CancelledError
from threading import Event

import numpy as np
import pytest

from model.epochs import EpochOrder, Rows
from model.errors import CorruptArtefact
from model.examples import Examples
from model.reading import BackgroundReader, ExampleStream, ResidentSplit, SplitReader, TwoWindows

SIZES = (4, 6, 5, 3)
STARTS = np.cumsum((0, *SIZES))


class Shards:
    """Shards whose labels are the positions in the split; `calls` are the shards that were read, in order."""

    def __init__(self, before=lambda number: None):
        self.calls = []
        self.before = before
        self.reader = SplitReader(SIZES, 3, self.read)

    def read(self, number, images=None):
        self.before(number)
        self.calls.append(number)
        indices = np.arange(STARTS[number], STARTS[number + 1])
        images = np.empty((len(indices), 3), np.uint8) if images is None else images
        images[:] = indices[:, None]
        return Examples(indices, images, indices)


def loaded_labels(memory, window):
    size = sum(rows.stop - rows.start for rows in window)
    found = memory.load(window, np.arange(size)[::-1])
    taken = found.examples.take(found.positions)
    np.testing.assert_array_equal(taken.images[:, 0], taken.labels)
    np.testing.assert_array_equal(taken.indices, taken.labels)
    return taken.labels[::-1].tolist()


WINDOWS = [(Rows(1, 0, 6),), (Rows(0, 1, 3), Rows(2, 0, 5)), (Rows(0, 3, 4), Rows(3, 0, 3))]
LABELS = [[4, 5, 6, 7, 8, 9], [1, 2, 10, 11, 12, 13, 14], [3, 15, 16, 17]]


@pytest.mark.parametrize("kind", [ResidentSplit, lambda reader: TwoWindows(reader, 7)])
def test_memory_holds_the_rows_of_each_window(kind):
    memory = kind(Shards().reader)
    assert [loaded_labels(memory, window) for window in [*WINDOWS, *WINDOWS]] == [*LABELS, *LABELS]


def test_a_resident_split_reads_each_shard_once():
    shards = Shards()
    memory = ResidentSplit(shards.reader)
    for window in [*WINDOWS, *WINDOWS]:
        loaded_labels(memory, window)
    assert shards.calls == [1, 0, 2, 3]
    memory.read_all()
    assert shards.calls == [1, 0, 2, 3]


def test_two_windows_keep_the_one_in_use_and_read_none_again():
    shards = Shards()
    memory = TwoWindows(shards.reader, 7)
    in_use = memory.load(WINDOWS[0], np.arange(6))
    following = memory.load(WINDOWS[1], np.arange(7))
    assert in_use.examples.labels[:6].tolist() == LABELS[0]
    assert memory.load(WINDOWS[1], np.arange(7)).examples is following.examples
    assert shards.calls == [1, 0, 2]
    memory.load(WINDOWS[2], np.arange(4))
    assert following.examples.labels[:7].tolist() == LABELS[1]


def stream_of(shards, background, num_steps=9, first_step=0, window_size=6):
    order = EpochOrder(SIZES, 1, 4, 1, window_size)
    windows = order.stream(0, first_step, num_steps)
    return ExampleStream(windows, TwoWindows(background.reader, order.largest_window), background)


def take(stream, num_examples):
    images = np.empty((num_examples, 3), np.uint8)
    labels = np.empty(num_examples, np.int32)
    stream.take_into(images, labels)
    np.testing.assert_array_equal(images[:, 0], labels)
    return labels.tolist()


def test_pieces_of_any_size_are_the_same_stream():
    with BackgroundReader(Shards().reader) as background:
        whole = take(stream_of(Shards(), background), 36)
        pieces = stream_of(Shards(), background)
        assert [label for size in (1, 5, 0, 17, 13) for label in take(pieces, size)] == whole
    assert sorted(whole[:18]) == sorted(whole[18:]) == list(range(18))


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_next_window_is_read_while_this_one_is_used_and_no_further_one():
    shards = Shards()
    order = EpochOrder(SIZES, 1, 4, 1, 6)
    windows = [[rows.shard for rows in window] for window, _ in order.stream(0, 0, 9)]
    with BackgroundReader(shards.reader) as background:
        stream = stream_of(shards, background)
        wait_until(lambda: len(shards.calls) == len(windows[0]))  # before an example is asked for
        take(stream, 1)
        wait_until(lambda: len(shards.calls) == len(windows[0]) + len(windows[1]))
        time.sleep(0.05)
        assert shards.calls == [*windows[0], *windows[1]]


def test_nothing_beyond_the_last_step_is_read():
    shards = Shards()
    with BackgroundReader(shards.reader) as background:
        stream = stream_of(shards, background, num_steps=1)
        take(stream, 4)
        with pytest.raises(IndexError, match="all examples of the run are taken"):
            take(stream, 18)
    order = EpochOrder(SIZES, 1, 4, 1, 6)
    assert shards.calls == [rows.shard for window, _ in order.stream(0, 0, 1) for rows in window]


def test_an_error_of_reading_is_raised_where_examples_are_taken():
    def fail(number):
        if number == 2:
            raise CorruptArtefact("shard 2 is damaged")

    shards = Shards(fail)
    with BackgroundReader(shards.reader) as background:
        stream = stream_of(shards, background)
        with pytest.raises(CorruptArtefact, match="shard 2 is damaged"):
            take(stream, 18)
    assert not reading_threads()


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("backbeam-read")]


def test_leaving_the_context_ends_the_thread_after_the_shard_that_it_reads():
    begun = Event()
    go_on = Event()

    def wait(_):
        begun.set()
        assert go_on.wait(20)

    shards = Shards(wait)
    with BackgroundReader(shards.reader) as background:
        future = background.submit(EpochOrder(SIZES, 1, 4, 1, 18).stream(0, 0, 1), ResidentSplit(background.reader))
        assert begun.wait(20)
        threading.Timer(0.05, go_on.set).start()
    assert not reading_threads()
    assert len(shards.calls) == 1
    with pytest.raises(CancelledError):
        future.result(0)
