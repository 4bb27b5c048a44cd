"""Open Parquet files of other writers with little memory, their page checksums verified."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import BadInput
from pipeline.storage.files import open_binary
from pipeline.storage.places import Place

_BUFFER_BYTES = 2**20  # bytes read at a time; with pre_buffer, pyarrow would read a whole row group


@contextmanager
def open_parquet(place: Place, repeated: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for reading with little memory; raises BadInput, also while it is read, if it is damaged.

    repeated has the paths of columns of bytes or text: a value that a file has once for many rows is held once.
    """
    try:
        with (
            open_binary(place) as stream,
            pq.ParquetFile(
                stream,
                page_checksum_verification=True,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                read_dictionary=list(repeated),
            ) as parquet,
        ):
            yield parquet
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: column names
        if isinstance(error, OSError) and error.errno is not None:  # of the file system; pyarrow's own have no errno
            raise
        problem = [*str(error).splitlines(), ""][0]
        if problem.startswith("Expected all lists to be of size"):  # what pyarrow says of a null among them
            raise BadInput(
                f"{place}: a null among lists of a fixed size, which cannot be read: leave out rows without an image, "
                "or write lists of variable size"
            ) from None
        raise BadInput(f"{place}: no sound Parquet file: {problem}") from None
