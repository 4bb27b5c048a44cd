"""Other ways to write and compile the step of case A, to see what each would give. Not how backbeam trains."""

import os
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tests.benchmarks.cases import Work

HIDDEN = 30
ONE_CORE = "--xla_cpu_multi_thread_eigen=false"


class Variant(NamedTuple):
    """What is different from the step as backbeam compiles it.

    Attributes:
        title: what the table calls it.
        flags: for XLA.
        xla: whether XLA compiles it at all.
        rows_of_outputs: whether weights are [outputs, inputs].
        scaled: whether images come as float32 from 0 to 1.
        padded: hidden units, the additional ones without effect.
        unrolled: steps in a turn of the loop.
        outer_products: whether the first layer's gradient is a sum of outer products, for XLA to fuse with the descent.
        loss: whether the loss is worked out.
    """

    title: str
    flags: str = ONE_CORE
    xla: bool = True
    rows_of_outputs: bool = True
    scaled: bool = False
    padded: int = HIDDEN
    unrolled: int = 1
    outer_products: bool = False
    loss: bool = True


VARIANTS = {
    "plain": Variant("the step, written out for this network"),
    "columns": Variant("weights as [inputs, outputs]", rows_of_outputs=False),
    "threads": Variant("products on all cores", flags=""),
    "columns-threads": Variant("both of these", flags="", rows_of_outputs=False),
    "sequential": Variant(
        "products on all cores, schedule for one", flags="--xla_cpu_enable_concurrency_optimized_scheduler=false"
    ),
    "scaled": Variant("images scaled beforehand", scaled=True),
    "padded": Variant("32 hidden units, 2 of them idle", padded=32),
    "unrolled-2": Variant("2 steps a turn", unrolled=2),
    "unrolled-5": Variant("5 steps a turn", unrolled=5),
    "fused": Variant("outer products fused with the descent", outer_products=True),
    "silent": Variant("without the loss", loss=False),
    "fast-math": Variant("XLA's fast mathematics", flags=f"{ONE_CORE} --xla_cpu_enable_fast_math=true"),
    "wide": Variant("vectors of 512 bits", flags=f"{ONE_CORE} --xla_cpu_prefer_vector_width=512"),
    "onednn": Variant("oneDNN's products", flags=f"{ONE_CORE} --xla_cpu_experimental_onednn_fusion_type=dot"),
    "graph": Variant("without XLA", xla=False),
}


class Trainer:
    def __init__(self, work: Work, variant: str) -> None:
        self._variant = VARIANTS[variant]
        os.environ["XLA_FLAGS"] = self._variant.flags  # read at the first compilation
        (w1, b1), (w2, b2) = work.start
        idle = self._variant.padded - len(b1)
        w1, b1, w2 = np.pad(w1, ((0, 0), (0, idle))), np.pad(b1, (0, idle)), np.pad(w2, ((0, idle), (0, 0)))
        self._hidden = len(b1) - idle
        self._parameters = tuple(map(tf.constant, (self._turn(w1), b1, self._turn(w2), b2)))
        self._train = compile_steps(self._variant, work.config.weights_rate)
        images = work.scaled_images() if self._variant.scaled else work.images
        self._chunks = cycle([(tf.constant(x), tf.constant(y)) for x, y in zip(images, work.labels, strict=True)])

    def run(self, num_chunks: int) -> None:
        for _ in range(num_chunks):
            self._parameters, loss = self._train(self._parameters, *next(self._chunks))
            float(loss)

    def parameters(self) -> list[np.ndarray]:
        w1, b1, w2, b2 = (part.numpy() for part in self._parameters)
        return [self._turn(w1)[:, : self._hidden], b1[: self._hidden], self._turn(w2)[: self._hidden], b2]

    def _turn(self, weights: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(weights.T) if self._variant.rows_of_outputs else weights


def compile_steps(variant: Variant, rate: float) -> Any:
    """Compile (parameters, images, labels) -> (parameters, loss) over a chunk."""

    def train(parameters: Any, images: Any, labels: Any) -> Any:
        num_turns = tf.shape(images)[0] // variant.unrolled

        def turn(i: Any, parameters: Any, total: Any) -> Any:
            for j in range(variant.unrolled):
                place = i * variant.unrolled + j
                parameters, loss = take_step(variant, rate, parameters, images[place], labels[place])
                total += loss
            return i + 1, parameters, total

        def more(i: Any, *_: Any) -> Any:
            return i < num_turns

        return tf.while_loop(more, turn, (tf.constant(0), parameters, tf.zeros([])))[1:]

    return tf.function(train, jit_compile=variant.xla, autograph=False)


def take_step(variant: Variant, rate: float, parameters: Any, images: Any, labels: Any) -> Any:
    """One manual step of a sigmoid network of two layers with the quadratic loss."""
    w1, b1, w2, b2 = parameters
    rows = variant.rows_of_outputs
    x = images if variant.scaled else tf.cast(images, tf.float32) / 255
    y, n = tf.one_hot(labels, 10), tf.cast(tf.shape(images)[0], tf.float32)
    a1 = tf.sigmoid(tf.matmul(x, w1, transpose_b=rows) + b1)
    if variant.padded > HIDDEN:
        a1 *= tf.constant([1.0] * HIDDEN + [0.0] * (variant.padded - HIDDEN))
    a2 = tf.sigmoid(tf.matmul(a1, w2, transpose_b=rows) + b2)
    delta2 = (a2 - y) * a2 * (1 - a2) / n
    delta1 = tf.matmul(delta2, w2, transpose_b=not rows) * a1 * (1 - a1)
    products = sum_outer_products if variant.outer_products else transposed_product
    falls = (
        products(delta1, x) if rows else products(x, delta1),
        tf.reduce_sum(delta1, axis=0),
        transposed_product(delta2, a1) if rows else transposed_product(a1, delta2),
        tf.reduce_sum(delta2, axis=0),
    )
    loss = tf.reduce_mean(tf.reduce_sum(tf.square(a2 - y), axis=1)) / 2 if variant.loss else 0.0
    return tuple(p - rate * fall for p, fall in zip(parameters, falls, strict=True)), loss


def transposed_product(left: Any, right: Any) -> Any:
    return tf.matmul(left, right, transpose_a=True)


def sum_outer_products(left: Any, right: Any) -> Any:
    return tf.reduce_sum(left[:, :, tf.newaxis] * right[:, tf.newaxis, :], axis=0)


prepare = Trainer
