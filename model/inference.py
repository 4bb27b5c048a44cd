"""The forward pass and the losses of a trained network in NumPy.

They are those of `model.network` and `model.functions` up to the rounding of float32, without TensorFlow, which takes
seconds to import and hundreds of megabytes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from model.examples import Bytes

Floats: TypeAlias = npt.NDArray[np.float32]

PIECE_BYTES = 2**28  # of the values of all layers: usual shards are one piece, and a wide network fits the memory


class StoredLayer(NamedTuple):
    """One layer's parameters.

    Attributes:
        weights: float32[outputs, inputs].
        biases: float32[outputs].
    """

    weights: Floats
    biases: Floats

    def weigh(self, a: Floats) -> Floats:
        """Z = a w^T + b: float32[n, outputs] from float32[n, inputs]."""
        z = a @ self.weights.T
        z += self.biases
        return z


class Inference(NamedTuple):
    """A trained network.

    Attributes:
        layers: the parameters of each layer, in order.
        activation: z -> a = f(z) of every layer but the last.
        output: z -> a of the last layer.
        loss: (z[n, c], y[n, c]) -> C, the loss of each example, float32[n].
    """

    layers: Sequence[StoredLayer]
    activation: Callable[[Floats], Floats]
    output: Callable[[Floats], Floats]
    loss: Callable[[Floats, Floats], Floats]

    def forward(self, images: Bytes) -> tuple[list[Floats], Floats]:
        """Run the forward pass.

        Args:
            images: uint8[n, height * width], pixel values 0 to 255.

        Returns:
            the values of the hidden layers, float32[n, units] each, and the last layer's weighted input, float32[n, c].
        """
        hidden: list[Floats] = []
        passed_on: Floats = np.divide(images, np.float32(255), dtype=np.float32)
        for layer in self.layers[:-1]:
            passed_on = self.activation(layer.weigh(passed_on))
            hidden.append(passed_on)
        return hidden, self.layers[-1].weigh(passed_on)

    def predict(self, images: Bytes) -> Floats:
        """Return the outputs, float32[n, classes], for uint8[n, height * width] images, with bounded memory."""
        with same_everywhere():
            pieces = piece_rows(self.layers, len(images))
            return np.concatenate([self.output(self.forward(images[rows])[1]) for rows in pieces])


class _OneThread:
    """A context in which BLAS has one thread; several threads of Python may be in it, and the last one ends it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_users = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._num_users:
                self._limit = ThreadpoolController().limit(limits=1, user_api="blas")
            self._num_users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._num_users -= 1
            if not self._num_users:
                self._limit.restore_original_limits()


_one_thread = _OneThread()


@contextmanager
def same_everywhere() -> Iterator[None]:
    """Compute products of matrices on one processor, in an order of sums that does not depend on how many there are.

    Numbers that overflow, as those of a run that diverged, give no warnings.
    """
    with _one_thread, np.errstate(all="ignore"):
        yield


def piece_rows(parameters: Sequence[tuple[Any, Any]], num_examples: int) -> Iterator[slice]:
    """Cut examples into pieces, so that the float32 values of all layers for one piece take at most PIECE_BYTES.

    A piece has at least one example, even if that takes more.

    Args:
        parameters: weights [outputs, inputs] and biases [outputs] of each layer, arrays or tensors.
        num_examples: in all; without any there is one empty piece.

    Yields:
        the examples of each piece.
    """
    num_values = parameters[0][0].shape[1] + sum(biases.shape[0] for _, biases in parameters)
    most = max(1, PIECE_BYTES // (num_values * np.float32().itemsize))
    for start in range(0, max(1, num_examples), most):
        yield slice(start, min(start + most, num_examples))


def build_inference(layers: Sequence[StoredLayer], activation: str, output: str, loss: str) -> Inference:
    """Look up a network's functions by their names, which are those of `model.network.build_network`."""
    return Inference(layers, ACTIVATIONS[activation], OUTPUTS[output], LOSSES[output, loss])


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)); where exp(-z) overflows that is 0."""
    values: Floats = np.negative(z)
    with np.errstate(over="ignore"):
        np.exp(values, out=values)
    values += 1
    return np.reciprocal(values, out=values)


def relu(z: Floats) -> Floats:
    """max(z, 0)."""
    return np.maximum(z, np.float32(0))


def softmax(z: Floats) -> Floats:
    """exp(z) / sum(exp(z)), over the classes."""
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    values: Floats = powers / powers.sum(axis=1, keepdims=True)
    return values


def quadratic_of_sigmoid(z: Floats, y: Floats) -> Floats:
    """1/2 |sigmoid(z) - y|^2."""
    losses: Floats = np.square(sigmoid(z) - y).sum(axis=1) / 2
    return losses


def quadratic_of_softmax(z: Floats, y: Floats) -> Floats:
    """1/2 |softmax(z) - y|^2."""
    losses: Floats = np.square(softmax(z) - y).sum(axis=1) / 2
    return losses


def cross_entropy_of_sigmoid(z: Floats, y: Floats) -> Floats:
    """- sum(y log a + (1 - y) log(1 - a)), a = sigmoid(z), where - log a = softplus(-z) = log(1 + exp(-z))."""
    losses: Floats = (y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)).sum(axis=1)
    return losses


def cross_entropy_of_softmax(z: Floats, y: Floats) -> Floats:
    """- sum(y log a), a = softmax(z)."""
    shifted = z - z.max(axis=1, keepdims=True)
    losses: Floats = -(y * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))).sum(axis=1)
    return losses


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"sigmoid": sigmoid, "tanh": np.tanh, "relu": relu}
OUTPUTS = {"sigmoid": sigmoid, "softmax": softmax}
LOSSES = {
    ("sigmoid", "quadratic"): quadratic_of_sigmoid,
    ("sigmoid", "cross-entropy"): cross_entropy_of_sigmoid,
    ("softmax", "quadratic"): quadratic_of_softmax,
    ("softmax", "cross-entropy"): cross_entropy_of_softmax,
}
