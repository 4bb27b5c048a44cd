"""Columns and class names of a Parquet source, from its schema alone, and the labels of rows."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.labels import Label, read_label

_LABEL_NAMES = ("label", "labels", "class", "target", "digit", "y")
_INDEX = re.compile(r"|id|index|unnamed: 0|__index_level_[0-9]+__", re.IGNORECASE)  # columns of row numbers
_MAX_LABEL = 4096  # characters; longer texts name no class
_MIN_PIXELS = 8  # fewer columns of numbers are no image
_SHOWN = 20  # columns in a message


class ParquetColumns(NamedTuple):
    """The names of the columns to read; nested: the images are in a struct with the fields bytes and path.

    pixels are the columns of numbers, in order: the image column if it has lists, or one for each pixel, of which image
    is the first; empty if images are encoded.
    """

    image: str
    nested: bool
    label: str | None  # None: there are no labels, as in files to predict
    pixels: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Parquet paths of the columns of encoded images and of labels, the images first."""
        return [f"{self.image}.bytes" if self.nested else self.image, *self.labels]

    @property
    def labels(self) -> list[str]:
        """The column of labels, if there is one."""
        return [] if self.label is None else [self.label]

    @property
    def requested_image(self) -> str | None:
        """The value of --image-column that finds these columns; None if none is needed."""
        return None if len(self.pixels) > 1 else self.image


def detect_columns(schema: pa.Schema, options: PictureOptions, name: str, labelled: bool = True) -> ParquetColumns:
    """Find the columns of images, and of labels if it is labelled.

    The image column is the requested one, else `image`, else the only one of encoded images, else of lists of numbers;
    without any, the other columns of numbers are pixels. The label column is the requested one, else `label`, else the
    only one of integers, else of text; columns of row numbers are neither, unless they are requested.

    Raises BadUsage if a requested column does not exist or has the wrong type, BadInput if none or several fit.
    """
    if options.split_by is not None:
        schema = _leave_out(schema, options.split_by, name)
    try:
        images = _choose_image(schema, options.image_column)
        is_pixels = not images and options.image_column is None and len(_fitting(schema, _is_number)) > _MIN_PIXELS
        label = _choose_label(schema, options.label_column, is_pixels) if labelled else None
        if images:
            return _describe(schema, images[0], label)
        pixels = [column for column in _fitting(schema, _is_number) if column != label and not _is_index(column)]
        if not is_pixels or len(set(pixels)) < len(pixels):
            raise BadInput(
                "no column of pictures (bytes, or a struct with bytes) nor of lists of pixels: name one with "
                "--image-column"
            )
    except (BadInput, BadUsage) as error:
        listed = [f"{field.name} ({field.type})" for field in schema]
        more = f", ... ({len(listed)})" if len(listed) > _SHOWN else ""
        raise type(error)(f"{name}: {error}; its columns: {', '.join(listed[:_SHOWN])}{more}") from None
    return ParquetColumns(pixels[0], False, label, tuple(pixels))


def _leave_out(schema: pa.Schema, split: str, name: str) -> pa.Schema:
    """Return the columns beside that of splits; raises BadUsage if there is no such column of text or bytes."""
    if schema.names.count(split) != 1:
        listed = ", ".join(schema.names[:_SHOWN])
        raise BadUsage(f"--split-by {split}: {name} has no such column; its columns: {listed}")
    kind = schema.field(split).type
    words = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (_is_text(words) or _is_binary(words)):
        raise BadUsage(f"--split-by {split}: in {name} it is a column of {kind}, expected text")
    return schema.remove(schema.get_field_index(split))


def _describe(schema: pa.Schema, image: str, label: str | None) -> ParquetColumns:
    kind = schema.field(image).type
    return ParquetColumns(image, pa.types.is_struct(kind), label, (image,) if _holds_numbers(kind) else ())


def _fitting(schema: pa.Schema, fits: Callable[[pa.DataType], bool]) -> list[str]:
    return [field.name for field in schema if fits(field.type)]


def _choose_image(schema: pa.Schema, requested: str | None) -> list[str]:
    """Return the column of images, or nothing if there is none."""
    encoded = _fitting(schema, _holds_image_bytes)
    lists = _fitting(schema, _holds_numbers)
    purpose = "of pictures (bytes, or a struct with bytes, or lists of pixels)"
    if requested is not None:
        return [_find_requested([*encoded, *lists], requested, purpose)]
    fitting = encoded or lists
    return [_choose(fitting, ("image",), "image", purpose)] if fitting else []


def _choose_label(schema: pa.Schema, requested: str | None, is_pixels: bool) -> str:
    integers = _fitting(schema, pa.types.is_integer)
    others = _fitting(schema, _is_other_label)
    purpose = "of labels (integers, text or categories)"
    if requested is not None:
        return _find_requested([*integers, *others], requested, purpose)
    integers = [column for column in integers if not _is_index(column)]
    others = [column for column in others if not _is_index(column)]
    named = [column for column in (*integers, *others) if column.lower() in _LABEL_NAMES]
    fitting = integers if integers and not is_pixels else others
    return _choose(named or fitting, _LABEL_NAMES, "label", purpose)


def _is_index(column: str) -> bool:
    return _INDEX.fullmatch(column) is not None


def _find_requested(fitting: list[str], requested: str, purpose: str) -> str:
    if fitting.count(requested) != 1:  # Parquet allows two columns of one name
        raise BadUsage(f"no column {requested!r} {purpose}")
    return requested


def _choose(fitting: list[str], preferred: tuple[str, ...], kind: str, purpose: str) -> str:
    """Return the first preferred column, by its name in lower case, else the only one."""
    lower = [column.lower() for column in fitting]
    candidates = next(([fitting[lower.index(name)]] for name in preferred if lower.count(name) == 1), fitting)
    if len(candidates) != 1:
        number = "several columns" if candidates else "no column"
        raise BadInput(f"{number} {purpose}: name one with --{kind}-column")
    return candidates[0]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_other_label(kind: pa.DataType) -> bool:
    """Return whether a column may hold labels that are no integers: names, whole floats, categories."""
    if pa.types.is_dictionary(kind):
        return bool(_is_other_label(kind.value_type) or pa.types.is_integer(kind.value_type))
    return bool(_is_text(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def holds_text(schema: pa.Schema, label: str | None) -> bool:
    """Return whether the column of labels, if there is one, holds text."""
    kind = schema.field(label).type if label is not None else pa.null()
    return _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _holds_numbers(kind: pa.DataType) -> bool:
    """Return whether values are lists of numbers, or lists of such lists."""
    return is_list(kind) and (
        _is_number(kind.value_type) or (is_list(kind.value_type) and _is_number(kind.value_type.value_type))
    )


def is_list(kind: pa.DataType) -> bool:
    """Return whether values are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _holds_image_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_binary(kind.value_type)
    variable = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(variable or pa.types.is_fixed_size_binary(kind))


def read_labels(batch: pa.RecordBatch, columns: ParquetColumns, name: str) -> list[Label]:
    """Return the label of each row, None if there are no labels; raises BadInput if one is too long."""
    if columns.label is None:
        return [None] * batch.num_rows
    return list(map(read_label, read_values(batch.column(columns.label), name)))


def read_values(column: pa.Array, name: str) -> list[object]:
    """Return the labels, or words of splits, of a column of a file; those that are equal may be one object.

    Raises BadInput if one is longer than a label may be.
    """
    if not pa.types.is_dictionary(column.type):
        return _check_values(column.to_pylist(), name)
    # Each text is decoded once, however many rows have it.
    values = _check_values(column.dictionary.to_pylist(), name)
    return [None if number is None else values[number] for number in column.indices.to_pylist()]


def _check_values(values: list[object], name: str) -> list[object]:
    longest = max((len(value) for value in values if isinstance(value, str | bytes)), default=0)
    if longest > _MAX_LABEL:
        raise BadInput(
            f"{name}: a label or a split of {longest} characters, expected at most {_MAX_LABEL}: if another column "
            "holds them, name it with --label-column or --split-by"
        )
    return values


def read_class_names(schema: pa.Schema, label: str | None, name: str) -> tuple[str, ...] | None:
    """Return the class names that the schema's metadata gives the column of labels, if any.

    Hugging Face's `datasets` stores them as a feature of type ClassLabel in the metadata `huggingface`. Raises BadInput
    if that is damaged.
    """
    about = f"{name}: the metadata `huggingface` of its schema"
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = metadata.get("info", {}).get("features", {}).get(label, {}).get("names")
    except (ValueError, AttributeError, RecursionError):
        raise BadInput(f"{about} is damaged") from None
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(item, str) for item in names):
        raise BadInput(f"{about} does not name the classes of {label!r} soundly")
    if len(set(names)) < len(names):
        raise BadInput(f"{about} names two classes of {label!r} alike")
    return tuple(names)
