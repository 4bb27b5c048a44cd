"""Columns and class names of a Parquet source, from its schema alone. Reads no rows."""

import json
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import PictureOptions


class ParquetColumns(NamedTuple):
    """The names of the columns to read; nested: the images are in a struct with the fields bytes and path."""

    image: str
    nested: bool
    label: str

    @property
    def paths(self) -> list[str]:
        """Parquet paths of the columns, the images first."""
        return [f"{self.image}.bytes" if self.nested else self.image, self.label]


def detect_columns(schema: pa.Schema, options: PictureOptions, name: str) -> ParquetColumns:
    """Find the columns of images and labels: the requested ones, else `image` and `label`, else the only ones that fit.

    Raises BadUsage if a requested column does not exist or has the wrong type, BadInput if none or several fit.
    """
    images = _fitting(schema, _holds_image_bytes)
    labels = _fitting(schema, pa.types.is_integer)
    try:
        image = _choose(images, options.image_column, "image", "of pictures (bytes, or a struct with bytes)")
        label = _choose(labels, options.label_column, "label", "of integer labels")
    except (BadInput, BadUsage) as error:
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise type(error)(f"{name}: {error}; its columns: {columns}") from None
    return ParquetColumns(image, pa.types.is_struct(schema.field(image).type), label)


def _fitting(schema: pa.Schema, fits: Callable[[pa.DataType], bool]) -> list[str]:
    return [field.name for field in schema if fits(field.type)]


def _choose(fitting: list[str], requested: str | None, preferred: str, purpose: str) -> str:
    if requested is not None:
        if fitting.count(requested) != 1:  # Parquet allows two columns of one name
            raise BadUsage(f"no column {requested!r} {purpose}")
        return requested
    candidates = [name for name in fitting if name == preferred] or fitting
    if len(candidates) != 1:
        number = "several columns" if candidates else "no column"
        raise BadInput(f"{number} {purpose}: name one with --{preferred}-column")
    return candidates[0]


def _holds_image_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def read_class_names(schema: pa.Schema, label: str, name: str) -> tuple[str, ...] | None:
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
