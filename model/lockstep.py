"""Train by manual and by autodiff gradients in lockstep, and measure how far their steps and networks differ.

Two networks start from the same parameters and train on the same batches, each with its own gradients. At every step
an autodiff step is also taken from the parameters of the manual network; it differs from the manual step only by
rounding. The drift between the two networks is the accumulation of such differences; at high rates it is not small.
"""

from functools import partial
from typing import NamedTuple

import tensorflow as tf

from model.functions import Tensor
from model.network import Layer, Parameters
from model.recipes import TrainingConfig
from model.training import ChunkFunction, State, compile_chunk, compile_loop, start_state, update


class Lockstep(NamedTuple):
    """The state of both networks.

    Attributes:
        manual: of the network trained by manual gradients.
        autodiff: of the network trained by autodiff gradients.
        difference: float32[], the largest absolute difference of one number after one step from the manual network's
            parameters, manual against autodiff, over the steps of the chunk.
    """

    manual: State
    autodiff: State
    difference: Tensor

    @property
    def parameters(self) -> Parameters:
        """Those of the manual network, which are the run's."""
        return self.manual.parameters


class Agreement(NamedTuple):
    """Agreement of manual and autodiff in one chunk; differences are the largest absolute ones of single numbers.

    Attributes:
        step: updates done at the end of the chunk.
        largest_difference: after one step from the same parameters, over the steps of the chunk.
        drift: between the two networks at the end of the chunk; None if only one was trained.
        largest_parameter: largest absolute parameter of the manual network, for comparison.
    """

    step: int
    largest_difference: float
    drift: float | None
    largest_parameter: float


def begin(config: TrainingConfig, warm_start: Parameters | None = None) -> State | Lockstep:
    """Return the state before the first step, of one network or, for compare, of both; see `training.start_state`."""
    state = start_state(config, warm_start=warm_start)
    return Lockstep(state, state, tf.constant(0.0)) if config.step == "compare" else state


def compile_run(config: TrainingConfig) -> ChunkFunction:
    """Compile a chunk of steps by the step that the configuration names, or in lockstep for compare."""
    return compile_lockstep(config) if config.step == "compare" else compile_chunk(config)


def compile_lockstep(config: TrainingConfig) -> ChunkFunction:
    """Compile a chunk of steps of both; see `model.training.compile_loop`."""
    run = compile_loop(partial(update_both, config))

    def run_chunk(state: Lockstep, images: Tensor, labels: Tensor) -> tuple[Lockstep, Tensor]:
        return run(state._replace(difference=tf.constant(0.0)), images, labels)

    return run_chunk


def update_both(config: TrainingConfig, state: Lockstep, images: Tensor, labels: Tensor) -> tuple[Lockstep, Tensor]:
    """Take one step of both networks; arguments as for `model.training.update`."""
    by_hand, by_tape = (partial(update, config.model_copy(update={"step": step})) for step in ("manual", "autodiff"))
    manual, loss = by_hand(state.manual, images, labels)
    beside, _ = by_tape(state.manual, images, labels)
    autodiff, _ = by_tape(state.autodiff, images, labels)
    latest = largest_difference(manual.parameters, beside.parameters)
    # tf.maximum may drop a NaN; the second term, 0 otherwise, keeps it
    difference = tf.maximum(state.difference, latest) + 0 * (state.difference + latest)
    return Lockstep(manual, autodiff, difference), loss


def largest_difference(ours: Parameters, theirs: Parameters) -> Tensor:
    """Return the largest absolute difference between corresponding numbers."""
    pairs = zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True)
    return tf.reduce_max([tf.reduce_max(tf.abs(x - y)) for x, y in pairs])


def agreement(step: int, state: Lockstep) -> Agreement:
    """Describe the chunk that has just ended."""
    manual = state.manual.parameters
    return Agreement(
        step, float(state.difference), float(largest_difference(manual, state.autodiff.parameters)), _largest(manual)
    )


def compare_steps(config: TrainingConfig, parameters: Parameters, images: Tensor, labels: Tensor) -> Agreement:
    """Take a manual and an autodiff step from trained parameters, in float64, and return how far they differ.

    Args:
        config: of the run; its rates are those of the first step, before the schedule lowers them.
        parameters: at the end of the run.
        images: uint8[n, inputs].
        labels: int[n], classes.
    """
    start = start_state(config, tf.float64)
    state = start._replace(parameters=tuple(Layer(*(tf.cast(x, tf.float64) for x in layer)) for layer in parameters))
    by_hand, by_tape = (
        update(config.model_copy(update={"step": step}), state, images, labels)[0].parameters
        for step in ("manual", "autodiff")
    )
    return Agreement(config.num_steps, float(largest_difference(by_hand, by_tape)), None, _largest(parameters))


def _largest(parameters: Parameters) -> float:
    """Return the largest absolute number."""
    return float(tf.reduce_max([tf.reduce_max(tf.abs(part)) for part in tf.nest.flatten(parameters)]))
