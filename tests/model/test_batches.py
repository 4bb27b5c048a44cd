import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from threading import Event

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batches import BatchPlan, GpuMemory, aligned, chunk_lengths, make_chunks, make_chunks_on
from model.epochs import EpochOrder
from model.errors import BadInput, CorruptArtefact, recover
from model.examples import Examples
from model.reading import SplitReader


def reader(sizes, num_pixels=2):
    starts = np.cumsum([0, *sizes])

    def read_shard(number, images=None):
        indices = np.arange(starts[number], starts[number + 1])
        images = np.empty((len(indices), num_pixels), np.uint8) if images is None else images
        images[:] = indices[:, None]
        return Examples(indices, images, indices)

    return SplitReader(tuple(sizes), num_pixels, read_shard)


def labels_of(sizes, plan):
    return np.concatenate([labels.numpy().reshape(-1) for _, labels in make_chunks(reader(sizes), plan)])


def plan_for(num_examples, epochs, batch_size=5, window_bytes=2**30, seed=1):
    return BatchPlan(seed, batch_size, num_examples * epochs // batch_size, 7, window_bytes)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(sum), st.integers(1, 9), st.sampled_from([1, 30, 2**30])
)
@settings(max_examples=15)
def test_every_epoch_holds_every_example_once(sizes, batch_size, window_bytes):
    total = sum(sizes)
    seen = labels_of(sizes, BatchPlan(3, batch_size, -(-3 * total // batch_size), 4, window_bytes))
    for epoch in range(len(seen) // total):
        assert sorted(seen[epoch * total : (epoch + 1) * total]) == list(range(total))


def test_memory_is_limited_to_two_windows_and_one_shard():
    labels = np.zeros(1000, np.int64)

    def read_shard(_, images):
        images[:] = np.zeros((1000, 1000), np.uint8)  # as much again, as reading a file takes
        return Examples(labels, images, labels)

    shards = SplitReader((1000,) * 8, 1000, read_shard)
    plan = BatchPlan(1, 10, 1600, 10, window_bytes=2 * 10**6)
    tracemalloc.start()
    try:
        assert sum(len(labels) for _, labels in make_chunks(shards, plan)) == 1600
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6.5 * 10**6  # two windows of two shards each, and another shard; a third window would be two more


@given(st.integers(1, 5000), st.integers(1, 2000), st.integers(1, 3000))
def test_chunks_end_at_every_report(num_steps, report_every, num_pixels):
    lengths = list(chunk_lengths(BatchPlan(1, 10, num_steps, report_every), num_pixels))
    ends = set(np.cumsum(lengths).tolist())
    assert sum(lengths) == num_steps
    assert set(range(report_every, num_steps, report_every)) <= ends


@given(st.integers(1, 5000), st.integers(1, 2000), st.sets(st.integers(1, 5000), max_size=3), st.data())
def test_chunks_end_at_early_steps_too_and_are_the_same_from_any_of_their_ends(num_steps, report_every, early, data):
    early = tuple(sorted(step for step in early if step < num_steps))
    plan = BatchPlan(1, 10, num_steps, report_every, early_steps=early)
    lengths = list(chunk_lengths(plan, 784))
    ends = np.cumsum(lengths).tolist()
    assert ends[-1] == num_steps
    assert {*range(report_every, num_steps, report_every), *early} <= {*ends}
    number = data.draw(st.integers(0, len(lengths) - 1))
    assert list(chunk_lengths(plan, 784, ends[number])) == lengths[number + 1 :]


@pytest.mark.parametrize(
    ("num_steps", "report_every", "lengths"),
    [
        (4000, 100, [100] * 40),
        (10_000, 200, [100] * 100),  # the default recipe: one program
        (25_000, 500, [100] * 250),
        (111_000, 1000, [100] * 1110),
        (112_000, 1000, [100] * 10 + [1000] * 111),  # a second program is worth its compilation
    ],
)
def test_chunks_are_short_after_the_early_steps_only_where_that_costs_less_than_another_program(
    num_steps, report_every, lengths
):
    plan = BatchPlan(1, 10, num_steps, report_every, early_steps=(100, 1000))
    assert list(chunk_lengths(plan, 784)) == lengths


def test_memory_of_chunks_without_references_is_reused():
    plan = BatchPlan(1, 10, 600, 10)
    held = []
    addresses = set()
    for number, (images, labels) in enumerate(make_chunks(reader([300], 1000), plan)):
        addresses.add(images.numpy().ctypes.data)
        if number % 10 == 0:
            held.append((images, labels))
    assert len(addresses) <= len(held) + 5  # the prefetched chunks, and the one in use
    for images, labels in held:
        np.testing.assert_array_equal(images[..., 0], labels.numpy().astype(np.uint8))


def whole_chunks(sizes, plan, first_step=0):
    return [tuple(part.numpy() for part in chunk) for chunk in make_chunks(reader(sizes, 1000), plan, first_step)]


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(sum),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 12),
    st.sampled_from([1, 30_000, 2**30]),
    st.data(),
)
@settings(max_examples=20)
def test_chunks_from_a_later_step_equal_those_of_the_whole_run(
    sizes, batch_size, num_steps, report_every, window_bytes, data
):
    plan = BatchPlan(3, batch_size, num_steps, report_every, window_bytes)
    whole = whole_chunks(sizes, plan)
    done = data.draw(st.integers(0, len(whole)))
    tail = whole_chunks(sizes, plan, sum(len(labels) for _, labels in whole[:done]))
    assert len(tail) == len(whole) - done
    for chunk, expected in zip(tail, whole[done:], strict=True):
        np.testing.assert_array_equal(chunk[0], expected[0])
        np.testing.assert_array_equal(chunk[1], expected[1])


def test_only_windows_of_the_steps_to_take_are_read():
    calls = []
    plan = BatchPlan(1, 5, 40, 1, window_bytes=20)  # four shards of ten examples, each a window of two steps
    whole = reader([10] * 4)
    counting = SplitReader(whole.shard_sizes, 2, lambda n, images: calls.append(n) or whole.read_shard(n, images))
    order = EpochOrder(whole.shard_sizes, 1, 5, 1, 10)
    shards = [window[0].shard for epoch in range(5) for window in order.windows(epoch)]
    assert sum(len(labels) for _, labels in make_chunks(counting, plan, 8 + 3)) == 40 - 11
    # a window that ends an epoch and begins the next is not read again
    assert calls == [shard for shard, _ in groupby(shards[4 + 1 :])]


@pytest.mark.parametrize("window_bytes", [2**30, 150_000])  # resident; windows of 25 examples for each part
@pytest.mark.parametrize("first_step", [0, 13])
def test_chunks_of_one_part_are_that_part_of_whole_batches(window_bytes, first_step):
    plan = BatchPlan(3, 12, 60, 7, window_bytes, num_parts=3)
    whole = whole_chunks([40, 30, 0, 50, 5], plan, first_step)
    for part in range(3):
        own = whole_chunks([40, 30, 0, 50, 5], replace(plan, own_part=part), first_step)
        for chunk, expected in zip(own, whole, strict=True):
            for found, values in zip(chunk, expected, strict=True):
                np.testing.assert_array_equal(found, values[:, part * 4 : (part + 1) * 4])


def test_every_epoch_of_parts_holds_every_example_once():
    seen = labels_of([40, 30, 0, 50, 5], BatchPlan(3, 12, 40, 7, window_bytes=90, num_parts=3))
    for epoch in range(3):
        assert sorted(seen[epoch * 125 : (epoch + 1) * 125]) == list(range(125))


def test_a_part_reads_its_share_of_the_shards_only():
    """Eight shards of ten examples, two parts: four shards each in an epoch, and all of them in the end if they fit."""
    for window_bytes, num_read in ((80, 4 * 4), (2**30, 8)):
        calls = []
        whole = reader([10] * 8)

        def read_shard(number, images=None, calls=calls, whole=whole):
            calls.append(number)
            return whole.read_shard(number, images)

        plan = BatchPlan(1, 10, 4 * 8, 8, window_bytes, num_parts=2, own_part=1)
        assert len(list(make_chunks(SplitReader(whole.shard_sizes, 2, read_shard), plan))) == 4
        order = EpochOrder(whole.shard_sizes, 1, 10, 2, 20)
        first = {rows.shard for window in order.windows(0, 1) for rows in window}
        assert set(calls[:4]) == first
        assert len(calls) <= num_read


def test_reading_begins_with_the_iterator_and_its_thread_ends_with_it():
    begun = Event()
    whole = reader([10] * 8)

    def read_shard(number, images=None):
        begun.set()
        return whole.read_shard(number, images)

    chunks = make_chunks(SplitReader(whole.shard_sizes, 2, read_shard), BatchPlan(1, 10, 10**6, 1, window_bytes=40))
    iterator = iter(chunks)
    assert begun.wait(20)
    next(iterator)
    del iterator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("backbeam-read")]


def test_an_error_of_reading_ends_the_chunks_with_its_message():
    def read_shard(number, images=None):
        raise CorruptArtefact("shard 3 is damaged")

    chunks = make_chunks(SplitReader((10,) * 8, 2, read_shard), BatchPlan(1, 10, 100, 1, window_bytes=40))
    with pytest.raises(tf.errors.OpError) as raised:
        list(chunks)
    assert str(recover(raised.value)) == "shard 3 is damaged"
    assert isinstance(recover(raised.value), CorruptArtefact)


def test_empty_split_is_rejected():
    with pytest.raises(BadInput, match="no examples"):
        make_chunks(reader([0]), plan_for(1, 5))


@pytest.mark.parametrize(("num_steps", "step"), [(10, 12), (10, 21), (1, 3)])
def test_step_beyond_the_last_is_rejected(num_steps, step):
    with pytest.raises(CorruptArtefact, match=f"go on from step {step}"):
        make_chunks(reader([50]), BatchPlan(1, 5, num_steps, 5), step)


@pytest.mark.parametrize(
    ("plan", "num_pixels", "lengths"),
    [
        (BatchPlan(1, 16, 4096, 10_000), 256, [4096]),  # 4096 steps of 4096 bytes are 16 MiB
        (BatchPlan(1, 16, 8191, 10_000), 256, [4096, 4095]),
        (BatchPlan(1, 2**24, 3, 2), 2, [1, 1, 1]),  # a batch that is larger than that alone
        (BatchPlan(1, 128, 18_750, 1000), 784, [125] * 150),  # the recipe modern on MNIST
        (BatchPlan(1, 16, 8, 4), 256, [4, 4]),
        (BatchPlan(1, 16, 10, 4), 256, [4, 4, 2]),  # twos would be more calls than a program saves
    ],
)
def test_chunks_hold_up_to_16_mib_and_are_of_one_length_where_the_steps_allow(plan, num_pixels, lengths):
    assert list(chunk_lengths(plan, num_pixels)) == lengths


@pytest.mark.parametrize("window_bytes", [2**30, 150_000])  # the whole split on the device; chunk after chunk
@pytest.mark.parametrize("num_parts", [1, 5])
def test_chunks_on_a_device_equal_those_in_memory(window_bytes, num_parts):
    plan = BatchPlan(3, 10, 400, 50, window_bytes, chunk_bytes=100_000, num_parts=num_parts)
    expected = whole_chunks([100, 200], plan, 13)
    found = list(make_chunks_on(GpuMemory("CPU:0"), reader([100, 200], 1000), plan, 13))
    for chunk, (images, labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(chunk[0], images)
        np.testing.assert_array_equal(chunk[1], labels)


def test_runs_on_a_device_share_one_copy_of_the_split():
    split = reader([100, 200], 1000)
    read = []

    def read_shard(number, images=None):
        read.append(number)
        return split.read_shard(number, images)

    counted = replace(split, read_shard=read_shard)
    gpu = GpuMemory("CPU:0")
    plans = [BatchPlan(seed, 10, 60, 20) for seed in (1, 2, 3, 4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda plan: list(make_chunks_on(gpu, counted, plan)), plans))
    assert read == [0, 1]
    for plan, chunks in zip(plans, found, strict=True):
        for chunk, (images, labels) in zip(chunks, whole_chunks([100, 200], plan, 0), strict=True):
            np.testing.assert_array_equal(chunk[0], images)
            np.testing.assert_array_equal(chunk[1], labels)


def test_chunks_on_a_device_may_be_closed_by_another_thread():
    """As when a run of several in a pool of threads fails; a device's scope that is open still would be an error."""
    chunks = make_chunks_on(GpuMemory("CPU:0"), reader([50], 1000), BatchPlan(1, 5, 10, 5))
    next(chunks)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(chunks.close).result()


@pytest.mark.parametrize("length", [1, 15, 16, 17, 1000, 4099])
def test_arrays_are_aligned_to_64_bytes(length):
    arrays = [aligned((length, 3), np.int32) for _ in range(5)]
    for number, array in enumerate(arrays):
        assert array.ctypes.data % 64 == 0
        assert (array.shape, array.dtype) == ((length, 3), np.int32)
        array[:] = number
    assert [set(array.ravel()) for array in arrays] == [{number} for number in range(5)]


def test_chunks_have_the_shapes_of_the_compiled_program():
    spec = make_chunks(reader([20], num_pixels=7), plan_for(20, 1)).element_spec
    assert spec == (tf.TensorSpec((None, 5, 7), tf.uint8), tf.TensorSpec((None, 5), tf.int32))


@pytest.mark.parametrize(
    ("window_bytes", "first_epoch", "second_epoch"),
    [
        (
            2 * 12,
            [5, 9, 3, 10, 4, 2, 1, 7, 0, 8, 6, 13, 11, 17, 12, 16, 14, 15],
            [5, 4, 3, 0, 1, 2, 16, 8, 7, 11, 13, 6, 14, 17, 10, 12, 9, 15],
        ),
        (
            2**30,
            [5, 9, 3, 10, 16, 4, 2, 14, 11, 1, 12, 13, 7, 0, 8, 15, 17, 6],
            [13, 16, 10, 11, 14, 5, 8, 9, 4, 3, 17, 7, 12, 6, 15, 0, 1, 2],
        ),
    ],
)
def test_order_of_examples_is_pinned(window_bytes, first_epoch, second_epoch):
    """Another order would change the parameters of every run."""
    labels = labels_of([6, 5, 7], BatchPlan(3, 6, 6, 6, window_bytes)).tolist()
    assert labels == [*first_epoch, *second_epoch]
