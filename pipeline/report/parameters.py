"""A verified parameters file as NumPy arrays, for those who do not train: TensorFlow is not imported."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load


class LayerArrays(NamedTuple):
    """One layer's parameters.

    Attributes:
        weights: float32[outputs, inputs].
        biases: float32[outputs].
    """

    weights: npt.NDArray[np.float32]
    biases: npt.NDArray[np.float32]


Layers: TypeAlias = tuple[LayerArrays, ...]


def read_layers(data: bytes) -> Layers:
    """Decode what `model.checkpoint.encode_parameters` wrote; data have been checked against the run's record."""
    tensors: dict[str, Any] = load(data)
    numbers = range(len(tensors) // 2)
    return tuple(LayerArrays(tensors[f"layers.{i}.weights"], tensors[f"layers.{i}.biases"]) for i in numbers)
