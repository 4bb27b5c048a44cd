"""Parameters, or all of a run's state, <-> the bytes of a safetensors file. Nothing is ever unpickled."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import CorruptArtefact
from model.inference import StoredLayer
from model.tensor_file import decode_tensors, encode_tensors


def encode_parameters(parameters: Iterable[tuple[Any, Any]], about: dict[str, Any]) -> bytes:
    """Serialize parameters as layers.0.weights, layers.0.biases, layers.1.weights, ...

    Args:
        parameters: weights float[outputs, inputs] and biases float[outputs] of each layer, arrays or tensors.
        about: JSON values to carry in the file's metadata, under "backbeam".

    Returns:
        the file; the same parameters and values give the same bytes.
    """
    tensors = {
        f"layers.{i}.{name}": np.asarray(value)
        for i, layer in enumerate(parameters)
        for name, value in zip(StoredLayer._fields, layer, strict=True)
    }
    return encode_tensors(tensors, json.dumps(about, sort_keys=True))


def decode_parameters(
    data: bytes, name: str = "parameters", sizes: tuple[int, ...] | None = None
) -> tuple[StoredLayer, ...]:
    """Decode the parameters of each layer from the bytes of a file that `encode_parameters` returned.

    Args:
        data: the file.
        name: what to call the file in an error.
        sizes: expected sizes from inputs to outputs, in float32; None to accept any.

    Returns:
        one layer of NumPy arrays for each that is in the file, in order.

    Raises:
        CorruptArtefact: it is not a safetensors file, its tensors are not the layers of a network, or the network has
            other sizes or another dtype than expected.
    """
    tensors = decode_tensors(data, name)
    layers = [_take_layer(tensors, i) for i in range(len(tensors) // 2)]
    _check_chain(tensors, layers, name)
    if sizes is not None:
        _check_sizes(layers, sizes, name)
    return tuple(layers)


def name_parts(state: Any, name: str = "state") -> dict[str, Any]:
    """Name every tensor in nested tuples by its path, such as state.parameters.0.weights; in the order of tf.nest."""
    if not isinstance(state, tuple):
        return {name: state}
    parts = state._asdict() if hasattr(state, "_asdict") else dict(enumerate(state))
    return {way: part for key, value in parts.items() for way, part in name_parts(value, f"{name}.{key}").items()}


def restore(template: Any, tensors: dict[str, npt.NDArray[Any]], name: str) -> Any:
    """Rebuild a state from the arrays that `name_parts` named.

    Args:
        template: a state with the expected structure, shapes and dtypes.
        tensors: by name; names that the template lacks are ignored.
        name: what to call their file in an error.

    Raises:
        CorruptArtefact: one is missing, or of another shape or type.
    """
    import tensorflow as tf  # slow to import, and parameters are read without it

    wanted = name_parts(template)
    for part, like in wanted.items():
        found = tensors.get(part)
        if found is None or found.shape != tuple(like.shape) or found.dtype != like.dtype.as_numpy_dtype:
            raise CorruptArtefact(f"{name} does not hold {part} as this run has it")
    return tf.nest.pack_sequence_as(template, [tf.constant(tensors[part]) for part in wanted])


def _check_sizes(layers: list[StoredLayer], sizes: tuple[int, ...], name: str) -> None:
    found = (layers[0].weights.shape[1], *(layer.weights.shape[0] for layer in layers))
    types = {part.dtype for layer in layers for part in layer}
    if found != sizes or types != {np.dtype(np.float32)}:
        kinds = ", ".join(sorted(map(str, types)))
        raise CorruptArtefact(f"{name} is a network of {found} in {kinds}, expected {sizes} in float32")


def _take_layer(tensors: dict[str, npt.NDArray[Any]], i: int) -> StoredLayer:
    found: list[Any] = [tensors.get(f"layers.{i}.{name}") for name in StoredLayer._fields]  # checked by `_check_chain`
    return StoredLayer(*found)


def _check_chain(tensors: dict[str, npt.NDArray[Any]], layers: list[StoredLayer], name: str) -> None:
    complete = layers and len(tensors) == 2 * len(layers) and not any(part is None for x in layers for part in x)
    fits = complete and all(x.weights.ndim == 2 and x.biases.shape == x.weights.shape[:1] for x in layers)
    if not fits or not all(x.weights.shape[0] == y.weights.shape[1] for x, y in pairwise(layers)):
        shapes = {key: list(value.shape) for key, value in sorted(tensors.items())}
        raise CorruptArtefact(f"{name} does not hold a network's layers: {shapes}")
