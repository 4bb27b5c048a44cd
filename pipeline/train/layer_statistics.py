"""Statistics of a network's layers while it is trained: the rows of the table `layer_statistics`."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.examples import Examples
from model.functions import Tensor
from model.gradients import manual
from model.network import Layer, Parameters, forward, scale
from model.recipes import TrainingConfig
from model.training import network_of
from pipeline.train.unit_states import find_dead_units, find_saturated_units

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
MOST_MEASURED = 100  # examples

Floats = npt.NDArray[np.float32]


class LayerStatistics(NamedTuple):
    """A layer at a step, for a sample of train examples; quantiles are those of QUANTILES.

    Attributes:
        step: updates done.
        layer: counted from 1.
        num_examples: of the sample.
        num_units: outputs of the layer.
        num_dead_units: those of `find_dead_units`.
        num_saturated_units: those of `find_saturated_units`.
        weights: quantiles of the weights.
        activations: quantiles of the units' values for the examples.
        gradients: quantiles of the absolute derivatives of the sample's mean loss with respect to the weights.
    """

    step: int
    layer: int
    num_examples: int
    num_units: int
    num_dead_units: int
    num_saturated_units: int
    weights: Sequence[float]
    activations: Sequence[float]
    gradients: Sequence[float]


class LayerMeter:
    """Measures the layers of a network on a sample of examples, with the arithmetic of `model.gradients`."""

    def __init__(self, config: TrainingConfig, sample: Examples, every: int) -> None:
        """Take the functions of the network from the configuration; measure at multiples of `every` steps."""
        self._config = config
        with tf.device("CPU:0"):
            self._x = scale(tf.constant(sample.images[:MOST_MEASURED]))
            self._y = tf.one_hot(sample.labels[:MOST_MEASURED], config.layers[-1])
        # a graph, as one operation after the other takes three times as long
        self._propagate = tf.function(self._compute, autograph=False)
        self._every = every

    def is_due(self, step: int) -> bool:
        """Return whether to measure at a step."""
        return step % self._every == 0 or step == self._config.num_steps

    def measure(self, step: int, parameters: Parameters) -> Iterator[LayerStatistics]:
        """Yield the statistics of each layer, from the first to the last; without dropout."""
        config = self._config
        functions = [*[config.activation] * (len(parameters) - 1), config.output]
        for number, (measured, function) in enumerate(zip(self._measure(parameters), functions, strict=True), 1):
            yield LayerStatistics(
                step=step,
                layer=number,
                num_examples=len(measured.activations),
                num_units=measured.activations.shape[1],
                num_dead_units=int(find_dead_units(measured.activations, function).sum()),
                num_saturated_units=int(find_saturated_units(measured.activations, function).sum()),
                weights=find_quantiles(measured.weights),
                activations=find_quantiles(measured.activations),
                gradients=find_quantiles(np.abs(measured.gradients)),
            )

    def _measure(self, parameters: Parameters) -> Iterator["MeasuredLayer"]:
        with tf.device("CPU:0"):  # so that the numbers do not depend on the device that the run is trained on
            here = tuple(Layer(*(tf.constant(np.asarray(part)) for part in layer)) for layer in parameters)
            activations, gradients = self._propagate(here)
        for layer, values, gradient in zip(here, activations, gradients, strict=True):
            yield MeasuredLayer(layer.weights.numpy(), values.numpy(), gradient.weights.numpy())

    def _compute(self, parameters: Parameters) -> tuple[list[Tensor], Parameters]:
        """Return the values of each layer and the gradients of the mean loss."""
        network = network_of(self._config)
        values, z = forward(network, parameters, self._x)
        return [*values[1:], network.output.value(z)], manual(network, parameters, self._x, self._y).layers


class MeasuredLayer(NamedTuple):
    """A layer: weights float32[units, inputs], activations float32[examples, units], gradients as the weights."""

    weights: Floats
    activations: Floats
    gradients: Floats


def find_quantiles(values: Floats) -> list[float]:
    """Return for each of QUANTILES the value whose place in ascending order is nearest to it."""
    places = [round(share * (values.size - 1)) for share in QUANTILES]
    chosen = np.sort(values, axis=None)[places]
    return [float(value) for value in chosen + np.float32(0)]  # which turns -0 into 0: their order is not defined
