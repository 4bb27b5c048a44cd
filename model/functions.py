"""Activations, outputs and losses: each value beside its derivative.

A hidden layer has an `Activation`. The last layer has an `Output`: its activation and its loss together, because for
sigmoid or softmax with cross-entropy the two derivatives cancel to a - y, and computing them separately would divide
by numbers near zero. For the same reason an output's loss is a function of the weighted
input z, not of the value a.
"""

from typing import Any, NamedTuple, Protocol, TypeAlias

import tensorflow as tf

Tensor: TypeAlias = Any  # TensorFlow ships no types


class _Function(Protocol):
    def __call__(self, argument: Tensor, /) -> Tensor: ...


class _LossFunction(Protocol):
    def __call__(self, argument: Tensor, targets: Tensor, /) -> Tensor: ...


class Activation(NamedTuple):
    """An elementwise function f of a layer's weighted input.

    Attributes:
        value: z -> a = f(z), same shape.
        slope: a -> f'(z), written in terms of the value a, same shape.
    """

    value: _Function
    slope: _Function


class Output(NamedTuple):
    """The activation of the last layer and its loss.

    Attributes:
        value: z[n, c] -> a[n, c].
        loss: (z[n, c], y[n, c]) -> C, the loss of each example, [n].
        delta: (a[n, c], y[n, c]) -> dC/dz of each example, [n, c].
    """

    value: _Function
    loss: _LossFunction
    delta: _LossFunction


def sigmoid(z: Tensor) -> Tensor:
    """1 / (1 + exp(-z))."""
    return tf.sigmoid(z)


def sigmoid_slope(a: Tensor) -> Tensor:
    """A (1 - a)."""
    return a * (1 - a)


def tanh(z: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return tf.tanh(z)


def tanh_slope(a: Tensor) -> Tensor:
    """1 - a^2."""
    return 1 - a * a


def relu(z: Tensor) -> Tensor:
    """max(z, 0)."""
    return tf.nn.relu(z)


def relu_slope(a: Tensor) -> Tensor:
    """1 where a > 0, else 0."""
    return tf.cast(a > 0, a.dtype)


def softmax(z: Tensor) -> Tensor:
    """exp(z) / sum(exp(z)), over the classes."""
    return tf.nn.softmax(z)


def quadratic_of_sigmoid(z: Tensor, y: Tensor) -> Tensor:
    """1/2 |sigmoid(z) - y|^2, the article's loss up to a factor."""
    return tf.reduce_sum(tf.square(sigmoid(z) - y), axis=1) / 2


def quadratic_of_sigmoid_delta(a: Tensor, y: Tensor) -> Tensor:
    """(a - y) a (1 - a)."""
    return (a - y) * sigmoid_slope(a)


def quadratic_of_softmax(z: Tensor, y: Tensor) -> Tensor:
    """1/2 |softmax(z) - y|^2."""
    return tf.reduce_sum(tf.square(softmax(z) - y), axis=1) / 2


def quadratic_of_softmax_delta(a: Tensor, y: Tensor) -> Tensor:
    """A (d - sum(a d)), where d = a - y: the softmax's derivative is diag(a) - a a^T."""
    d = a - y
    return a * (d - tf.reduce_sum(a * d, axis=1, keepdims=True))


def cross_entropy_of_sigmoid(z: Tensor, y: Tensor) -> Tensor:
    """- sum(y log a + (1 - y) log(1 - a)), a = sigmoid(z): each output is a yes or no (Nielsen, chapter 3)."""
    # - log a = softplus(-z) and - log(1 - a) = softplus(z), where softplus(z) = log(1 + exp(z)): neither overflows, and
    # each has its derivative everywhere. In softplus(z) - z y, which is the same, a small loss would be rounded away.
    return tf.reduce_sum(y * tf.nn.softplus(-z) + (1 - y) * tf.nn.softplus(z), axis=1)


def cross_entropy_of_softmax(z: Tensor, y: Tensor) -> Tensor:
    """- sum(y log a), a = softmax(z)."""
    return -tf.reduce_sum(y * tf.nn.log_softmax(z), axis=1)


def cross_entropy_delta(a: Tensor, y: Tensor) -> Tensor:
    """A - y, for sigmoid and for softmax."""
    return a - y


ACTIVATIONS = {
    "sigmoid": Activation(sigmoid, sigmoid_slope),
    "tanh": Activation(tanh, tanh_slope),
    "relu": Activation(relu, relu_slope),
}
OUTPUTS = {
    ("sigmoid", "quadratic"): Output(sigmoid, quadratic_of_sigmoid, quadratic_of_sigmoid_delta),
    ("sigmoid", "cross-entropy"): Output(sigmoid, cross_entropy_of_sigmoid, cross_entropy_delta),
    ("softmax", "quadratic"): Output(softmax, quadratic_of_softmax, quadratic_of_softmax_delta),
    ("softmax", "cross-entropy"): Output(softmax, cross_entropy_of_softmax, cross_entropy_delta),
}
