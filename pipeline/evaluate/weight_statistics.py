"""Summary statistics of a network's parameters, and the number of its dead hidden units. Pure functions."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

NUM_BINS = 30
DEAD_RANGE = 1e-3  # of activations: a unit that varies less does not tell examples apart

Floats: TypeAlias = npt.NDArray[np.float32]


class ActivationRange(NamedTuple):
    """The smallest and largest activation of each unit of a hidden layer, float32[units]."""

    low: Floats
    high: Floats

    @property
    def num_dead(self) -> int:
        """The number of units whose activation varies by less than DEAD_RANGE over the examples."""
        return int((self.high.astype(np.float64) - self.low < DEAD_RANGE).sum())


def merge_ranges(ranges: Iterable[tuple[ActivationRange, ...]]) -> tuple[ActivationRange, ...]:
    """Merge ranges over different examples, each a tuple with one range for each hidden layer; in any order."""
    return tuple(
        ActivationRange(np.min([part.low for part in parts], axis=0), np.max([part.high for part in parts], axis=0))
        for parts in zip(*ranges, strict=True)  # of one hidden layer
    )


def weight_rows(
    parameters: Sequence[tuple[Floats, Floats]], ranges: tuple[ActivationRange, ...]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table `weights`.

    Parameters are weights float32[outputs, inputs] and biases float32[outputs] of each layer, ranges of each hidden
    layer over all examples.
    """
    num_dead = [*(layer.num_dead for layer in ranges), 0]  # the output layer has no range
    for layer, (values, dead) in enumerate(zip(parameters, num_dead, strict=True), start=1):
        for name, parameter in zip(("weights", "biases"), values, strict=True):
            row = {"layer": layer, "parameter": name, "num_units": len(parameter), "num_dead_units": dead}
            yield row | _describe(parameter)


def _describe(parameter: Floats) -> dict[str, Any]:
    values = parameter.astype(np.float64)
    counts, edges = np.histogram(values, NUM_BINS)
    return {
        "shape": list(values.shape),
        "num_values": values.size,
        "norm": float(np.sqrt(np.square(values).sum())),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "smallest": float(values.min()),
        "largest": float(values.max()),
        "histogram_edges": edges.tolist(),
        "histogram_counts": counts.tolist(),
    }
