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
    MAX_GROUPS,
    bytes_of,
    cut_block,
    group_edges,
    num_bytes_cut,
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


def gather(folder, examples, shards, num_shards):
    """Cut a block and read every shard's examples back."""
    by_shard = {}
    for group, cut in cut_block(folder, examples, shards, num_shards):
        first, stop = group_edges(folder, num_shards)[group : group + 2]
        rows = enumerate(read_rows(cut, stop - first), first)
        by_shard |= {shard: read_run(cut, row, PIXELS) for shard, row in rows if row[0]}
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


@pytest.mark.parametrize("num_shards", [1, 2, MAX_GROUPS, MAX_GROUPS + 1, 99_999])
def test_number_of_groups_is_bounded_on_a_shared_disk(num_shards, tmp_path):
    edges = group_edges(tmp_path, num_shards)
    assert (edges[0], edges[-1]) == (0, num_shards)
    assert len(edges) - 1 == min(num_shards, MAX_GROUPS)
    assert max(b - a for a, b in pairwise(edges)) - min(b - a for a, b in pairwise(edges)) <= 1
    assert len(group_edges(STORE, num_shards)) == num_shards + 1


def test_any_changed_byte_of_a_scratch_file_is_detected(tmp_path):
    cuts = [cut for _, cut in cut_block(tmp_path, block(12), np.arange(12) % 3, 3)]
    path = Path(cuts[0].place)
    data = path.read_bytes()

    def read_all():
        return [read_run(cut, read_rows(cut, 1)[0], PIXELS) for cut in cuts]

    assert len(read_all()) == 3
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CorruptArtefact, match="is corrupt: expected CRC-32C"):
            read_all()


def test_changed_cut_is_detected():
    [(_, cut)] = cut_block(STORE, block(5), np.zeros(5, np.int64), 1)
    with pytest.raises(CorruptArtefact, match="shuffle"):
        read_run(cut._replace(carried=b"x" + cut.carried[1:]), read_rows(cut, 1)[0], PIXELS)


def test_progress_counts_only_scratch_files(tmp_path):
    assert num_bytes_cut(tmp_path) == 0
    for _ in range(2):
        list(cut_block(tmp_path, block(12), np.arange(12) % 3, 3))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"decompressed")
    tables = 2 * 3 * 3 * 8  # two files of three rows of three int64
    assert num_bytes_cut(tmp_path) == 2 * bytes_of(12, PIXELS) + tables
