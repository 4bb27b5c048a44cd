"""Train a network: one update, or many updates in one compiled call."""

from collections.abc import Callable
from functools import partial
from math import pi
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from model.functions import Tensor
from model.gradients import STEPS, Gradients
from model.network import Layer, Masks, Network, Parameters, build_network, initialise, scale
from model.random_streams import Purpose, philox_seed
from model.recipes import TrainingConfig

# (state, images uint8[steps, n, inputs], labels int[steps, n]) -> the state after those steps, and float32[], the mean
# of the batches' losses. The state is a State, or what else holds parameters and can be a compiled loop's variable.
ChunkFunction: TypeAlias = Callable[[Any, Tensor, Tensor], tuple[Any, Tensor]]

# a function like draw_masks; another one replaces it where the batch is a part of a batch, or networks are stacked
DrawMasks: TypeAlias = Callable[[TrainingConfig, Tensor, Tensor, Tensor, tf.DType], Masks | None]


class State(NamedTuple):
    """The state of training between two steps.

    Attributes:
        step: int32[], updates done.
        dropout_key: int64[], key of the dropout stream; in the state so that one compiled program serves every seed.
        parameters: as they are now.
        velocity: the running sum of momentum, in the structure of the parameters; () without momentum.
    """

    step: Tensor
    dropout_key: Tensor
    parameters: Parameters
    velocity: Parameters


def start_state(config: TrainingConfig, dtype: tf.DType = tf.float32, warm_start: Parameters | None = None) -> State:
    """Return the state before the first step, in the memory of the CPU.

    It is drawn there whatever the device is: floats that a GPU draws are others, so a seed would start elsewhere.

    Args:
        config: of the run.
        dtype: of its numbers.
        warm_start: parameters of the configuration's layers to begin with; None to draw them.
    """
    with tf.device("CPU:0"):
        begun = warm_start or initialise(config.layers, config.seed, config.start)
        parameters = tuple(Layer(*(tf.cast(part, dtype) for part in layer)) for layer in begun)
        velocity = tf.nest.map_structure(tf.zeros_like, parameters) if config.momentum else ()
        return State(tf.constant(0), dropout_key(config.seed), parameters, velocity)


def dropout_key(seed: int) -> Tensor:
    """Return int64[], the key of the dropout stream of a run."""
    return tf.constant(philox_seed(Purpose.DROPOUT, seed)[0])


def update(
    config: TrainingConfig, state: State, images: Tensor, labels: Tensor, draw: DrawMasks | None = None
) -> tuple[State, Tensor]:
    """Compute the gradients of a batch and descend.

    Args:
        config: names the step and the functions.
        state: in float32, or in float64 for a check.
        images: uint8[n, inputs].
        labels: int[n], classes.
        draw: replaces `draw_masks` where the masks are drawn already.

    Returns:
        the new state and the batch's mean loss before the update.
    """
    gradients = batch_gradients(config, state, images, labels, draw)
    factor = SCHEDULES[config.schedule](tf.cast(state.step, gradients.loss.dtype) / config.num_steps)
    return descend(config, state, gradients.layers, factor), gradients.loss


def batch_gradients(
    config: TrainingConfig, state: State, images: Tensor, labels: Tensor, draw: DrawMasks | None = None
) -> Gradients:
    """Compute the gradients of a batch by the step that the configuration names.

    Arguments are as for `update`; draw replaces `draw_masks` if the batch is a part of a batch.
    """
    dtype = state.parameters[0].weights.dtype
    y = tf.one_hot(labels, config.layers[-1], dtype=dtype)
    masks = (draw or draw_masks)(config, state.dropout_key, state.step, tf.shape(images)[0], dtype)
    return STEPS[config.step](network_of(config), state.parameters, scale(images, dtype), y, masks)


def draw_masks(
    config: TrainingConfig, key: Tensor, step: Tensor, num_examples: Tensor, dtype: tf.DType
) -> Masks | None:
    """Draw the dropout masks of a step: a pure function of the stream's key and the step.

    Returns:
        a mask for each hidden layer (Srivastava et al., JMLR 15, 2014, but kept values are scaled up in training); None
        without dropout.
    """
    if not config.dropout:
        return None
    dropped_below = round(config.dropout * 2**16)
    kept = 1 / (1 - dropped_below / 2**16)
    hidden_sizes = config.layers[1:-1]
    masks = []
    for layer, size in enumerate(hidden_sizes):
        place = tf.cast(step, tf.int64) * len(hidden_sizes) + layer  # step * layers may overflow int32
        drawn = draw_uint16((num_examples, size), tf.stack([key, place]))
        masks.append(tf.cast(drawn >= dropped_below, dtype) * kept)
    return tuple(masks)


def draw_uint16(shape: tuple[Tensor, int], seed: Tensor) -> Tensor:
    """Draw uint16[shape], two from each uint32 of philox, because the cost of dropout is drawing.

    Integers of a named algorithm are the same on every device, compiled or not; floats are not.
    """
    num_rows, size = shape
    pairs = tf.random.stateless_uniform((num_rows, (size + 1) // 2), seed, None, None, tf.uint32, alg="philox")
    return tf.reshape(tf.bitcast(pairs, tf.uint16), (num_rows, -1))[:, :size]


def network_of(config: TrainingConfig) -> Network:
    """Return the functions that a configuration names."""
    return build_network(config.activation, config.output, config.loss)


def descend(config: TrainingConfig, state: State, gradients: Parameters, factor: Tensor) -> State:
    """Take one step down.

    v <- momentum v - rate (dC/dp + decay p), p <- p + v; without momentum that is p - rate (dC/dp + decay p). Rates are
    of weights and of biases, times the schedule's factor; only weights decay (Nielsen, chapter 3: decay = lambda / n).
    """

    def fall_of(p: Layer, g: Layer) -> Layer:
        weights = -factor * config.weights_rate * g.weights
        if config.weight_decay:  # XLA would not leave out a product with 0
            weights = -factor * config.weights_rate * (g.weights + config.weight_decay * p.weights)
        return type(p)(weights, -factor * config.biases_rate * g.biases)

    falls = tuple(fall_of(p, g) for p, g in zip(state.parameters, gradients, strict=True))

    def accelerate(velocity: Tensor, fall: Tensor) -> Tensor:
        return config.momentum * velocity + fall

    moves = tf.nest.map_structure(accelerate, state.velocity, falls) if config.momentum else falls
    parameters = tf.nest.map_structure(tf.add, state.parameters, moves)
    return state._replace(step=state.step + 1, parameters=parameters, velocity=moves if config.momentum else ())


def constant(_: Tensor) -> Tensor:
    """1: the rates do not change."""
    return 1.0


def cosine(done: Tensor) -> Tensor:
    """(1 + cos(pi done)) / 2: the rates fall to 0 along half a cosine; done is 0 to 1."""
    return (1 + tf.cos(pi * done)) / 2


SCHEDULES = {"constant": constant, "cosine": cosine}


def compile_chunk(config: TrainingConfig) -> ChunkFunction:
    """Compile a chunk of updates; XLA compiles once for each number of steps."""
    return compile_loop(partial(update, config))


def compile_loop(
    one_update: Callable[[Any, Tensor, Tensor], tuple[Any, Tensor]], loss_shape: tuple[int, ...] = ()
) -> ChunkFunction:
    """Compile a loop over a chunk's batches.

    Args:
        one_update: (state, images uint8[n, inputs], labels int[n]) -> the new state and the batch's loss.
        loss_shape: of that loss.
    """

    def run_chunk(state: Any, images: Tensor, labels: Tensor) -> tuple[Any, Tensor]:
        num_steps = tf.shape(images)[0]

        def one_step(i: Tensor, state: Any, total: Tensor) -> tuple[Tensor, Any, Tensor]:
            state, loss = one_update(state, images[i], labels[i])
            return i + 1, state, total + loss

        def more(i: Tensor, *_: object) -> Tensor:
            return i < num_steps

        start = tf.constant(0), state, tf.zeros(loss_shape, tf.float32)
        _, state, total = tf.while_loop(more, one_step, start)
        return state, total / tf.cast(num_steps, tf.float32)

    return tf.function(run_chunk, jit_compile=True, autograph=False)  # type: ignore[no-any-return]
