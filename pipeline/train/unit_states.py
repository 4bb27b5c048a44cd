"""Which units of a layer are dead or saturated for a sample of examples. Pure functions."""

import numpy as np
import numpy.typing as npt

SATURATED_EXAMPLES = 0.95  # share of examples for which a unit is near an end
NEAR_END = 0.01  # of the range from end to end: there, the slope is below 4 % of the largest

Floats = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]


def find_dead_units(values: Floats, function: str) -> Booleans:
    """Return which units of a layer are at the lower end of their range for all examples: bool[units].

    Values are float32[examples, units] of relu, which are dead at 0, or of sigmoid or softmax, 0 to 1, or tanh, -1 to
    1, which are dead within NEAR_END of the range.
    """
    if function == "relu":
        return np.asarray((values <= 0).all(axis=0))
    return np.asarray((_place_in_range(values, function) < NEAR_END).all(axis=0))


def find_saturated_units(values: Floats, function: str) -> Booleans:
    """Return which units of a layer are near an end of their range for at least SATURATED_EXAMPLES: bool[units].

    Values are as for `find_dead_units`; units of relu, which has one end only, are never saturated.
    """
    if function == "relu":
        return np.zeros(values.shape[1], bool)
    places = _place_in_range(values, function)
    near = (places < NEAR_END) | (places > 1 - NEAR_END)
    return np.asarray(near.mean(axis=0) >= SATURATED_EXAMPLES)


def _place_in_range(values: Floats, function: str) -> Floats:
    """Return values of a function with two ends as 0 for the lower end to 1 for the upper one."""
    return np.asarray((values + 1) / 2, np.float32) if function == "tanh" else values
