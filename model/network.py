"""The network: its layers, their initialisation, and the forward pass."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.functions import ACTIVATIONS, OUTPUTS, Activation, Output, Tensor
from model.inference import StoredLayer, piece_rows
from model.random_streams import Purpose, philox_seed


class Layer(NamedTuple):
    """One layer's parameters, or their gradients.

    A row of the weights belongs to one output, as in Nielsen's w_jk and in PyTorch. With examples as rows too, a step's
    two large products then run along rows of both factors, which took a quarter off the step of a 784-30-10 network at
    batches of 10 against float[inputs, outputs]. Computing z as (w a^T + b)^T takes a fifth off (tests/benchmarks).

    Attributes:
        weights: float[outputs, inputs].
        biases: float[outputs].
    """

    weights: Tensor
    biases: Tensor

    def weigh(self, a: Tensor) -> Tensor:
        """Z = a w^T + b: float[n, outputs] from float[n, inputs]."""
        examples_as_columns = tf.matmul(self.weights, a, transpose_b=True) + self.biases[:, tf.newaxis]
        return tf.transpose(examples_as_columns)

    def weigh_back(self, delta: Tensor) -> Tensor:
        """Delta w: float[n, inputs] from float[n, outputs]."""
        return tf.matmul(delta, self.weights)

    def gradients(self, a: Tensor, delta: Tensor) -> Self:
        """dC/dw = delta^T a and dC/db = delta, each summed over the batch."""
        return type(self)(tf.matmul(delta, a, transpose_a=True), tf.reduce_sum(delta, axis=0))


Parameters: TypeAlias = tuple[Layer, ...]

# int64[2] each: the seeds that a layer's weights and its biases are drawn from.
Seeds: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

# For each hidden layer float[n, outputs of the layer]: 0 where a value is dropped, 1 / (1 - rate) where it is kept.
Masks: TypeAlias = tuple[Tensor, ...]


class Network(NamedTuple):
    """The functions of a network, without its parameters.

    Attributes:
        hidden: the activation of every layer but the last.
        output: the activation of the last layer, and the loss.
    """

    hidden: Activation
    output: Output


def build_network(activation: str, output: str, loss: str) -> Network:
    """Look up a network's functions by their names."""
    return Network(ACTIVATIONS[activation], OUTPUTS[output, loss])


def initialise(sizes: tuple[int, ...], seed: int, start: str = "truncated-normal") -> Parameters:
    """Draw the parameters that training starts from.

    Args:
        sizes: inputs, hidden layers, outputs.
        seed: the same seed gives the same float32 numbers.
        start: a name in STARTS.

    Returns:
        one float32 layer for each pair of neighbouring sizes.
    """
    draw = STARTS[start]
    return tuple(draw(inputs, outputs, _seeds(seed, layer)) for layer, (inputs, outputs) in enumerate(pairwise(sizes)))


def truncated_normal(inputs: int, outputs: int, seeds: Seeds) -> Layer:
    """All from the standard normal distribution, cut at two standard deviations (the article)."""
    weights_seed, biases_seed = seeds
    return Layer(
        tf.random.stateless_truncated_normal((outputs, inputs), weights_seed, alg="philox"),
        tf.random.stateless_truncated_normal((outputs,), biases_seed, alg="philox"),
    )


def standard_normal(inputs: int, outputs: int, seeds: Seeds) -> Layer:
    """All from the standard normal distribution (Nielsen, chapter 1)."""
    weights_seed, biases_seed = seeds
    return Layer(
        tf.random.stateless_normal((outputs, inputs), weights_seed, alg="philox"),
        tf.random.stateless_normal((outputs,), biases_seed, alg="philox"),
    )


def scaled(inputs: int, outputs: int, seeds: Seeds) -> Layer:
    """Weights of standard deviation 1 / sqrt(inputs), standard normal biases (Nielsen, chapter 3)."""
    layer = standard_normal(inputs, outputs, seeds)
    return layer._replace(weights=layer.weights / inputs**0.5)


def he(inputs: int, outputs: int, seeds: Seeds) -> Layer:
    """Weights of standard deviation sqrt(2 / inputs), biases zero (He et al. 2015, equation 10)."""
    layer = standard_normal(inputs, outputs, seeds)
    return Layer(layer.weights * (2 / inputs) ** 0.5, tf.zeros_like(layer.biases))


STARTS = {"truncated-normal": truncated_normal, "normal": standard_normal, "scaled": scaled, "he": he}


def load_layers(layers: Sequence[StoredLayer]) -> Parameters:
    """Return the parameters of a file as tensors, with which a network computes."""
    return tuple(Layer(tf.constant(weights), tf.constant(biases)) for weights, biases in layers)


def forward(
    network: Network, parameters: Parameters, x: Tensor, masks: Masks | None = None
) -> tuple[list[Tensor], Tensor]:
    """Run the forward pass and keep every layer's value.

    Args:
        network: the functions.
        parameters: L layers.
        x: float[n, inputs], pixel values 0 to 1.
        masks: factors of the values that each hidden layer passes on; None for no dropout.

    Returns:
        [a_0, ..., a_(L-1)], with a_0 = x and a_l = f((a_(l-1) m_(l-1)) w_l^T + b_l), m_0 = 1, and z_L, the last layer's
        weighted input.
    """
    values = [x]
    passed_on = x
    for layer, mask in zip(parameters[:-1], masks or no_masks(parameters), strict=True):
        values.append(network.hidden.value(layer.weigh(passed_on)))
        passed_on = values[-1] * mask
    return values, parameters[-1].weigh(passed_on)


def no_masks(parameters: Parameters) -> Masks:
    """Return masks that change nothing."""
    return (1,) * (len(parameters) - 1)


def predict(network: Network, parameters: Parameters, images: Tensor) -> Tensor:
    """Return the network's outputs, float32[n, classes], for uint8[n, height * width] images."""
    return network.output.value(forward(network, parameters, scale(images))[1])


def predict_in_pieces(network: Network, parameters: Parameters, images: Tensor) -> npt.NDArray[np.float32]:
    """Return the outputs of `predict`, with the memory for the layers' values bounded as in `piece_rows`."""
    pieces = piece_rows(parameters, len(images))
    return np.concatenate([predict(network, parameters, images[rows]).numpy() for rows in pieces])


def scale(images: Tensor, dtype: tf.DType = tf.float32) -> Tensor:
    """Turn uint8 pixel values 0 to 255 into floating-point numbers 0 to 1."""
    return tf.cast(images, dtype) / 255


def _seeds(seed: int, layer: int) -> Seeds:
    """Return the seeds of a layer, counted from 0."""
    return philox_seed(Purpose.STARTING_WEIGHTS, seed, layer), philox_seed(Purpose.STARTING_BIASES, seed, layer)
