"""The images of a CSV file that is to be predicted, with labels or without, read as those of a data set are."""

from collections.abc import Iterator

from model.errors import BadInput
from pipeline.progress import warn
from pipeline.sources import csv_pictures
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.compressed import open_decompressed
from pipeline.sources.csv_columns import CsvColumns, detect_csv_columns, find_names, read_first_lines
from pipeline.sources.csv_lines import check_lines, read_pieces, read_pixels
from pipeline.sources.image_blocks import StoredImage
from pipeline.sources.named_columns import NamedColumns
from pipeline.sources.pixel_rows import check_rows, warn_of_order
from pipeline.storage.places import Place


def read_images(place: Place, size: tuple[int, int], named: NamedColumns, transposed: bool) -> Iterator[StoredImage]:
    """Yield the images of a file; those of pixels have a size, height and width, and are stored transposed or not.

    Raises BadInput if the file is damaged or has other columns or values, BadUsage if it lacks a column that the user
    names.
    """
    height, width = size
    columns = _find_columns(place, size, named)
    if columns.holds_paths:
        yield from csv_pictures.read_pictures(place, columns)
        return
    warn_of_order(columns.image_names, str(place))
    columns = columns.transpose(height, width) if transposed else columns
    num_rows = 0
    for piece in read_pieces(place, columns):
        check_lines(piece.lines, columns, str(place))
        pixels, faults = read_pixels(piece.lines, columns)
        check_rows(faults, num_rows, str(place))
        yield from pixels.reshape(-1, height, width)
        num_rows += len(pixels)


def _find_columns(place: Place, size: tuple[int, int], named: NamedColumns) -> CsvColumns:
    """Find the column of paths, or those of pixels: there is one more if a label is among them."""
    name = str(place)
    with open_decompressed(place) as stream:
        lines, _ = read_first_lines(stream, name)
    options = named.find(find_names(lines, name))
    num_pixels = size[0] * size[1]
    for split in () if named.label else dict.fromkeys((None, options.split_by)):
        columns = detect_csv_columns(lines, PictureOptions(options.image_column, split_by=split), name, labelled=False)
        if columns.holds_paths or len(columns.images) == num_pixels:
            return columns
    if named.label or len(columns.images) == num_pixels + 1:
        columns = detect_csv_columns(lines, options, name)
        _check_label(columns, options, named, name)
    if not columns.holds_paths and len(columns.images) != num_pixels:
        raise BadInput(
            f"{name}: {len(columns.names)} columns, expected {num_pixels} pixels, {size[0]} x {size[1]} as the run's "
            "data set, with a label or without"
        )
    return columns


def _check_label(columns: CsvColumns, options: PictureOptions, named: NamedColumns, name: str) -> None:
    """Warn of a column that is only taken for that of labels; raise BadInput if it may be another one."""
    if columns.has_header or columns.holds_paths or options.label_column is not None:
        return
    if named.dataset is None or named.dataset.label_column is not None:
        raise BadInput(
            f"{name}: {len(columns.names)} columns without a header, one more than pixels: name the one of labels, by "
            "its number, with --label-column"
        )
    warn(f"predict: {name}: there is no header, so column {(columns.label or 0) + 1} is taken for that of labels")
