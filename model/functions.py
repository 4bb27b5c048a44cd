"""Activation and loss records: each value beside its derivative."""

from typing import Any, NamedTuple, Protocol, TypeAlias

import tensorflow as tf

Tensor: TypeAlias = Any  # TensorFlow ships no types


class _Function(Protocol):
    def __call__(self, argument: Tensor, /) -> Tensor: ...


class _Comparison(Protocol):
    def __call__(self, outputs: Tensor, targets: Tensor, /) -> Tensor: ...


class Activation(NamedTuple):
    """An elementwise function of a layer's weighted input.

    Attributes:
        value: a = value(z), same shape.
        slope: da/dz as a function of the value a (not of z), same shape.
    """

    value: _Function
    slope: _Function


class Loss(NamedTuple):
    """How far outputs are from targets.

    Attributes:
        value: (a[n, c], y[n, c]) -> the loss of each example, [n].
        difference: (a[n, c], y[n, c]) -> the derivative of an example's loss with respect to its outputs, [n, c].
    """

    value: _Comparison
    difference: _Comparison


def sigmoid(z: Tensor) -> Tensor:
    """1 / (1 + exp(-z))."""
    return tf.sigmoid(z)


def sigmoid_slope(a: Tensor) -> Tensor:
    """The derivative of the sigmoid where its value is a: a (1 - a)."""
    return a * (1 - a)


def quadratic(a: Tensor, y: Tensor) -> Tensor:
    """1/2 |a - y|^2 of each example."""
    return tf.reduce_sum(tf.square(a - y), axis=1) / 2


def quadratic_difference(a: Tensor, y: Tensor) -> Tensor:
    """The derivative of the quadratic loss: a - y."""
    return a - y


ACTIVATIONS = {"sigmoid": Activation(sigmoid, sigmoid_slope)}
LOSSES = {"quadratic": Loss(quadratic, quadratic_difference)}
