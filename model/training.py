"""Training: one update, many updates in one compiled call, and the run from start to end."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model.examples import Examples
from model.functions import ACTIVATIONS, LOSSES, Tensor
from model.gradients import STEPS, Gradients
from model.network import Layer, Parameters, initialise, predict, scale
from model.recipes import TrainingConfig


class Progress(NamedTuple):
    """One point of the learning curve.

    Attributes:
        step: updates done.
        examples_seen: updates done times the batch size.
        loss: the mean over the batches since the previous point, each before its own update; NaN at step 0.
        num_correct: right answers among the monitored examples.
        num_monitored: how many those are.
        seconds: since training began, compilation included.
    """

    step: int
    examples_seen: int
    loss: float
    num_correct: int
    num_monitored: int
    seconds: float


def descend(config: TrainingConfig, parameters: Parameters, gradients: Parameters) -> Parameters:
    """Take one step down: p - rate * dC/dp, with a rate for weights and one for biases."""
    return tuple(
        Layer(p.weights - config.weights_rate * g.weights, p.biases - config.biases_rate * g.biases)
        for p, g in zip(parameters, gradients, strict=True)
    )


def update(config: TrainingConfig, parameters: Parameters, images: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
    """Work out a batch's gradients and descend.

    Args:
        config: names the step, the activation and the loss.
        parameters: in float32, or in float64 for a check.
        images: uint8[n, inputs].
        labels: int[n], classes.

    Returns:
        the new parameters and the batch's mean loss before the update.
    """
    gradients = batch_gradients(config, parameters, images, labels)
    return descend(config, parameters, gradients.layers), gradients.loss


def batch_gradients(config: TrainingConfig, parameters: Parameters, images: Tensor, labels: Tensor) -> Gradients:
    """Work out a batch's gradients by the step that the configuration names; arguments as for `update`."""
    dtype = parameters[0].weights.dtype
    y = tf.one_hot(labels, config.layers[-1], dtype=dtype)
    gradients = STEPS[config.step]
    return gradients(ACTIVATIONS[config.activation], LOSSES[config.loss], parameters, scale(images, dtype), y)


def compile_chunk(
    config: TrainingConfig,
) -> Callable[[Parameters, Tensor, Tensor], tuple[Parameters, Tensor]]:
    """Compile many updates into one call.

    Returns:
        a function of (parameters, images uint8[steps, n, inputs], labels int[steps, n]) that returns the parameters
        after those steps and float32[], the mean of the batches' losses. It compiles once for each number of steps.
    """

    def run_chunk(parameters: Parameters, images: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
        total = tf.zeros([], tf.float32)
        for i in tf.range(tf.shape(images)[0]):
            parameters, loss = update(config, parameters, images[i], labels[i])
            total += loss
        return parameters, total / tf.cast(tf.shape(images)[0], tf.float32)

    return tf.function(run_chunk, jit_compile=True, autograph=True)  # type: ignore[no-any-return]


def fit(
    config: TrainingConfig,
    chunks: Iterable[tuple[Tensor, Tensor]],
    monitored: Examples,
    report: Callable[[Progress], None],
    report_every: int,
) -> Parameters:
    """Train from the recipe's start to its last step.

    Args:
        config: the run.
        chunks: (images, labels) as `compile_chunk` takes them; together num_steps batches, and some chunk must end at
            each multiple of report_every.
        monitored: examples to count right answers among, at each report.
        report: called at step 0, at every report_every steps and at the last.
        report_every: in steps.

    Returns:
        the trained parameters.
    """
    started, step, losses = time.monotonic(), 0, []
    parameters, run_chunk = initialise(config.layers, config.seed), compile_chunk(config)
    count_correct = _counter(config, monitored)

    def point(loss: float) -> Progress:
        correct, seconds = count_correct(parameters), time.monotonic() - started
        return Progress(step, step * config.batch_size, loss, correct, len(monitored.labels), seconds)

    report(point(float("nan")))
    for images, labels in chunks:
        parameters, loss = run_chunk(parameters, images, labels)
        step += len(labels)
        losses.append((float(loss), len(labels)))
        if step % report_every == 0 or step == config.num_steps:
            report(point(_weighted_mean(losses)))
            losses.clear()
    return parameters


def _counter(config: TrainingConfig, examples: Examples) -> Callable[[Parameters], int]:
    images, activation = tf.constant(examples.images), ACTIVATIONS[config.activation]

    def count_correct(parameters: Parameters) -> int:
        predicted = np.argmax(predict(activation, parameters, images).numpy(), axis=1)
        return int((predicted == examples.labels).sum())

    return count_correct


def _weighted_mean(pairs: list[tuple[float, int]]) -> float:
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)
