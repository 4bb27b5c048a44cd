"""NumPy as one would write it with care: whole batches, float32, every array made once and filled in place."""

from itertools import cycle

import numpy as np
from threadpoolctl import threadpool_limits

from tests.benchmarks.cases import Work


def sigmoid(z: np.ndarray) -> None:
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    np.reciprocal(z, out=z)


def sigmoid_slope(a: np.ndarray, delta: np.ndarray, scratch: np.ndarray) -> None:
    """Multiply delta by a (1 - a)."""
    delta *= a
    np.subtract(1, a, out=scratch)
    delta *= scratch


def relu(z: np.ndarray) -> None:
    np.maximum(z, 0, out=z)


def relu_slope(a: np.ndarray, delta: np.ndarray, _: np.ndarray) -> None:
    """Multiply delta by 1 where a > 0, else 0."""
    delta *= a > 0


def softmax(z: np.ndarray) -> None:
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)


ACTIVATIONS = {"sigmoid": (sigmoid, sigmoid_slope), "relu": (relu, relu_slope)}
OUTPUTS = {"sigmoid": sigmoid, "softmax": softmax}


class NumPy:
    """Trains; in float64 it is also what every peer is compared with."""

    def __init__(self, work: Work, threads: int | None = None, dtype: type = np.float32) -> None:
        self._config = work.config
        if threads:
            threadpool_limits(threads)
        self._activation, self._slope = ACTIVATIONS[work.config.activation]
        self._output = OUTPUTS[work.config.output]
        self._weights = [weights.astype(dtype) for weights, _ in work.start]
        self._biases = [biases.astype(dtype) for _, biases in work.start]
        images, targets = work.scaled_images().astype(dtype), work.targets().astype(dtype)
        self._chunks = cycle(list(zip(images, targets, strict=True)))
        self._allocate(work.config.batch_size, dtype)

    def _allocate(self, batch_size: int, dtype: type) -> None:
        sizes = [len(biases) for biases in self._biases]
        self._values, self._deltas, self._scratch = (
            [np.empty((batch_size, size), dtype) for size in sizes] for _ in range(3)
        )
        self._falls = [(np.empty_like(w), np.empty_like(b)) for w, b in zip(self._weights, self._biases, strict=True)]
        self._velocity = [(np.zeros_like(w), np.zeros_like(b)) for w, b in self._falls]

    @np.errstate(over="ignore")  # where exp(-z) overflows, the sigmoid is 0, as it should be
    def run(self, num_chunks: int) -> None:
        for _ in range(num_chunks):
            for x, y in zip(*next(self._chunks), strict=True):
                self._step(x, y)

    def _step(self, x: np.ndarray, y: np.ndarray) -> None:
        a = x
        for layer, (weights, biases) in enumerate(zip(self._weights, self._biases, strict=True)):
            z = np.matmul(a, weights, out=self._values[layer])
            z += biases
            (self._activation if layer < len(self._weights) - 1 else self._output)(z)
            a = z
        self._propagate_back(x, y)
        self._descend()

    def _propagate_back(self, x: np.ndarray, y: np.ndarray) -> None:
        last = len(self._weights) - 1
        delta = np.subtract(self._values[last], y, out=self._deltas[last])
        if self._config.loss == "quadratic":
            sigmoid_slope(self._values[last], delta, self._scratch[last])
        delta /= len(x)
        for layer in range(last, -1, -1):
            weights_fall, biases_fall = self._falls[layer]
            below = self._values[layer - 1] if layer else x
            np.matmul(below.T, delta, out=weights_fall)
            np.sum(delta, axis=0, out=biases_fall)
            if layer:
                delta = np.matmul(delta, self._weights[layer].T, out=self._deltas[layer - 1])
                self._slope(below, delta, self._scratch[layer - 1])

    def _descend(self) -> None:
        for layer, (weights_fall, biases_fall) in enumerate(self._falls):
            weights_velocity, biases_velocity = self._velocity[layer]
            self._move(self._weights[layer], weights_fall, weights_velocity, self._config.weights_rate)
            self._move(self._biases[layer], biases_fall, biases_velocity, self._config.biases_rate)

    def _move(self, p: np.ndarray, fall: np.ndarray, velocity: np.ndarray, rate: float) -> None:
        fall *= rate
        if self._config.momentum:
            velocity *= self._config.momentum
            velocity += fall
            p -= velocity
        else:
            p -= fall

    def parameters(self) -> list[np.ndarray]:
        return [part for layer in zip(self._weights, self._biases, strict=True) for part in layer]


prepare = NumPy
