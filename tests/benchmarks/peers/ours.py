"""backbeam: `compile_chunk`, called as `fit` calls it, with uint8 images."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import tensorflow as tf

from model.network import Layer
from model.recipes import override
from model.training import compile_chunk, start_state
from tests.benchmarks.cases import Work


class Ours:
    def __init__(self, work: Work, step: str) -> None:
        config = override(work.config, step=step)
        parameters = tuple(Layer(tf.constant(weights.T), tf.constant(biases)) for weights, biases in work.start)
        self._state = start_state(config)._replace(parameters=parameters)
        self._run_chunk = compile_chunk(config)
        chunks = zip(map(tf.constant, work.images), map(tf.constant, work.labels), strict=True)
        self._chunks: Iterator[Any] = cycle(list(chunks))

    def run(self, num_chunks: int) -> None:
        for _ in range(num_chunks):
            self._state, loss = self._run_chunk(self._state, *next(self._chunks))
            float(loss)  # waits, as training does

    def parameters(self) -> list[np.ndarray]:
        return [part.numpy().T for layer in self._state.parameters for part in layer]


prepare = Ours
