from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from model.epochs import EpochOrder, Rows

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(sum)


def order(sizes, window_size=10**6, num_parts=1, part_size=5, seed=1):
    return EpochOrder(tuple(sizes), seed, num_parts * part_size, num_parts, window_size)


def shards_of(windows):
    return [[rows.shard for rows in window] for window in windows]


def examples_of(windows):
    return [(rows.shard, row) for window in windows for rows in window for row in range(rows.start, rows.stop)]


def taken(found, part, first_step, num_steps):
    """Return the (shard, row) of each example of a stream's first windows, in order."""
    examples = []
    for window, positions in found.stream(part, first_step, num_steps):
        rows = examples_of([window])
        examples += [rows[position] for position in positions.tolist()]
    return examples[: (num_steps - first_step) * found.part_size]


def test_window_holds_as_many_shards_as_fit_the_budget():
    sizes = (10, 10, 10, 30, 5)
    windows = shards_of(order(sizes, 25).windows(0))
    assert sorted(shard for window in windows for shard in window) == [0, 1, 2, 3, 4]
    assert [3] in windows  # larger than the budget, so alone
    assert all(sum(sizes[shard] for shard in window) <= 25 for window in windows if window != [3])
    assert shards_of(order((10, 10)).windows(3)) == [[0, 1]]
    for num_shards, window_size, lengths in ((3, 20, [1, 2]), (4, 19, [1] * 4)):
        assert sorted(map(len, order((10,) * num_shards, window_size).windows(0))) == lengths
    assert all(shards_of(order((1,) * 9).windows(epoch)) == [list(range(9))] for epoch in range(9))


def test_no_window_is_larger_than_the_largest():
    for sizes, window_size, largest in (((10, 10, 30, 5), 25, 30), ((10, 10), 15, 15), ((10, 10), 25, 20)):
        found = order(sizes, window_size)
        assert found.largest_window == largest
        assert all(len(examples_of([window])) <= largest for epoch in range(9) for window in found.windows(epoch))


@given(SIZES, st.integers(1, 5), st.integers(1, 4), st.sampled_from([1, 15, 10**6]), st.integers(0, 9))
def test_the_parts_of_an_epoch_hold_every_example_once(sizes, num_parts, part_size, window_size, epoch):
    found = order(sizes, window_size, num_parts, part_size)
    everywhere = [example for part in range(num_parts) for example in examples_of(found.windows(epoch, part))]
    assert Counter(everywhere) == Counter((shard, row) for shard, size in enumerate(sizes) for row in range(size))


@given(SIZES, st.integers(1, 5), st.integers(1, 4), st.sampled_from([1, 15, 10**6]))
def test_an_epoch_ends_within_a_batch_and_no_example_comes_twice_in_it(sizes, num_parts, part_size, window_size):
    """The stream of batches is one permutation of the split after the other, whatever the sizes."""
    found = order(sizes, window_size, num_parts, part_size)
    num_steps = -(-3 * sum(sizes) // found.batch_size)
    parts = [taken(found, part, 0, num_steps) for part in range(num_parts)]
    batches = [part[step * part_size : (step + 1) * part_size] for step in range(num_steps) for part in parts]
    stream = [example for part in batches for example in part]
    for epoch in range(3):
        assert len(set(stream[epoch * sum(sizes) : (epoch + 1) * sum(sizes)])) == sum(sizes)


@given(SIZES, st.integers(1, 3), st.sampled_from([1, 15, 10**6]), st.integers(0, 20))
def test_stream_from_a_later_step_is_the_rest_of_the_whole(sizes, num_parts, window_size, first_step):
    found = order(sizes, window_size, num_parts)
    for part in range(num_parts):
        whole = taken(found, part, 0, 20)
        assert taken(found, part, first_step, 20) == whole[first_step * found.part_size :]


def test_a_run_that_is_at_its_last_step_needs_no_window():
    assert not list(order([10] * 3, 10).stream(0, 4, 4))


def test_each_part_has_its_share_of_the_shards_and_others_in_each_epoch():
    """Eight equal shards for four parts: two each. A cut within a shard puts it in the shares on both sides."""
    found = order([100] * 8, num_parts=4)
    shares = [[shards_of(found.windows(epoch, part))[0] for part in range(4)] for epoch in range(3)]
    assert all(len(share) == 2 for epoch in shares for share in epoch)
    assert shares[0] != shares[1] != shares[2]
    uneven = order([100, 70, 130, 50], num_parts=3)
    for epoch in range(5):
        counts = Counter(rows.shard for part in range(3) for window in uneven.windows(epoch, part) for rows in window)
        assert sum(counts.values()) <= 4 + 2
        sizes = [len(examples_of(uneven.windows(epoch, part))) for part in range(3)]
        assert sum(sizes) == 350
        assert max(sizes) - min(sizes) <= uneven.part_size


def test_windows_of_a_part_are_cut_by_the_budget_of_a_part():
    found = order([10] * 8, window_size=20, num_parts=2)
    assert [[len(examples_of([window])) for window in found.windows(0, part)] for part in range(2)] == [[20, 20]] * 2


def test_the_windows_of_many_parts_hold_a_shard_or_a_share_each_and_at_most_the_split_together():
    """The budget is a sixteenth of a shard for each of 16 parts: it bounds nothing, and the split does."""
    for num_shards, part_windows in ((12, 75), (64, 100)):
        found = order([100] * num_shards, window_size=6, num_parts=16)
        for epoch in range(3):
            largest = [max(len(examples_of([w])) for w in found.windows(epoch, part)) for part in range(16)]
            assert max(largest) <= part_windows + found.part_size
            assert sum(largest) <= 100 * min(num_shards, 16)


def test_the_order_of_one_part_is_not_that_of_another_run_with_one():
    divided = order([10] * 2, num_parts=2, part_size=10)
    [(_, first)] = divided.stream(0, 0, 1)
    [(_, second)] = divided.stream(1, 0, 1)
    assert first.tolist() != second.tolist()


def test_order_is_pinned():
    """Another order would change the parameters of every run."""
    windows = order((1,) * 8, 2, seed=3).windows(5)
    assert shards_of(windows) == [[0, 5], [6, 7], [2, 4], [1, 3]]
    divided = order((6, 5, 7), 6, num_parts=2, part_size=3, seed=3)
    assert [(window, positions.tolist()) for window, positions in islice(divided.stream(0, 0, 9), 2)] == [
        ((Rows(0, 0, 6),), [0, 4, 5, 3, 1, 2]),
        ((Rows(1, 0, 3),), [0, 2, 1]),
    ]
    assert [(window, positions.tolist()) for window, positions in islice(divided.stream(1, 0, 9), 2)] == [
        ((Rows(1, 3, 5),), [0, 1]),
        ((Rows(2, 0, 7),), [0, 1, 6, 3, 5, 4, 2]),
    ]
