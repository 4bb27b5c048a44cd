"""The rate that arithmetic can reach: NumPy's product of two large float32 matrices on one core."""

import numpy as np
from threadpoolctl import threadpool_limits

from tests.benchmarks.cases import Work

SIZE = 2048
FLOPS = 2 * SIZE**3


class Matmul:
    def __init__(self, _: Work) -> None:
        threadpool_limits(1)
        self._left, self._right = np.random.default_rng(1).standard_normal((2, SIZE, SIZE), np.float32)
        self._product = np.empty_like(self._left)

    def run(self, num_chunks: int) -> None:
        for _ in range(num_chunks):
            np.matmul(self._left, self._right, out=self._product)


prepare = Matmul
