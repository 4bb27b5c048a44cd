"""What the benchmark on a GPU trains, for backbeam (gpu.py) and for JAX (gpu_jax.py); NumPy only."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

NUM_IMAGES = 60_000
CHUNK_BYTES = 2**28
SECONDS = 0.5  # of repeats, at least


class Case(NamedTuple):
    """One network at one batch size.

    Attributes:
        name: of the network.
        layers: sizes from inputs to outputs.
        modern: relu, softmax with cross-entropy and momentum; else sigmoid with the quadratic loss.
        batch: examples a step.
    """

    name: str
    layers: tuple[int, ...]
    modern: bool
    batch: int

    @property
    def steps(self) -> int:
        """Steps of a chunk, as training has them."""
        return max(1, min(1000, CHUNK_BYTES // (self.batch * 784)))

    @property
    def rate(self) -> float:
        """Learning rate."""
        return 0.01 if self.modern else 1.0


NETWORKS = (
    ("article", (784, 30, 10), False),
    ("modern", (784, 512, 512, 10), True),
    ("wide", (784, 4096, 4096, 10), True),
)
CASES = tuple(Case(*network, batch) for network in NETWORKS for batch in (10, 128, 1024, 8192))


def find_cases(names: str) -> list[Case]:
    """Return the cases that are named as NAME:BATCH, with commas between them; all for ""."""
    wanted = set(filter(None, names.split(",")))
    return [case for case in CASES if not wanted or f"{case.name}:{case.batch}" in wanted]


def measure_seconds(work: Callable[[], object]) -> float:
    """Return the median seconds of a call, the first left out."""
    found = []
    ends = time.monotonic() + SECONDS
    while len(found) < 4 or (time.monotonic() < ends and len(found) < 100):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found[1:])


def print_row(**row: object) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def draw_images():
    """Return uint8[60000, 784] and int32[60000]."""
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (NUM_IMAGES, 784), np.uint8)
    return images, random.integers(0, 10, NUM_IMAGES, np.int32)


def draw_positions(case: Case):
    """Return int32[steps, batch], the examples of a chunk."""
    return np.random.default_rng(2).integers(0, NUM_IMAGES, (case.steps, case.batch), np.int32)


def draw_start(case: Case):
    """Return (weights float32[outputs, inputs], biases float32[outputs]) of each layer."""
    random = np.random.default_rng(3)
    return [
        ((random.normal(size=(m, n)) / n**0.5).astype(np.float32), np.zeros(m, np.float32))
        for n, m in pairwise(case.layers)
    ]
