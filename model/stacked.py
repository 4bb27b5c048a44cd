"""Several networks as one program: the steps of one network, over stacked parameters.

A small network leaves most of a GPU idle, so many networks take little longer than one (docs/devices.md). The program
always trains config.stack networks; where there are fewer runs, the last one's network fills the other places too. So
what a network learns does not depend on the runs beside it: XLA is given one program, whatever it trains. It may add
in another order than the program for one network does, so the number of places belongs to a run's identity.
"""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Condition, Event
from typing import Any, TypeAlias

import tensorflow as tf

from model.fitting import TrainingStopped
from model.functions import Tensor
from model.network import Masks
from model.recipes import TrainingConfig
from model.training import ChunkFunction, State, compile_loop, draw_masks, update

# (states, images, labels), one of each for every network as for a ChunkFunction -> the states after those steps, losses
StackFunction: TypeAlias = Callable[[Sequence[State], Sequence[Tensor], Sequence[Tensor]], tuple[Any, Any]]

_LOOK_SECONDS = 0.1


def compile_stack(config: TrainingConfig) -> StackFunction:
    """Compile a chunk of steps of config.stack networks."""
    run = compile_loop(partial(update_all, config), (config.stack,))

    def run_stack(states: Sequence[State], images: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[Any, Any]:
        state = tf.nest.map_structure(lambda *parts: tf.stack(parts), *states)
        state, losses = run(state, tf.stack(images, axis=1), tf.stack(labels, axis=1))
        states = [tf.nest.map_structure(partial(_take, place), state) for place in range(config.stack)]
        return states, tf.unstack(losses)

    return run_stack  # itself not compiled: with the tensors of each network that takes minutes for a thousand of them


def update_all(config: TrainingConfig, state: State, images: Tensor, labels: Tensor) -> tuple[State, Tensor]:
    """Take one step of every network; arguments and results as for `update`, with an axis of networks in front."""

    def update_one(given: tuple[State, Tensor, Tensor, Masks]) -> tuple[State, Tensor]:
        state, images, labels, masks = given
        return update(config, state, images, labels, lambda *_: masks or None)

    given = (state, images, labels, _draw_all_masks(config, state, tf.shape(images)[1]))
    # a loop over the networks, to which it would fall back otherwise, would be as slow as training them in turn
    return tf.vectorized_map(update_one, given, fallback_to_while_loop=False)  # type: ignore[no-any-return]


def _draw_all_masks(config: TrainingConfig, state: State, num_examples: Tensor) -> Masks:
    """Draw each network's own dropout masks, float[networks, n, outputs] for each hidden layer; () without dropout."""
    dtype = state.parameters[0].weights.dtype
    drawn = [
        draw_masks(config, state.dropout_key[place], state.step[place], num_examples, dtype) or ()
        for place in range(config.stack)
    ]
    return tuple(tf.stack(masks) for masks in zip(*drawn, strict=True))


def _take(place: int, part: Tensor) -> Tensor:
    return part[place]


class Stack:
    """Runs that are trained as one program, each in a thread of its own, which waits for the others at every chunk."""

    def __init__(self, run_stack: StackFunction, num_places: int, num_runs: int) -> None:
        """Prepare for runs that begin at the same step, as many as the program's places or fewer."""
        self._run_stack = run_stack
        self._num_places = num_places
        self._num_runs = num_runs
        self._met = Condition()
        self._arrived: dict[int, tuple[Any, Tensor, Tensor]] = {}
        self._results: dict[int, tuple[Any, Tensor]] = {}

    def join(self, seed: int, stop: Event) -> ChunkFunction:
        """Return the function that trains the run of a seed; waiting, it raises TrainingStopped once stop is set."""
        return partial(self._run_chunk, seed, stop)

    def _run_chunk(self, seed: int, stop: Event, *chunk: Any) -> tuple[Any, Tensor]:
        with self._met:
            self._arrived[seed] = chunk
            # once stop is set, others may have left; a chunk that is trained is returned to all: they stop at one step
            if len(self._arrived) == self._num_runs and not stop.is_set():
                self._run_all()
                self._met.notify_all()
            while seed not in self._results:
                if stop.is_set():
                    raise TrainingStopped
                self._met.wait(_LOOK_SECONDS)
            return self._results.pop(seed)

    def _run_all(self) -> None:
        """Train a chunk of every run, in the order of their seeds, in the thread that came last."""
        seeds = sorted(self._arrived)
        chunks = [self._arrived.pop(seed) for seed in seeds]
        chunks += [chunks[-1]] * (self._num_places - self._num_runs)
        states, losses = self._run_stack(*map(list, zip(*chunks, strict=True)))
        self._results = dict(zip(seeds, zip(states, losses, strict=True), strict=False))  # not those of copies
