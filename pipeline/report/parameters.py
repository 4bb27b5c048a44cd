"""Read a parameters file as NumPy arrays, without importing TensorFlow, which takes seconds."""

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
    """Decode bytes of `model.checkpoint.encode_parameters`, which must be verified by the run's record before."""
    tensors: dict[str, Any] = load(data)
    num_layers = len(tensors) // 2
    return tuple(LayerArrays(tensors[f"layers.{i}.weights"], tensors[f"layers.{i}.biases"]) for i in range(num_layers))
