"""NumPy's file formats: an array in a .npy file, or in a .npz file, a zip archive of .npy files. Nothing is unpickled.

Sizes that headers state are checked against the stored file, and arrays are read as streams.
"""

import errno
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from model.errors import BadInput
from pipeline.sources.idx_format import GZIP_MAX_RATIO
from pipeline.storage.files import file_size, open_binary, read_range
from pipeline.storage.places import Place

_MAGIC = b"\x93NUMPY"
_ARCHIVE_MAGIC = b"PK\x03\x04"  # of the first member of a zip archive
_MAX_HEADER_BYTES = 10_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of np.savez and np.savez_compressed
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)  # that may be found while an array is read
# What zipfile raises for damaged archives, besides.
_FAULTS = (
    *_DAMAGE,
    struct.error,
    ValueError,
    NotImplementedError,  # of a compression or a version of the format that zipfile does not know
    RuntimeError,  # of an encrypted archive
    OverflowError,
)


class ArrayFile(NamedTuple):
    """An array in a file: its name in a .npz file; None if the file is a .npy file."""

    place: Place
    member: str | None

    def __str__(self) -> str:
        return str(self.place) if self.member is None else f"{self.place}: array {self.member}"


class ArrayHeader(NamedTuple):
    """The type and shape of an array, which has at least one dimension."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def item_bytes(self) -> int:
        """Bytes of one item along the first dimension."""
        return int(self.dtype.itemsize * prod(self.shape[1:]))

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def list_arrays(place: Place) -> list[str]:
    """List the names of the arrays in a .npz file; raises BadInput if it is damaged or two have the same name."""
    with _refuse(_FAULTS, str(place)), open_binary(place) as stored, zipfile.ZipFile(stored) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if len(set(names)) < len(names):
        raise BadInput(f"{place}: two arrays have the same name")
    return names


def may_be_array(start: bytes) -> bool:
    """Return whether a file with these first bytes may be a .npy or a .npz file."""
    return start.startswith((_MAGIC, _ARCHIVE_MAGIC))


def is_archive(place: Place) -> bool:
    """Return whether a file begins as a .npz file."""
    return read_range(place, 0, len(_ARCHIVE_MAGIC)) == _ARCHIVE_MAGIC


@contextmanager
def open_array(array: ArrayFile) -> Iterator[tuple[ArrayHeader, BinaryIO]]:
    """Open an array for reading.

    Returns:
        the header, and the stream of the array's bytes after it.

    Raises:
        BadInput: the file is damaged, which may be found while it is read, or the array holds objects, is stored in
            Fortran order, is empty, or needs more bytes than the file can hold.
    """
    with _refuse(_DAMAGE, str(array)), ExitStack() as stack:
        stored = stack.enter_context(open_binary(array.place))
        with _refuse(_FAULTS, str(array)):
            header, stream = _open(array, stored, stack)
        yield header, stream


def _open(array: ArrayFile, stored: BinaryIO, stack: ExitStack) -> tuple[ArrayHeader, BinaryIO]:
    num_bytes = file_size(array.place)
    if array.member is None:
        return _read_header(stored, array, num_bytes), stored
    archive = stack.enter_context(zipfile.ZipFile(stored))
    name = f"{array.member}.npy"
    if name not in archive.namelist():
        raise BadInput(f"{array}: there is no such array")
    if archive.getinfo(name).compress_type not in _METHODS:
        raise BadInput(f"{array}: compressed by another method than NumPy's: save it with np.savez_compressed")
    stream: Any = stack.enter_context(archive.open(name))
    return _read_header(stream, array, num_bytes * GZIP_MAX_RATIO), stream


@contextmanager
def _refuse(faults: tuple[type[Exception], ...], name: str) -> Iterator[None]:
    try:
        yield
    except faults as error:
        raise BadInput(f"{name}: no sound NumPy file: {[*str(error).splitlines(), ''][0][:200]}") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: an archive that names a position before its beginning
            raise
        raise BadInput(f"{name}: no sound NumPy file: {error}") from None


def _read_header(stream: BinaryIO, array: ArrayFile, max_bytes: int) -> ArrayHeader:
    start = _read_exactly(stream, len(_MAGIC) + 2)
    if not start.startswith(_MAGIC):
        raise BadInput(f"{array}: no NumPy array: it begins with {start[:6]!r}")
    version = (start[-2], start[-1])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise BadInput(f"{array}: version {version[0]}.{version[1]} of the format, expected 1.0, 2.0 or 3.0")
    packed = _read_exactly(stream, 2 if version == (1, 0) else 4)
    length = int.from_bytes(packed, "little")
    if length > _MAX_HEADER_BYTES:
        raise BadInput(f"{array}: a header of {length} bytes, expected at most {_MAX_HEADER_BYTES}")
    header, is_fortran = _parse_header(packed + _read_exactly(stream, length), version, array)
    shape = header.shape
    dtype = header.dtype
    if dtype.hasobject:
        raise BadInput(f"{array}: {header}: an array of Python objects, which is not read: save numbers")
    if not shape or min(shape) < 1:
        raise BadInput(f"{array}: {header}: expected at least one example")
    if is_fortran and len(shape) > 1:
        raise BadInput(f"{array}: {header} in Fortran order: save np.ascontiguousarray(ARRAY)")
    if prod(shape) * dtype.itemsize > max_bytes:
        raise BadInput(f"{array}: truncated: {header} needs more bytes than the file can hold")
    return header


def _parse_header(data: bytes, version: tuple[int, int], array: ArrayFile) -> tuple[ArrayHeader, bool]:
    """Return the header of its length and text, and whether the array is in Fortran order."""
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, is_fortran, dtype = read(io.BytesIO(data), max_header_size=_MAX_HEADER_BYTES)
    except Exception as error:  # the parsers of text that NumPy calls raise many types
        raise BadInput(f"{array}: no sound NumPy file: {[*str(error).splitlines(), ''][0][:200]}") from None
    return ArrayHeader(dtype, shape), is_fortran


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("truncated in its header")
    return data


def read_array_items(stream: BinaryIO, header: ArrayHeader, num_items: int, array: ArrayFile) -> Iterator[bytes]:
    """Yield the bytes of an array, num_items items along the first dimension at a time; the last may be fewer.

    Raises BadInput if the array is shorter or longer than its header says.
    """
    return read_items(stream, header, range(header.shape[0]), num_items, array)


def read_items(
    stream: BinaryIO, header: ArrayHeader, items: range, num_items: int, array: ArrayFile
) -> Iterator[bytes]:
    """Yield the bytes of consecutive items, of which the first is next in the stream; see `read_array_items`."""
    for start in range(items.start, items.stop, num_items):
        count = min(num_items, items.stop - start) * header.item_bytes
        data = stream.read(count)
        if len(data) < count:
            raise BadInput(f"{array}: truncated: {header} needs {prod(header.shape) * header.dtype.itemsize} bytes")
        yield data
    if items.stop == header.shape[0] and stream.read(1):
        raise BadInput(f"{array}: trailing bytes after {header}")
