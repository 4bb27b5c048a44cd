import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import CorruptArtefact
from model.examples import Examples, concatenate
from pipeline.preprocess.shuffle_files import (
    MAX_GROUP_SHARDS,
    MIN_GROUPS,
    bytes_of,
    cut_block,
    group_edges,
    read_rows,
    read_run,
)
from pipeline.storage.places import RemotePath

STORE = RemotePath("gs://bucket/scratch")
PIXELS = 3


def block(num_examples: int) -> Examples:
    random = np.random.default_rng(num_examples)
    images = random.integers(0, 256, (num_examples, PIXELS)).astype(np.uint8)
    return Examples(np.arange(num_examples), images, random.integers(0, 10, num_examples))


def read_group(files, group):
    return [(int(row[1]), read_run(files, row, PIXELS)) for row in read_rows(files, group)]


def gather(folder, examples, shards, num_shards):
    """Cut a block and read every shard's examples back."""
    by_shard = {}
    for number, file in cut_block(folder, examples, shards, num_shards):
        groups = range(len(group_edges(folder, num_shards)) - 1) if number is None else [number]
        for group in groups:
            by_shard |= dict(read_group([file], group))
    return by_shard


@pytest.mark.parametrize("remote", [False, True])
@given(st.lists(st.integers(0, 199), max_size=60), st.sampled_from([200, 1000]))
def test_every_example_reaches_its_shard(remote, shards, num_shards):
    examples = block(len(shards))
    shards = np.array(shards, np.int64)
    with tempfile.TemporaryDirectory() as folder:
        found = gather(STORE if remote else Path(folder), examples, shards, num_shards)
    assert sorted(found) == np.unique(shards).tolist()
    for shard, run in found.items():
        for actual, expected in zip(run, examples.take(np.flatnonzero(shards == shard)), strict=True):
            np.testing.assert_array_equal(actual, expected)
    assert len(concatenate(list(found.values()), PIXELS).labels) == len(shards)


@pytest.mark.parametrize("num_shards", [1, 2, MIN_GROUPS, MIN_GROUPS + 1, 99_999])
def test_groups_are_few_and_small_on_a_shared_disk(num_shards, tmp_path):
    edges = group_edges(tmp_path, num_shards)
    assert (edges[0], edges[-1]) == (0, num_shards)
    assert len(edges) - 1 == min(num_shards, max(MIN_GROUPS, -(-num_shards // MAX_GROUP_SHARDS)))
    sizes = [b - a for a, b in pairwise(edges)]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= MAX_GROUP_SHARDS
    assert len(group_edges(STORE, num_shards)) == num_shards + 1


def test_a_file_lists_only_the_shards_with_examples(tmp_path):
    [(_, file)] = cut_block(tmp_path, block(4), np.array([5, 900, 5, 99_998]), 99_999)
    num_groups = len(group_edges(tmp_path, 99_999)) - 1
    rows = 3 * 4 * 8
    assert Path(file.place).stat().st_size == bytes_of(4, PIXELS) + rows + num_groups * 3 * 8


def test_runs_of_several_files_are_sorted_by_shard(tmp_path):
    files = [
        file
        for shards in ([3, 1, 3], [2, 3])
        for _, file in cut_block(tmp_path, block(len(shards)), np.array(shards), 4)
    ]
    assert [tuple(row[:3]) for row in read_rows(files, 3)] == [(0, 3, 2), (1, 3, 1)]
    assert read_rows(files, 0).shape == read_rows([], 0).shape == (0, 5)


def test_any_changed_byte_of_a_scratch_file_is_detected(tmp_path):
    [(_, file)] = cut_block(tmp_path, block(12), np.arange(12) % 3, 3)
    path = Path(file.place)
    data = path.read_bytes()

    def read_all():
        return [run for group in range(3) for run in read_group([file], group)]

    assert len(read_all()) == 3
    for place in range(len(data)):
        for bit in (1, 128):
            path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            with pytest.raises(CorruptArtefact, match="is corrupt: expected CRC-32C"):
                read_all()


def test_changed_file_that_is_carried_is_detected():
    [(shard, file)] = cut_block(STORE, block(5), np.full(5, 7), 9)
    assert shard == 7
    changed = file._replace(carried=b"x" + file.carried[1:])
    with pytest.raises(CorruptArtefact, match="shuffle"):
        read_group([changed], shard)
