"""Keras on TensorFlow: a Sequential model, SGD and `fit`, over batches that are in memory already."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks.cases import Work


class Keras:
    def __init__(self, work: Work, steps_per_execution: int, jit_compile: str | bool) -> None:
        config = work.config
        softmax = config.output == "softmax"
        *hidden, outputs = config.layers[1:]
        self._model = keras.Sequential(
            [keras.Input((config.layers[0],))]
            + [keras.layers.Dense(size, activation=config.activation) for size in hidden]
            + [keras.layers.Dense(outputs, activation=None if softmax else config.output)]
        )
        self._model.set_weights([part for layer in work.start for part in layer])
        # "mse" is the mean over the outputs too, not half their sum: so many times the rate
        rate = config.weights_rate * (1 if softmax else outputs / 2)
        self._model.compile(
            optimizer=keras.optimizers.SGD(rate, momentum=config.momentum),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True) if softmax else "mse",
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )
        self._chunk_length = work.chunk_length
        targets = work.labels if softmax else work.targets()
        arrays = (array.reshape(-1, *array.shape[2:]) for array in (work.scaled_images(), targets))
        self._batches = tf.data.Dataset.from_tensor_slices(tuple(arrays)).repeat()

    def run(self, num_chunks: int) -> None:
        batches = self._batches.take(num_chunks * self._chunk_length).prefetch(tf.data.AUTOTUNE)
        self._model.fit(batches, shuffle=False, verbose=0)

    def parameters(self) -> list[np.ndarray]:
        return list(self._model.get_weights())


prepare = Keras
