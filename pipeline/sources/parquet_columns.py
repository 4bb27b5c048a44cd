"""Columns and class names of a Parquet source, from its schema alone. Reads no rows."""

import json
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import PictureOptions


class ParquetColumns(NamedTuple):
    """The columns to read.

    Attributes:
        image: name of the column of encoded images.
        nested: whether that column is a struct with the fields bytes and path.
        label: name of the column of labels.
    """

    image: str
    nested: bool
    label: str

    @property
    def paths(self) -> list[str]:
        """Parquet paths of the columns, the images first."""
        return [f"{self.image}.bytes" if self.nested else self.image, self.label]


class _Choice(NamedTuple):
    """The column found for a purpose; problem is empty if there is exactly one that fits."""

    name: str
    requested: bool
    problem: str


def detect_columns(schema: pa.Schema, options: PictureOptions, name: str) -> ParquetColumns:
    """Find the columns of images and labels: the requested ones, else `image` and `label`, else the only ones that fit.

    Args:
        schema: of the file.
        options: may name either column.
        name: name of the file in an error.

    Raises:
        BadUsage: a requested column does not exist or has the wrong type.
        BadInput: no column fits, or several do.
    """
    image = _choose(
        schema, options.image_column, "image", "of pictures (bytes, or a struct with bytes)", _holds_image_bytes
    )
    label = _choose(schema, options.label_column, "label", "of integer labels", pa.types.is_integer)
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    for choice in (image, label):
        if choice.problem:
            error = BadUsage if choice.requested else BadInput
            raise error(f"{name}: {choice.problem}; its columns: {columns}")
    return ParquetColumns(image.name, pa.types.is_struct(schema.field(image.name).type), label.name)


def _choose(
    schema: pa.Schema, requested: str | None, preferred: str, purpose: str, fits: Callable[[pa.DataType], bool]
) -> _Choice:
    fitting = [field.name for field in schema if fits(field.type)]
    if requested is not None:
        # Parquet allows two columns of one name, so it is counted.
        problem = "" if fitting.count(requested) == 1 else f"no column {requested!r} {purpose}"
        return _Choice(requested, True, problem)
    candidates = [name for name in fitting if name == preferred] or fitting
    if len(candidates) == 1:
        return _Choice(candidates[0], False, "")
    number = "several columns" if candidates else "no column"
    return _Choice("", False, f"{number} {purpose}: name one with --{preferred}-column")


def _holds_image_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def read_class_names(schema: pa.Schema, label: str, name: str) -> tuple[str, ...] | None:
    """Return the class names that the schema's metadata gives the labels, if any.

    Hugging Face's `datasets` stores them as a feature of type ClassLabel in the metadata `huggingface`.

    Args:
        schema: of the file.
        label: name of the column of labels.
        name: name of the file in an error.

    Raises:
        BadInput: the metadata exists but is damaged.
    """
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = metadata.get("info", {}).get("features", {}).get(label, {})
        names = feature.get("names")
    except (ValueError, AttributeError, RecursionError):
        raise BadInput(f"{name}: the metadata `huggingface` of its schema is damaged") from None
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(item, str) for item in names):
        raise BadInput(
            f"{name}: the metadata `huggingface` of its schema does not name the classes of {label!r} soundly"
        )
    if len(set(names)) < len(names):
        raise BadInput(f"{name}: the metadata `huggingface` of its schema names two classes of {label!r} alike")
    return tuple(names)
