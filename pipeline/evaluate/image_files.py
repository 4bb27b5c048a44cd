"""Read the images of files that a model is to classify, as preprocessing reads those of a data set.

A file is a picture, or holds many images in a format of data sets. The readers are beside those of the data sets.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.errors import BadInput, BadUsage
from pipeline.progress import warn
from pipeline.sources import csv_files, numpy_images, tfrecord_images
from pipeline.sources.compressed import open_decompressed
from pipeline.sources.idx_files import is_emnist
from pipeline.sources.idx_format import IMAGES_MAGIC, may_be_idx, open_idx, read_body
from pipeline.sources.image_blocks import EncodedImage, StoredImage, read_encoded
from pipeline.sources.image_decoding import Grey
from pipeline.sources.named_columns import NamedColumns
from pipeline.sources.npy_format import may_be_array
from pipeline.sources.picture_conversion import PreparedPicture, read_picture
from pipeline.sources.picture_headers import START_BYTES, TITLES, describe_format, is_picture
from pipeline.sources.picture_style import MNIST_STYLE, PictureStyle
from pipeline.sources.tfrecord_format import may_be_records
from pipeline.storage.files import file_size, read_range
from pipeline.storage.places import Place, place_of

MAX_IMAGES = 200_000  # of a command: predictions are kept in memory until every file is known to be sound
MAX_PICTURE_BYTES = 2**28
NO_COLUMNS = NamedColumns()
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class ModelImages:
    """The images and classes of a model: the size and style of the images of its data set."""

    height: int
    width: int
    class_names: tuple[str, ...]
    style: PictureStyle = MNIST_STYLE
    transposed: bool | None = False  # the images of IDX, NumPy and CSV files; None: as the name of each says

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def read_items(
    file: str, model: ModelImages, named: NamedColumns = NO_COLUMNS
) -> Iterator[tuple[int | None, PreparedPicture]]:
    """Yield the images of a file, whose content decides its type, and their positions in it.

    The position is None if the file is a picture. named has the columns that hold the images and the labels, which are
    left out; those that it does not name are found by customary names.

    Raises:
        BadInput: the file is missing, damaged, of another type, or holds images of another size.
        BadUsage: the file lacks a column that the user names, or is of a kind without columns.
    """
    place = place_of(file)
    if not place.is_file():
        raise BadInput(f"{file}: {_describe_missing(place)}")
    start = read_range(place, 0, START_BYTES)
    if is_picture(start):
        _check_no_column(named, file)
        yield None, _read_picture(place, model)
    else:
        for index, image in enumerate(_read_images(place, start, model, named)):
            yield index, _prepare(image, model)


def _describe_missing(place: Place) -> str:
    if isinstance(place, Path) and place.is_dir():
        return f"a folder: name the files in it, such as {place}/*"
    is_there = isinstance(place, Path) and os.path.lexists(place)
    return "neither a file nor a link to one" if is_there else "no such file"


def _check_no_column(named: NamedColumns, file: str) -> None:
    if named.image is not None:
        raise BadUsage(f"--image-column goes with tables, TFRecord and .npz files, and {file} is none of them")
    _check_no_label(named, file)


def _check_no_label(named: NamedColumns, file: str) -> None:
    if named.label is not None:
        raise BadUsage(f"--label-column goes with tables, CSV or Parquet, and {file} is none")


def _read_picture(file: Place, model: ModelImages) -> PreparedPicture:
    num_bytes = file_size(file)
    if num_bytes > MAX_PICTURE_BYTES:
        raise BadInput(f"{file}: {num_bytes} bytes, expected at most {MAX_PICTURE_BYTES} for a picture")
    data = read_range(file, 0, MAX_PICTURE_BYTES)
    return read_picture(data, model.height, model.width, str(file), model.style)


def _prepare(image: StoredImage, model: ModelImages) -> PreparedPicture:
    if isinstance(image, EncodedImage):
        return read_picture(read_encoded(image), model.height, model.width, image.name, model.style)
    return PreparedPicture(image, ())


def _read_images(place: Place, start: bytes, model: ModelImages, named: NamedColumns) -> Iterator[StoredImage]:
    """Yield the images of a file that is no picture itself, given its first bytes."""
    if csv_files.is_csv_file(place):  # first, because it may be gzipped, as others may be
        from pipeline.sources.csv_images import read_images as read_csv  # which imports pyarrow

        return read_csv(place, model.size, named, _is_transposed(place, model, csv_files.is_emnist_csv(place)))
    if start.startswith(_PARQUET_MAGIC):
        from pipeline.sources.parquet_images import read_images as read_parquet  # which imports pyarrow

        return read_parquet(place, model.size, named)
    _check_no_label(named, str(place))
    if may_be_array(start):
        return numpy_images.read_images(place, model.size, named.image, _is_transposed(place, model, False))
    with open_decompressed(place) as stream:
        content = stream.read(START_BYTES)
    if may_be_records(content):
        return tfrecord_images.read_images(place, model.size, named)
    _check_no_column(named, str(place))
    if may_be_idx(start):
        return _read_idx(place, model)
    raise BadInput(
        f"{place}: {describe_format(start)}neither a picture ({TITLES}) nor a file of images: IDX, NumPy, CSV, Parquet "
        "or TFRecord"
    )


def _read_idx(file: Place, model: ModelImages) -> Iterator[Grey]:
    """Yield the images of an IDX file one by one, so that memory does not depend on the size in its header."""
    transposed = _is_transposed(file, model, is_emnist(file.name))
    height, width = (model.width, model.height) if transposed else model.size
    with open_idx(file, IMAGES_MAGIC) as (header, stream):
        if header.sizes[0] > MAX_IMAGES:
            raise BadInput(f"{file}: {header.sizes[0]} images, expected at most {MAX_IMAGES} in one command")
        if header.sizes[1:] != (height, width):
            found = " x ".join(map(str, header.sizes[1:]))
            raise BadInput(f"{file}: images of {found} pixels, expected {height} x {width} as the run's data set")
        for block in read_body(stream, header, header.example_bytes, str(file)):
            image = np.frombuffer(block, np.uint8).reshape(height, width)
            yield image.T if transposed else image


def _is_transposed(file: Place, model: ModelImages, has_emnist_name: bool) -> bool:
    transposed = has_emnist_name if model.transposed is None else model.transposed
    if transposed:
        warn(f"predict: {file}: its images are transposed, as those of the run's data set were")
    elif model.transposed is None:
        warn(
            f"predict: {file}: its images are read as upright, by its name; some of the run's data set were transposed"
        )
    return transposed
