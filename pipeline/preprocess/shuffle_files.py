"""Scratch files that carry examples from blocks to shards: one file for each block, with one run for each shard.

    file = run of shard 0, run of shard 1, ..., table of runs
    run  = indices int64[n], labels int64[n], images uint8[n, pixels]

Where workers share no disk, a cut contains the run of one shard, and the engine's shuffle, which is on disk there,
moves the pixels: an object store would have to serve many small reads.
"""

import uuid
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from model.errors import CorruptArtefact
from model.examples import Examples, Integers
from pipeline.storage.files import read_range
from pipeline.storage.local_disk import write_new
from pipeline.storage.places import Place

# Groups of shards of a split, bounded because an engine that shuffles in memory holds a cut for each block and group.
MAX_GROUPS = 64  # also the number of workers that can write shards of a split at the same time
_ROW_BYTES = 24  # three int64 of the table
_CARRIED = "what the engine's shuffle carried"


class BlockCut(NamedTuple):
    """The position of the rows that list a block's runs for a group of shards."""

    place: str
    start: int  # byte offset of the rows in the file
    checksum: int  # CRC-32C of the rows
    carried: bytes | None = None  # the content of the file, where there are no scratch files


def group_edges(folder: Place, num_shards: int) -> list[int]:
    """Divide 0 .. num_shards - 1 into groups of neighbours; return the first shard of each group, and num_shards.

    If the folder of scratch files is in a store, workers share no disk and every shard is a group.
    """
    num_groups = min(num_shards, MAX_GROUPS) if isinstance(folder, Path) else num_shards
    return [group * num_shards // num_groups for group in range(num_groups + 1)]


def cut_block(folder: Place, examples: Examples, shards: Integers, num_shards: int) -> Iterator[tuple[int, BlockCut]]:
    """Write a block's examples, sorted by shard, to a scratch file; if the folder is in a store, the cuts carry them.

    shards is int64[n], the shard of each example. Yields (group, cut) for each group of shards with examples.
    """
    order = np.argsort(shards, kind="stable")
    edges = np.searchsorted(shards[order], np.arange(num_shards + 1)).tolist()
    runs = (examples.take(order[slice(*run)]) for run in pairwise(edges))
    if not isinstance(folder, Path):
        yield from ((shard, _carry(run)) for shard, run in enumerate(runs) if len(run.labels))
        return
    scratch = folder / uuid.uuid4().hex  # unique: a bundle may be retried while its first attempt still runs
    table = np.zeros((num_shards, 3), np.int64)
    write_new(scratch, _fill(table, runs), flushed=False)  # no fsync: a job that is interrupted starts anew
    num_bytes = sum(column.nbytes for column in examples)
    for group, (first, stop) in enumerate(pairwise(group_edges(folder, num_shards))):
        if table[first:stop, 0].any():
            checksum = google_crc32c.value(table[first:stop].tobytes())
            yield group, BlockCut(str(scratch), num_bytes + first * _ROW_BYTES, checksum)


def bytes_of(num_examples: int, num_pixels: int) -> int:
    """Return the size of a run of num_examples examples."""
    return num_examples * (16 + num_pixels)


def num_bytes_cut(folder: Path) -> int:
    """Return the total size of the scratch files in a folder; other files are ignored."""
    return sum(path.stat().st_size for path in folder.glob("?" * 32))  # the length of uuid4().hex


def read_rows(cut: BlockCut, num_shards: int) -> Integers:
    """Return the rows of a group of num_shards shards, int64[shards, 3]: number of examples, byte offset and CRC-32C.

    Raises CorruptArtefact if their checksum does not match.
    """
    data = _read_checked(cut, cut.start, num_shards * _ROW_BYTES, cut.checksum)
    return np.frombuffer(data, np.int64).reshape(-1, 3)


def read_run(cut: BlockCut, row: Integers, num_pixels: int) -> Examples:
    """Read the run that a row of the table lists; raises CorruptArtefact if its checksum does not match."""
    count, start, checksum = row.tolist()
    data = _read_checked(cut, start, bytes_of(count, num_pixels), checksum)
    indices, labels = np.frombuffer(data, np.int64, 2 * count).reshape(2, count)
    return Examples(indices, np.frombuffer(data, np.uint8, offset=16 * count).reshape(count, num_pixels), labels)


def _fill(table: Integers, runs: Iterable[Examples]) -> Iterator[bytes]:
    """Yield the bytes of each run, fill its row of the table, and yield the bytes of the table last."""
    start = 0
    for number, (indices, images, labels) in enumerate(runs):
        data = b"".join((indices.tobytes(), labels.tobytes(), images.tobytes()))
        table[number] = (len(labels), start, google_crc32c.value(data))
        start += len(data)
        yield data
    yield table.tobytes()


def _carry(run: Examples) -> BlockCut:
    table = np.zeros((1, 3), np.int64)
    carried = b"".join(_fill(table, [run]))
    row = table.tobytes()
    return BlockCut(_CARRIED, len(carried) - len(row), google_crc32c.value(row), carried)


def _read_checked(cut: BlockCut, start: int, num_bytes: int, checksum: int) -> bytes:
    if cut.carried is None:
        data = read_range(Path(cut.place), start, num_bytes)
    else:
        data = cut.carried[start : start + num_bytes]
    if google_crc32c.value(data) != checksum:
        raise CorruptArtefact(f"{cut.place} is corrupt: expected CRC-32C {checksum} from {start} on")
    return data
