"""The network: its parameters, how they start, and the forward pass."""

from itertools import pairwise
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from model.functions import Activation, Tensor


class Layer(NamedTuple):
    """One layer's parameters, or their gradients.

    Attributes:
        weights: float[inputs, outputs].
        biases: float[outputs].
    """

    weights: Tensor
    biases: Tensor


Parameters: TypeAlias = tuple[Layer, ...]


def initialise(sizes: tuple[int, ...], seed: int) -> Parameters:
    """Draw every weight and bias from the truncated standard normal distribution, as the article does.

    Args:
        sizes: inputs, hidden layers, outputs.
        seed: the same seed gives the same float32 numbers.

    Returns:
        one float32 layer for each pair of neighbouring sizes.
    """
    return tuple(
        Layer(_truncated_normal((inputs, outputs), seed, 2 * i), _truncated_normal((outputs,), seed, 2 * i + 1))
        for i, (inputs, outputs) in enumerate(pairwise(sizes))
    )


def activations(activation: Activation, parameters: Parameters, x: Tensor) -> list[Tensor]:
    """Run the forward pass and keep every layer's value.

    Args:
        activation: the function of every layer.
        parameters: L layers.
        x: float[n, inputs], pixel values 0 to 1.

    Returns:
        [a_0, ..., a_L]: a_0 = x and a_l = activation(a_(l-1) w_l + b_l), float[n, outputs of layer l].
    """
    values = [x]
    for weights, biases in parameters:
        values.append(activation.value(values[-1] @ weights + biases))
    return values


def predict(activation: Activation, parameters: Parameters, images: Tensor) -> Tensor:
    """Return the network's outputs, float32[n, classes], for uint8[n, height * width] images."""
    return activations(activation, parameters, scale(images))[-1]


def scale(images: Tensor, dtype: tf.DType = tf.float32) -> Tensor:
    """Turn uint8 pixel values 0 to 255 into floating-point numbers 0 to 1."""
    return tf.cast(images, dtype) / 255


def _truncated_normal(shape: tuple[int, ...], seed: int, stream: int) -> Tensor:
    return tf.random.stateless_truncated_normal(shape, seed=[seed, stream])
