"""Run the hidden layers of a trained network on a sample with NumPy, as TensorFlow takes seconds to import."""

from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from model.examples import Bytes

Floats: TypeAlias = npt.NDArray[np.float32]

# weights float32[outputs, inputs] and biases float32[outputs] of each layer
Layers: TypeAlias = list[tuple[Floats, Floats]]

MOST_EXAMPLES = 1000  # of a sample: what 5 % of all examples do is seen in it
LEAST_EXAMPLES = 50  # of fewer, little can be said about all
MOST_VALUES = 2**26  # of all layers for the sample, 256 MiB
MOST_PRODUCTS = 2**33  # about a second of a core


def read_layers(data: bytes) -> Layers:
    """Decode verified bytes of `model.checkpoint.encode_parameters` without TensorFlow."""
    tensors = load(data)
    return [(tensors[f"layers.{i}.weights"], tensors[f"layers.{i}.biases"]) for i in range(len(tensors) // 2)]


def sample_size(sizes: tuple[int, ...]) -> int:
    """Return the number of examples to run a network of these layer sizes on; 0 if it is too large for a sample."""
    num_parameters = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
    size = min(MOST_EXAMPLES, MOST_VALUES // sum(sizes), MOST_PRODUCTS // num_parameters)
    return size if size >= LEAST_EXAMPLES else 0


def compute_hidden_values(layers: Layers, activation: str, images: Bytes) -> list[Floats]:
    """Return the values of each hidden layer, float32[n, units], for uint8[n, pixels] images."""
    value = _ACTIVATIONS[activation]
    found: list[Floats] = []
    passed_on = images.astype(np.float32) / np.float32(255)
    for weights, biases in layers[:-1]:
        passed_on = value(np.asarray(passed_on @ weights.T + biases, np.float32))
        found.append(passed_on)
    return found


def _sigmoid(z: Floats) -> Floats:
    half = np.tanh(z / 2)  # which does not overflow
    return np.asarray((half + 1) / 2, np.float32)


def _relu(z: Floats) -> Floats:
    return np.maximum(z, np.float32(0))


_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"sigmoid": _sigmoid, "tanh": np.tanh, "relu": _relu}
