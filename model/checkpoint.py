"""Parameters <-> the bytes of a safetensors file. Nothing is ever unpickled."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import load, save

from model.errors import CorruptArtefact
from model.network import Layer, Parameters

_ABOUT = "backbeam"  # one metadata entry: with several, the library would write them in any order


def encode_parameters(parameters: Parameters, about: dict[str, Any]) -> bytes:
    """Serialize parameters as layers.0.weights, layers.0.biases, layers.1.weights, ...

    Args:
        parameters: float[outputs, inputs] and float[outputs] a layer.
        about: JSON values to carry in the file's metadata, under "backbeam".

    Returns:
        the file; the same parameters and values give the same bytes.
    """
    tensors = {
        f"layers.{i}.{name}": np.ascontiguousarray(value)
        for i, layer in enumerate(parameters)
        for name, value in layer._asdict().items()
    }
    return save(tensors, {_ABOUT: json.dumps(about, sort_keys=True)})


def decode_parameters(data: bytes, name: str = "parameters") -> Parameters:
    """Read back what `encode_parameters` wrote.

    Args:
        data: the file.
        name: what to call the file in an error.

    Returns:
        one layer of NumPy arrays for each that is in the file, in order.

    Raises:
        CorruptArtefact: it is no safetensors file, or its tensors do not chain into a network.
    """
    try:
        tensors = load(data)
    except safetensors.SafetensorError as problem:
        raise CorruptArtefact(f"{name} is not a safetensors file: {problem}") from None
    layers = [_take_layer(tensors, i) for i in range(len(tensors) // 2)]
    _check_chain(tensors, layers, name)
    return tuple(layers)


def decode_about(data: bytes, name: str = "parameters") -> dict[str, Any]:
    """Return the values that `encode_parameters` was given to carry.

    Raises:
        CorruptArtefact: it is no safetensors file that carries any.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_ABOUT])
    except (ValueError, KeyError, TypeError) as problem:
        raise CorruptArtefact(f"{name} does not say what it is: {problem}") from None
    if not isinstance(about, dict):
        raise CorruptArtefact(f"{name} does not say what it is: {about!r}")
    return about


def _take_layer(tensors: dict[str, npt.NDArray[Any]], i: int) -> Layer:
    return Layer(tensors.get(f"layers.{i}.weights"), tensors.get(f"layers.{i}.biases"))


def _check_chain(tensors: dict[str, npt.NDArray[Any]], layers: list[Layer], name: str) -> None:
    complete = layers and len(tensors) == 2 * len(layers) and not any(part is None for x in layers for part in x)
    fits = complete and all(x.weights.ndim == 2 and x.biases.shape == x.weights.shape[:1] for x in layers)
    if not fits or not all(x.weights.shape[0] == y.weights.shape[1] for x, y in pairwise(layers)):
        shapes = {key: list(value.shape) for key, value in sorted(tensors.items())}
        raise CorruptArtefact(f"{name} does not hold a network's layers: {shapes}")
