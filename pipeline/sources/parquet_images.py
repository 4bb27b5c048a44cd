"""The images of a Parquet file that is to be predicted, with labels or without, read as those of a data set are."""

from collections.abc import Iterator
from itertools import count

from model.errors import BadInput
from pipeline.sources.image_blocks import EncodedImage, StoredImage
from pipeline.sources.named_columns import NamedColumns
from pipeline.sources.parquet_columns import ParquetColumns, detect_columns
from pipeline.sources.parquet_files import open_parquet
from pipeline.sources.parquet_pixels import read_batches as read_pixel_batches
from pipeline.sources.parquet_source import read_batches
from pipeline.sources.pixel_rows import check_rows, warn_of_order
from pipeline.storage.places import Place


def read_images(place: Place, size: tuple[int, int], named: NamedColumns) -> Iterator[StoredImage]:
    """Yield the images of a file; those of pixels have a size, height and width.

    Raises BadInput if the file is damaged, BadUsage if it lacks a column that the user names.
    """
    columns = _find_columns(place, size, named)
    warn_of_order(columns.pixels, str(place))
    read = _read_pixels if columns.pixels else _read_pictures
    yield from read(place, columns, size)


def _find_columns(place: Place, size: tuple[int, int], named: NamedColumns) -> ParquetColumns:
    name = str(place)
    num_pixels = size[0] * size[1]
    with open_parquet(place) as parquet:
        schema = parquet.schema_arrow
    options = named.find(schema.names)
    columns = detect_columns(schema, options, name, labelled=named.label is not None)
    if len(columns.pixels) == num_pixels + 1:
        columns = detect_columns(schema, options, name)
    if len(columns.pixels) not in (0, 1, num_pixels):
        raise BadInput(
            f"{name}: {len(columns.pixels)} columns of numbers, expected {num_pixels} pixels, {size[0]} x {size[1]} as "
            "the run's data set, with a label or without"
        )
    return columns


def _read_pictures(place: Place, columns: ParquetColumns, size: tuple[int, int]) -> Iterator[StoredImage]:
    numbers = count()
    with open_parquet(place, columns.paths) as parquet:
        for group in range(parquet.metadata.num_row_groups):
            for rows in read_batches(parquet, group, columns, str(place)):
                for row, number in zip(rows, numbers, strict=False):  # in this order, or a number would be lost
                    yield EncodedImage(number, place.name, f"{place}, row {number}", row.data, None)


def _read_pixels(place: Place, columns: ParquetColumns, size: tuple[int, int]) -> Iterator[StoredImage]:
    first_row = 0
    with open_parquet(place, columns.labels) as parquet:
        for group in range(parquet.metadata.num_row_groups):
            for batch in read_pixel_batches(parquet, group, columns, size, str(place)):
                check_rows(batch.faults, first_row, str(place))
                yield from batch.pixels.reshape(-1, *size)
                first_row += len(batch.pixels)
