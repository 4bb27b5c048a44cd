from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.errors import CorruptArtefact
from model.examples import Examples, concatenate
from pipeline.scratch import MOST_GROUPS, group_edges, read_rows, read_run, write_runs


def block(num_examples, num_pixels=6):
    random = np.random.default_rng(num_examples)
    images = random.integers(0, 256, (num_examples, num_pixels)).astype(np.uint8)
    return Examples(np.arange(num_examples) + 1000, images, random.integers(0, 9, num_examples))


@pytest.mark.parametrize(("num_examples", "num_shards"), [(100, 5), (7, 300), (500, 129), (1, 1)])
def test_every_run_comes_back(num_examples, num_shards, tmp_path):
    examples = block(num_examples)
    shards = np.random.default_rng(1).integers(0, num_shards, num_examples)
    cuts, edges = dict(write_runs(tmp_path, examples, shards, num_shards)), group_edges(num_shards)
    found = []
    for group, cut in cuts.items():
        first, stop = edges[group : group + 2]
        runs = read_rows(cut, stop - first)
        for shard in range(first, stop):
            run = read_run(runs, shard - first, 6)
            expected = examples.take(np.flatnonzero(shards == shard))
            assert all(np.array_equal(a, b) for a, b in zip(run, expected, strict=True))
            found.append(run)
    assert len(concatenate(found, 6).labels) == num_examples
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("num_shards", [1, 2, MOST_GROUPS, MOST_GROUPS + 1, 99_999])
def test_groups_are_few_and_cover_every_shard(num_shards):
    edges = group_edges(num_shards)
    assert (edges[0], edges[-1]) == (0, num_shards)
    assert len(edges) - 1 == min(num_shards, MOST_GROUPS)
    assert max(b - a for a, b in pairwise(edges)) - min(b - a for a, b in pairwise(edges)) <= 1


def test_any_changed_byte_is_found(tmp_path):
    examples, shards = block(12), np.arange(12) % 3
    cuts = dict(write_runs(tmp_path, examples, shards, 3))
    path = Path(cuts[0].place)
    data = path.read_bytes()

    def read_all():
        return [read_run(read_rows(cut, 1), 0, 6) for cut in cuts.values()]

    assert len(read_all()) == 3
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CorruptArtefact, match="is corrupt: expected CRC-32C"):
            read_all()
