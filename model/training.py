"""Training: one update, many updates in one compiled call, and the run from start to end."""

import time
from collections.abc import Callable, Iterable
from math import pi
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from model.examples import Examples
from model.functions import Tensor
from model.gradients import STEPS, Gradients
from model.network import Layer, Masks, Network, Parameters, build_network, initialise, predict, scale
from model.recipes import TrainingConfig

DrawMasks: TypeAlias = Callable[[TrainingConfig, Tensor, Tensor, tf.DType], Masks | None]


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


class State(NamedTuple):
    """What one step hands to the next.

    Attributes:
        step: int32[], updates done.
        parameters: as they are now.
        velocity: the running sum of momentum, in the structure of the parameters; () without momentum.
    """

    step: Tensor
    parameters: Parameters
    velocity: Parameters


def start_state(config: TrainingConfig, dtype: tf.DType = tf.float32) -> State:
    """Return the state before the first step."""
    drawn = initialise(config.layers, config.seed, config.start)
    parameters = tuple(Layer(*(tf.cast(part, dtype) for part in layer)) for layer in drawn)
    velocity = tf.nest.map_structure(tf.zeros_like, parameters) if config.momentum else ()
    return State(tf.constant(0), parameters, velocity)


def update(config: TrainingConfig, state: State, images: Tensor, labels: Tensor) -> tuple[State, Tensor]:
    """Work out a batch's gradients and descend.

    Args:
        config: names the step and the functions.
        state: in float32, or in float64 for a check.
        images: uint8[n, inputs].
        labels: int[n], classes.

    Returns:
        the new state and the batch's mean loss before the update.
    """
    gradients = batch_gradients(config, state, images, labels)
    factor = SCHEDULES[config.schedule](tf.cast(state.step, gradients.loss.dtype) / config.num_steps)
    return descend(config, state, gradients.layers, factor), gradients.loss


def batch_gradients(
    config: TrainingConfig, state: State, images: Tensor, labels: Tensor, draw: DrawMasks | None = None
) -> Gradients:
    """Work out a batch's gradients by the step that the configuration names.

    Arguments are as for `update`; draw takes the place of `draw_masks` where the batch is a part of one.
    """
    dtype = state.parameters[0].weights.dtype
    y = tf.one_hot(labels, config.layers[-1], dtype=dtype)
    masks = (draw or draw_masks)(config, state.step, tf.shape(images)[0], dtype)
    return STEPS[config.step](network_of(config), state.parameters, scale(images, dtype), y, masks)


def draw_masks(config: TrainingConfig, step: Tensor, num_examples: Tensor, dtype: tf.DType) -> Masks | None:
    """Draw what a step drops of the hidden layers: a pure function of (seed, step).

    Returns:
        a mask for each hidden layer (Srivastava et al., JMLR 15, 2014, but what is kept is scaled up in training); None
        without dropout.
    """
    if not config.dropout:
        return None
    dropped_below, kept = round(config.dropout * 2**32), 1 / (1 - config.dropout)
    masks = []
    for layer, size in enumerate(config.layers[1:-1]):
        seed = tf.stack([config.seed, step * len(config.layers) + layer])
        # whole numbers by a named algorithm are the same wherever they are drawn, compiled or not; floats are not
        drawn = tf.random.stateless_uniform((num_examples, size), seed, None, None, tf.uint32, alg="philox")
        masks.append(tf.cast(drawn >= dropped_below, dtype) * kept)
    return tuple(masks)


def network_of(config: TrainingConfig) -> Network:
    """Return the functions that a configuration names."""
    return build_network(config.activation, config.output, config.loss)


def descend(config: TrainingConfig, state: State, gradients: Parameters, factor: Tensor) -> State:
    """Take one step down.

    v <- momentum v - rate (dC/dp + decay p), p <- p + v; without momentum that is p - rate (dC/dp + decay p). Rates are
    of weights and of biases, times the schedule's factor; only weights decay (Nielsen, chapter 3: decay = lambda / n).
    """
    falls = tuple(
        type(p)(
            -factor * config.weights_rate * (g.weights + config.weight_decay * p.weights),
            -factor * config.biases_rate * g.biases,
        )
        for p, g in zip(state.parameters, gradients, strict=True)
    )

    def accelerate(velocity: Tensor, fall: Tensor) -> Tensor:
        return config.momentum * velocity + fall

    moves = tf.nest.map_structure(accelerate, state.velocity, falls) if config.momentum else falls
    parameters = tf.nest.map_structure(tf.add, state.parameters, moves)
    return State(state.step + 1, parameters, moves if config.momentum else ())


def constant(_: Tensor) -> Tensor:
    """The rates as they are given, from start to end."""
    return 1.0


def cosine(done: Tensor) -> Tensor:
    """(1 + cos(pi done)) / 2: the rates fall from what is given to 0 along half a cosine; done is 0 to 1."""
    return (1 + tf.cos(pi * done)) / 2


SCHEDULES = {"constant": constant, "cosine": cosine}


def compile_chunk(config: TrainingConfig) -> Callable[[State, Tensor, Tensor], tuple[State, Tensor]]:
    """Compile many updates into one call.

    Returns:
        a function of (state, images uint8[steps, n, inputs], labels int[steps, n]) that returns the state after those
        steps and float32[], the mean of the batches' losses. It compiles once for each number of steps.
    """

    def run_chunk(state: State, images: Tensor, labels: Tensor) -> tuple[State, Tensor]:
        num_steps = tf.shape(images)[0]

        def one_step(i: Tensor, state: State, total: Tensor) -> tuple[Tensor, State, Tensor]:
            state, loss = update(config, state, images[i], labels[i])
            return i + 1, state, total + loss

        def more(i: Tensor, *_: object) -> Tensor:
            return i < num_steps

        start = tf.constant(0), state, tf.zeros([], tf.float32)
        _, state, total = tf.while_loop(more, one_step, start)
        return state, total / tf.cast(num_steps, tf.float32)

    return tf.function(run_chunk, jit_compile=True, autograph=False)  # type: ignore[no-any-return]


def fit(
    config: TrainingConfig,
    chunks: Iterable[tuple[Tensor, Tensor]],
    monitored: Examples,
    report: Callable[[Progress], None],
    report_every: int,
    run_chunk: Callable[[State, Tensor, Tensor], tuple[State, Tensor]] | None = None,
) -> Parameters:
    """Train from the recipe's start to its last step.

    Args:
        config: the run.
        chunks: (images, labels) as `compile_chunk` takes them; together num_steps batches, and some chunk must end at
            each multiple of report_every.
        monitored: examples to count right answers among, at each report.
        report: called at step 0, at every report_every steps and at the last.
        report_every: in steps.
        run_chunk: how to take steps; by default `compile_chunk`, where TensorFlow puts it.

    Returns:
        the trained parameters.
    """
    started, step, losses = time.monotonic(), 0, []
    state, run_chunk = start_state(config), run_chunk or compile_chunk(config)
    count_correct = _counter(config, monitored)

    def point(loss: float) -> Progress:
        correct, seconds = count_correct(state.parameters), time.monotonic() - started
        return Progress(step, step * config.batch_size, loss, correct, len(monitored.labels), seconds)

    report(point(float("nan")))
    for images, labels in chunks:
        state, loss = run_chunk(state, images, labels)
        step += len(labels)
        losses.append((float(loss), len(labels)))
        if step % report_every == 0 or step == config.num_steps:
            report(point(_weighted_mean(losses)))
            losses.clear()
    return state.parameters


def _counter(config: TrainingConfig, examples: Examples) -> Callable[[Parameters], int]:
    images, network = tf.constant(examples.images), network_of(config)

    def count_correct(parameters: Parameters) -> int:
        predicted = np.argmax(predict(network, parameters, images).numpy(), axis=1)
        return int((predicted == examples.labels).sum())

    return count_correct


def _weighted_mean(pairs: list[tuple[float, int]]) -> float:
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)
