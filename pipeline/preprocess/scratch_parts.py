"""Scratch files in parts: a worker writes a file, and other workers read one part each of many such files.

    file = content, part 0, part 1, ..., table int64[parts, 3]: size in bytes, byte offset and CRC-32C of each part

Workers that share a disk exchange files in the scratch folder. Where they share none, the folder is in an object store,
which would have to serve many small reads: there the engine's shuffle, which is on disk, carries files of one part.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from model.errors import CorruptArtefact
from pipeline.storage.files import read_range
from pipeline.storage.local_disk import write_new

_ENTRY_BYTES = 24  # three int64 of the table
_CARRIED = "what the engine's shuffle carried"


class PartsFile(NamedTuple):
    """A file in parts: its path and the byte offset of its table."""

    place: str
    table_start: int
    carried: bytes | None = None  # the file itself, if it is in no scratch folder


def write_parts(folder: Path, parts: Iterable[bytes], content: Iterable[bytes] = ()) -> PartsFile:
    """Write a file with a unique name; content is written first, and only then are the parts iterated over."""
    place = folder / uuid.uuid4().hex  # unique: a bundle may be retried while its first attempt still runs
    table = list[tuple[int, int, int]]()
    write_new(place, _lay_out(content, parts, table), flushed=False)  # a job that is interrupted starts anew
    return PartsFile(str(place), place.stat().st_size - len(table) * _ENTRY_BYTES)


def carry_part(part: Iterable[bytes], content: Iterable[bytes] = ()) -> PartsFile:
    """Return a file for the engine's shuffle to carry; part is an iterable of one part."""
    carried = b"".join(_lay_out(content, part, []))
    return PartsFile(_CARRIED, len(carried) - _ENTRY_BYTES, carried)


def num_bytes_written(folder: Path) -> int:
    """Return the total size of the files in parts in a folder; other files are ignored."""
    return sum(path.stat().st_size for path in folder.glob("?" * 32))  # the length of uuid4().hex


def read_part(file: PartsFile, number: int) -> bytes:
    """Return a part of a file; a carried file has only one, whatever the number.

    Raises CorruptArtefact if the part does not match its checksum.
    """
    position = file.table_start + (0 if file.carried else number * _ENTRY_BYTES)
    entry = _read(file, position, _ENTRY_BYTES)
    if len(entry) < _ENTRY_BYTES:
        raise CorruptArtefact(f"{file.place} is corrupt: it ends before byte {position + _ENTRY_BYTES}")
    return read_piece(file, *np.frombuffer(entry, np.int64).tolist())


def read_piece(file: PartsFile, num_bytes: int, start: int, checksum: int) -> bytes:
    """Return num_bytes of a file from a byte offset; raises CorruptArtefact if they have another CRC-32C."""
    is_before_table = 0 <= num_bytes <= file.table_start and 0 <= start <= file.table_start - num_bytes
    data = _read(file, start, num_bytes) if is_before_table else b""
    if len(data) != num_bytes or google_crc32c.value(data) != checksum:
        raise CorruptArtefact(f"{file.place} is corrupt: expected CRC-32C {checksum} from {start} on")
    return data


def write_index(folder: Path, files: Sequence[PartsFile]) -> PartsFile:
    """Write a list of files, which need not be carried then, as a file of one part."""
    return write_parts(folder, [json.dumps([(file.place, file.table_start) for file in files]).encode()])


def read_index(index: PartsFile) -> list[PartsFile]:
    """Return the files that `write_index` listed; raises CorruptArtefact as `read_part`."""
    return [PartsFile(place, table_start) for place, table_start in json.loads(read_part(index, 0))]


def _lay_out(content: Iterable[bytes], parts: Iterable[bytes], table: list[tuple[int, int, int]]) -> Iterator[bytes]:
    """Yield the bytes of a file, and fill the table, whose bytes come last."""
    start = 0
    for chunk in content:
        yield chunk
        start += len(chunk)
    for part in parts:
        table.append((len(part), start, google_crc32c.value(part)))
        yield part
        start += len(part)
    yield np.array(table, np.int64).tobytes()


def _read(file: PartsFile, start: int, num_bytes: int) -> bytes:
    if file.carried is None:
        return read_range(Path(file.place), start, num_bytes)
    return file.carried[start : start + num_bytes]
