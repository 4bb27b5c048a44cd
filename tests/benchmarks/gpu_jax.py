"""The cases of gpu.py by JAX, on the same GPU: lax.scan over a chunk in one compiled call; a JSON line a case.

    python -m tests.benchmarks.gpu_jax [float32|tf32] [--only NAME:BATCH,...]

Any Python with JAX will do; backbeam is not imported.
"""

import os
import sys
import time
from types import SimpleNamespace

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import jax
import jax.numpy as jnp

from tests.benchmarks.gpu_cases import draw_images, draw_positions, draw_start, find_cases, measure_seconds, print_row
from tests.benchmarks.peers.jax_scan import make_training


def make_training_of(case):
    """Return a function that takes the steps of a chunk and returns (parameters, velocity) and the mean loss."""
    functions = ("relu", "cross-entropy", 0.9) if case.modern else ("sigmoid", "quadratic", 0.0)
    config = SimpleNamespace(**dict(zip(("activation", "loss", "momentum"), functions, strict=True)))
    config.weights_rate = case.rate

    def read(images, labels):
        return images.astype(jnp.float32) / 255, jax.nn.one_hot(labels, 10)

    train = make_training(config, True, read)

    def run_chunk(carry, *chunk):
        carry, losses = train(carry, chunk)
        return carry, losses.mean()

    return run_chunk


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
        train = jax.jit(make_training_of(case))
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
