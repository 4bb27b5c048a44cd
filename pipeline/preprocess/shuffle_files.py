"""Scratch files that carry examples from blocks to shards: one file for each block, with one run for each shard.

    file = run of each shard with examples of the block, rows of shard group 0, rows of group 1, ..., table of rows
    run  = indices int64[n], labels int64[n], images uint8[n, pixels]
    row  = int64[4]: shard, number of examples, byte offset and CRC-32C of its run

The groups of rows are the parts of `scratch_parts`. Where workers share no disk, a file has the run of one shard.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import google_crc32c
import numpy as np

from model.examples import Examples, Integers
from pipeline.preprocess.scratch_parts import PartsFile, carry_part, read_part, read_piece, write_parts
from pipeline.storage.places import Place

# A worker writes the shards of a group, and reads a list of their runs from every block.
MIN_GROUPS = 64  # of a split with as many shards
MAX_GROUP_SHARDS = 128
_EXAMPLE_BYTES = 16  # of the index and the label


def group_edges(folder: Place, num_shards: int) -> list[int]:
    """Divide 0 .. num_shards - 1 into groups of neighbours; return the first shard of each group, and num_shards.

    If the folder of scratch files is in a store, workers share no disk and every shard is a group.
    """
    num_groups = max(MIN_GROUPS, -(-num_shards // MAX_GROUP_SHARDS)) if isinstance(folder, Path) else num_shards
    num_groups = min(num_groups, num_shards)
    return [group * num_shards // num_groups for group in range(num_groups + 1)]


def cut_block(
    folder: Place, examples: Examples, shards: Integers, num_shards: int
) -> Iterator[tuple[int | None, PartsFile]]:
    """Write a block's examples, sorted by shard, to a scratch file; if the folder is in a store, carry them.

    shards is int64[n], the shard of each example. Yields one (None, file) with the runs of all shards; or, if the file
    is carried, (shard, file) for each shard with examples.
    """
    order = np.argsort(shards, kind="stable")
    edges = np.searchsorted(shards[order], np.arange(num_shards + 1)).tolist()
    spans = enumerate(pairwise(edges))
    runs = ((shard, examples.take(order[start:stop])) for shard, (start, stop) in spans if start < stop)
    if not isinstance(folder, Path):
        yield from ((shard, _carry(shard, run)) for shard, run in runs)
        return
    rows = list[tuple[int, int, int, int]]()
    yield None, write_parts(folder, _group_rows(rows, group_edges(folder, num_shards)), _fill_rows(rows, runs))


def bytes_of(num_examples: int, num_pixels: int) -> int:
    """Return the size of a run of num_examples examples."""
    return num_examples * (_EXAMPLE_BYTES + num_pixels)


def read_rows(files: Sequence[PartsFile], group: int) -> Integers:
    """Read the rows of a group from files: int64[runs, 5], the number of the file and then a row, sorted by shard.

    Raises CorruptArtefact if a checksum does not match.
    """
    tables = [np.frombuffer(read_part(file, group), np.int64).reshape(-1, 4) for file in files]
    numbers = np.repeat(np.arange(len(files)), [len(table) for table in tables])
    rows = np.column_stack((numbers, np.concatenate([np.zeros((0, 4), np.int64), *tables])))
    return rows[np.argsort(rows[:, 1], kind="stable")]


def read_run(files: Sequence[PartsFile], row: Integers, num_pixels: int) -> Examples:
    """Read the run that a row of `read_rows` lists; raises CorruptArtefact if its checksum does not match."""
    number, _, count, start, checksum = row.tolist()
    data = read_piece(files[number], bytes_of(count, num_pixels), start, checksum)
    indices, labels = np.frombuffer(data, np.int64, 2 * count).reshape(2, count)
    images = np.frombuffer(data, np.uint8, offset=_EXAMPLE_BYTES * count).reshape(count, num_pixels)
    return Examples(indices, images, labels)


def _fill_rows(rows: list[tuple[int, int, int, int]], runs: Iterable[tuple[int, Examples]]) -> Iterator[bytes]:
    """Yield the bytes of each run, and append its row to rows."""
    start = 0
    for shard, (indices, images, labels) in runs:
        data = b"".join((indices.tobytes(), labels.tobytes(), images.tobytes()))
        rows.append((shard, len(labels), start, google_crc32c.value(data)))
        start += len(data)
        yield data


def _group_rows(rows: list[tuple[int, int, int, int]], edges: list[int]) -> Iterator[bytes]:
    """Yield the rows of each group of shards, which are sorted by shard."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    for start, stop in pairwise(np.searchsorted(table[:, 0], edges).tolist()):
        yield table[start:stop].tobytes()


def _carry(shard: int, run: Examples) -> PartsFile:
    rows = list[tuple[int, int, int, int]]()
    return carry_part(_group_rows(rows, [shard, shard + 1]), _fill_rows(rows, [(shard, run)]))
