"""Read a parameters file as NumPy arrays, without importing TensorFlow, which takes seconds."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

# weights float32[outputs, inputs] and biases float32[outputs] of each layer
Layers: TypeAlias = list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


def read_layers(data: bytes) -> Layers:
    """Decode bytes of `model.checkpoint.encode_parameters`, which must be verified by the run's record before."""
    tensors = load(data)
    return [(tensors[f"layers.{i}.weights"], tensors[f"layers.{i}.biases"]) for i in range(len(tensors) // 2)]
