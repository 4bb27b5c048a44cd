"""A network's parameters in a few numbers each, and how many of its hidden units do nothing. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

NUM_BINS = 30
DEAD_RANGE = 1e-3

Floats: TypeAlias = npt.NDArray[np.float32]


class ActivationRange(NamedTuple):
    """Between which values the units of a hidden layer stayed.

    Attributes:
        low: float32[units].
        high: float32[units].
    """

    low: Floats
    high: Floats

    @property
    def num_dead(self) -> int:
        """Units whose value hardly depends on the example."""
        return int((self.high.astype(np.float64) - self.low < DEAD_RANGE).sum())


def merge_ranges(ranges: Iterable[tuple[ActivationRange, ...]]) -> tuple[ActivationRange, ...]:
    """Widen ranges, one a hidden layer, by others of the same network; in any order."""
    return tuple(
        ActivationRange(np.min([each.low for each in layer], axis=0), np.max([each.high for each in layer], axis=0))
        for layer in zip(*ranges, strict=True)
    )


def weight_rows(
    parameters: Sequence[tuple[Floats, Floats]], ranges: tuple[ActivationRange, ...]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table `weights`.

    Args:
        parameters: weights float32[outputs, inputs] and biases float32[outputs] of each layer.
        ranges: of each hidden layer, over all examples.
    """
    num_dead = [*(each.num_dead for each in ranges), 0]
    for layer, (values, dead) in enumerate(zip(parameters, num_dead, strict=True), start=1):
        for name, parameter in zip(("weights", "biases"), values, strict=True):
            about = {"layer": layer, "parameter": name, "num_units": len(parameter), "num_dead_units": dead}
            yield about | describe(parameter)


def describe(parameter: Floats) -> dict[str, Any]:
    """Return the numbers of a parameter that its row has, worked out in float64."""
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
