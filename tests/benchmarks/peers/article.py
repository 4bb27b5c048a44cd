"""The article's way: a graph of its equations, and a call of the session for every step, fed from NumPy.

"Back Propagation with TensorFlow" (Dan Aloni, 2016), for the network that it has: one hidden layer, sigmoids, squared
differences. As there, the weights' gradients are sums over the batch and the biases' are averages; the rates make both
the mean's. What the article does beside training (drawing batches, counting right answers) is left out. One thing is
mended: each variable is read once a step. Read wherever it is used, it may have been assigned to before, and so it was.
"""

from itertools import cycle

import numpy as np
import tensorflow as tf

from tests.benchmarks.cases import Work

graph_api = tf.compat.v1


def sigma(x: tf.Tensor) -> tf.Tensor:
    return tf.divide(tf.constant(1.0), tf.add(tf.constant(1.0), tf.exp(tf.negative(x))))


def sigma_prime(x: tf.Tensor) -> tf.Tensor:
    return tf.multiply(sigma(x), tf.subtract(tf.constant(1.0), sigma(x)))


class Article:
    def __init__(self, work: Work) -> None:
        with tf.Graph().as_default() as graph:
            self._a_0 = graph_api.placeholder(tf.float32, [None, work.config.layers[0]])
            self._y = graph_api.placeholder(tf.float32, [None, work.config.layers[-1]])
            self._variables = [graph_api.Variable(part) for layer in work.start for part in layer]
            self._step = self._build_step(work)
            self._session = graph_api.Session(graph=graph)
            self._session.run(graph_api.global_variables_initializer())
        self._chunks = cycle(list(zip(work.scaled_images(), work.targets(), strict=True)))

    def _build_step(self, work: Work) -> list[tf.Operation]:
        w_1, b_1, w_2, b_2 = read = [variable.read_value() for variable in self._variables]
        z_1 = tf.add(tf.matmul(self._a_0, w_1), b_1)
        a_1 = sigma(z_1)
        z_2 = tf.add(tf.matmul(a_1, w_2), b_2)
        a_2 = sigma(z_2)

        d_z_2 = tf.multiply(tf.subtract(a_2, self._y), sigma_prime(z_2))
        d_w_2 = tf.matmul(tf.transpose(a_1), d_z_2)
        d_a_1 = tf.matmul(d_z_2, tf.transpose(w_2))
        d_z_1 = tf.multiply(d_a_1, sigma_prime(z_1))
        d_w_1 = tf.matmul(tf.transpose(self._a_0), d_z_1)

        of_weights = tf.constant(work.config.weights_rate / work.config.batch_size)
        of_biases = tf.constant(work.config.biases_rate)
        falls = (
            tf.multiply(of_weights, d_w_1),
            tf.multiply(of_biases, tf.reduce_mean(d_z_1, axis=[0])),
            tf.multiply(of_weights, d_w_2),
            tf.multiply(of_biases, tf.reduce_mean(d_z_2, axis=[0])),
        )
        return [
            graph_api.assign(variable, tf.subtract(value, fall))
            for variable, value, fall in zip(self._variables, read, falls, strict=True)
        ]

    def run(self, num_chunks: int) -> None:
        for _ in range(num_chunks):
            for x, y in zip(*next(self._chunks), strict=True):
                self._session.run(self._step, feed_dict={self._a_0: x, self._y: y})

    def parameters(self) -> list[np.ndarray]:
        return list(self._session.run(self._variables))


prepare = Article
