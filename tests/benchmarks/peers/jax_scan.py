"""JAX: `lax.scan` over the batches of a chunk inside one compiled call, with gradients by `jax.grad`."""

from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:  # gpu_jax.py works without backbeam
    from tests.benchmarks.cases import Work

ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}


class Jax:
    def __init__(self, work: "Work", transposed: bool) -> None:
        self._transposed = transposed
        self._parameters = [
            (jnp.array(weights.T if transposed else weights), jnp.array(biases)) for weights, biases in work.start
        ]
        self._velocity = jax.tree.map(jnp.zeros_like, self._parameters) if work.config.momentum else ()
        self._train = jax.jit(make_training(work.config, transposed), donate_argnums=0)
        pairs = zip(work.scaled_images(), work.targets(), strict=True)
        self._chunks = cycle([(jnp.array(x), jnp.array(y)) for x, y in pairs])

    def run(self, num_chunks: int) -> None:
        for _ in range(num_chunks):
            carry = self._train((self._parameters, self._velocity), next(self._chunks))
            (self._parameters, self._velocity), losses = carry
            losses.block_until_ready()

    def parameters(self) -> list[np.ndarray]:
        parts = [np.asarray(part) for layer in self._parameters for part in layer]
        return [part.T for part in parts] if self._transposed else parts


def make_loss(config: Any, transposed: bool) -> Callable[..., Any]:
    """The batch's mean loss as a function of (parameters, x, y); transposed: weights are [outputs, inputs], as ours."""
    activation = ACTIVATIONS[config.activation]

    def forward(parameters: Any, x: Any) -> Any:
        def weigh(a: Any, weights: Any, biases: Any) -> Any:
            return (weights @ a.T + biases[:, None]).T if transposed else a @ weights + biases

        first, *others = parameters
        z = weigh(x, *first)
        for layer in others:
            z = weigh(activation(z), *layer)
        return z

    def quadratic(parameters: Any, x: Any, y: Any) -> Any:
        return jnp.mean(jnp.sum((jax.nn.sigmoid(forward(parameters, x)) - y) ** 2, axis=1) / 2)

    def cross_entropy(parameters: Any, x: Any, y: Any) -> Any:
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(forward(parameters, x)), axis=1))

    return quadratic if config.loss == "quadratic" else cross_entropy


def make_training(config: Any, transposed: bool, read: Callable[..., Any] = lambda x, y: (x, y)) -> Callable[..., Any]:
    """Return a function that trains on a chunk; `read` makes a batch's x, 0 to 1, and one-hot y from its parts.

    The config has activation, loss, momentum and weights_rate, as a TrainingConfig does.
    """
    differentiate = jax.value_and_grad(make_loss(config, transposed))

    def accelerate(velocity: Any, gradient: Any) -> Any:
        return config.momentum * velocity - config.weights_rate * gradient

    def fall(gradient: Any) -> Any:
        return -config.weights_rate * gradient

    def step(carry: Any, batch: Any) -> Any:
        parameters, velocity = carry
        value, gradients = differentiate(parameters, *read(*batch))
        moves = jax.tree.map(accelerate, velocity, gradients) if config.momentum else jax.tree.map(fall, gradients)
        return (jax.tree.map(jnp.add, parameters, moves), moves if config.momentum else ()), value

    def train(carry: Any, chunk: Any) -> Any:
        return jax.lax.scan(step, carry, chunk)

    return train


prepare = Jax
