"""Examples on their way from blocks to shards: a scratch file for each block, cut into runs, one for each shard.

    file = run of shard 0, run of shard 1, ..., table of runs
    run  = indices int64[n], labels int64[n], images uint8[n, pixels]

What an engine moves is a `BlockCut`, which says where a block's runs for some neighbouring shards are listed. An engine
that shuffles in memory holds every cut of a job, so there is one for each block and *group* of shards, not one for each
block and shard, and the number of groups is bounded: cuts grow with the source as slowly as its blocks.

Where workers share no disk, there is no scratch file: a cut carries the run of one shard itself, and the engine's
shuffle, which is on its disks then, moves the pixels. A store would have to be read in many small pieces.
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

MAX_GROUPS = 64  # that many workers can write shards of a split at a time
_ROW_BYTES = 24
_CARRIED = "what the engine's shuffle carried"


class BlockCut(NamedTuple):
    """Where the runs of a block that belong to a group of shards are listed.

    Attributes:
        place: the scratch file.
        start: of the group's rows in its table, in bytes.
        checksum: CRC-32C of those rows.
        carried: what else the scratch file would hold, where there is none.
    """

    place: str
    start: int
    checksum: int
    carried: bytes | None = None


class ShuffledRuns(NamedTuple):
    """The runs of a block for a group of shards.

    Attributes:
        place: the scratch file.
        rows: int64[shards, 3], of each run its examples, where it starts in bytes, and its CRC-32C.
        carried: as of the cut.
    """

    place: str
    rows: Integers
    carried: bytes | None


def group_edges(folder: Place, num_shards: int) -> list[int]:
    """Cut 0 .. num_shards - 1 into groups of neighbours: where each begins, and the end.

    Args:
        folder: for scratch files; if it is in a store, workers share no disk and every shard is a group.
        num_shards: of the split.
    """
    num_groups = min(num_shards, MAX_GROUPS) if isinstance(folder, Path) else num_shards
    return [group * num_shards // num_groups for group in range(num_groups + 1)]


def cut_block(folder: Place, examples: Examples, shards: Integers, num_shards: int) -> Iterator[tuple[int, BlockCut]]:
    """Leave a block's examples for those who write the shards.

    Args:
        folder: for scratch files; if it is in a store, the cuts carry the examples.
        examples: the block's, in any order.
        shards: int64[n], the shard of each.
        num_shards: of the split.

    Yields:
        each group that the block has examples of, and where they are.
    """
    order = np.argsort(shards, kind="stable")
    edges = np.searchsorted(shards[order], np.arange(num_shards + 1)).tolist()
    runs = (examples.take(order[slice(*run)]) for run in pairwise(edges))
    if not isinstance(folder, Path):
        yield from ((shard, _carry(run)) for shard, run in enumerate(runs) if len(run.labels))
        return
    scratch = folder / uuid.uuid4().hex  # a retried bundle writes another
    table = np.zeros((num_shards, 3), np.int64)
    write_new(scratch, _fill(table, runs), flushed=False)
    num_bytes = sum(column.nbytes for column in examples)
    for group, (first, stop) in enumerate(pairwise(group_edges(folder, num_shards))):
        if table[first:stop, 0].any():
            checksum = google_crc32c.value(table[first:stop].tobytes())
            yield group, BlockCut(str(scratch), num_bytes + first * _ROW_BYTES, checksum)


def bytes_of(num_examples: int, num_pixels: int) -> int:
    """Return how long the runs of so many examples are."""
    return num_examples * (16 + num_pixels)


def num_bytes_cut(folder: Path) -> int:
    """Return how much is in the scratch files of a folder, about; what else is there does not count."""
    return sum(path.stat().st_size for path in folder.glob("?" * 32))  # the length of a unique name


def read_rows(cut: BlockCut, num_shards: int) -> ShuffledRuns:
    """Read where the runs of a group of num_shards shards are; raises CorruptArtefact if it is not what was written."""
    data = _read_checked(cut, cut.start, num_shards * _ROW_BYTES, cut.checksum)
    return ShuffledRuns(cut.place, np.frombuffer(data, np.int64).reshape(-1, 3), cut.carried)


def read_run(runs: ShuffledRuns, number: int, num_pixels: int) -> Examples:
    """Read one of the runs; raises CorruptArtefact if it is not what was written."""
    count, start, checksum = runs.rows[number].tolist()
    data = _read_checked(runs, start, bytes_of(count, num_pixels), checksum)
    indices, labels = np.frombuffer(data, np.int64, 2 * count).reshape(2, count)
    return Examples(indices, np.frombuffer(data, np.uint8, offset=16 * count).reshape(count, num_pixels), labels)


def _fill(table: Integers, runs: Iterable[Examples]) -> Iterator[bytes]:
    """Yield the bytes of each run, and those of the table, which is filled on the way, last."""
    start = 0
    for number, (indices, images, labels) in enumerate(runs):
        data = b"".join((indices.tobytes(), labels.tobytes(), images.tobytes()))
        table[number] = (len(labels), start, google_crc32c.value(data))
        start += len(data)
        yield data
    yield table.tobytes()


def _carry(run: Examples) -> BlockCut:
    """Return a cut that carries the one run of a shard."""
    table = np.zeros((1, 3), np.int64)
    carried = b"".join(_fill(table, [run]))
    row = table.tobytes()
    return BlockCut(_CARRIED, len(carried) - len(row), google_crc32c.value(row), carried)


def _read_checked(where: BlockCut | ShuffledRuns, start: int, num_bytes: int, checksum: int) -> bytes:
    if where.carried is None:
        data = read_range(Path(where.place), start, num_bytes)
    else:
        data = where.carried[start : start + num_bytes]
    if google_crc32c.value(data) != checksum:
        raise CorruptArtefact(f"{where.place} is corrupt: expected CRC-32C {checksum} from {start} on")
    return data
