"""The cases of gpu.py by JAX, on the same GPU: lax.scan over a chunk in one compiled call; a JSON line a case.

    python -m tests.benchmarks.gpu_jax [float32|tf32] [--only NAME:BATCH,...]

Any Python with JAX will do; backbeam is not imported.
"""

import os
import sys
import time
from functools import partial

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import jax
import jax.numpy as jnp

from tests.benchmarks.gpu_cases import draw_images, draw_positions, draw_start, find_cases, measure_seconds, print_row


def step(case, carry, batch):
    """Take one step; x is in 0 to 1."""
    parameters, velocity = carry
    x = batch[0].astype(jnp.float32) / 255
    y = jax.nn.one_hot(batch[1], 10)

    def loss(parameters):
        a = x
        for weights, biases in parameters[:-1]:
            z = a @ weights.T + biases
            a = jax.nn.relu(z) if case.modern else jax.nn.sigmoid(z)
        z = a @ parameters[-1][0].T + parameters[-1][1]
        if case.modern:
            return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=1))
        return jnp.mean(jnp.sum((jax.nn.sigmoid(z) - y) ** 2, axis=1) / 2)

    value, gradients = jax.value_and_grad(loss)(parameters)
    if case.modern:
        velocity = jax.tree.map(lambda v, g: 0.9 * v - case.rate * g, velocity, gradients)
        return (jax.tree.map(jnp.add, parameters, velocity), velocity), value
    return (jax.tree.map(lambda p, g: p - case.rate * g, parameters, gradients), velocity), value


def run_chunk(case, carry, images, labels):
    """Take the steps of a chunk."""
    carry, losses = jax.lax.scan(partial(step, case), carry, (images, labels))
    return carry, losses.mean()


def main():
    """Time every case."""
    precision = "float32" if "tf32" not in sys.argv[1:] else "tensorfloat32"
    jax.config.update("jax_default_matmul_precision", precision)
    images, labels = map(jax.device_put, draw_images())
    for case in find_cases(",".join(text for text in sys.argv[1:] if ":" in text)):
        positions = jnp.asarray(draw_positions(case))
        chunk = jax.block_until_ready((images[positions], labels[positions]))
        parameters = jax.tree.map(jnp.asarray, draw_start(case))
        carry = parameters, jax.tree.map(jnp.zeros_like, parameters) if case.modern else ()
        train = jax.jit(partial(run_chunk, case))
        begun = time.monotonic()
        carry, loss = train(carry, *chunk)
        first = float(loss)
        compiled = time.monotonic() - begun
        seconds = measure_seconds(lambda f=train, state=carry, each=chunk: float(f(state, *each)[1])) / case.steps
        row = {"peer": f"jax {jax.__version__}", "device": str(jax.devices()[0]), "network": case.name}
        row |= {"batch": case.batch, "precision": precision, "us_a_step": round(seconds * 1e6, 2), "loss": first}
        row |= {"first_call_seconds": round(compiled, 2), "steps": case.steps}
        print_row(**row)


if __name__ == "__main__":
    main()
