"""How often training adds a point to the learning curve, and measures the layers. Pure functions."""

from math import ceil

MIN_POINTS = 50  # of a run that is long enough
SPACINGS = (1000, 500, 200, 100)  # steps; the first is also that of the lines that training prints
MAX_MEASURED = 100  # points at which the layers are measured, step 0 not counted


def choose_steps_per_point(num_steps: int) -> int:
    """Return the largest spacing that gives a run MIN_POINTS points; the smallest one if none does.

    A point costs a prediction of the monitored examples and a call of the compiled chunk, about 1 ms with the default
    network, so a short run has fewer points.
    """
    return next((steps for steps in SPACINGS if num_steps >= MIN_POINTS * steps), SPACINGS[-1])


def choose_steps_per_measurement(num_steps: int, steps_per_point: int) -> int:
    """Return the steps from one measurement of the layers to the next, a multiple of those of the curve's points.

    Measuring costs about as much as a point, and a chart shows no more than MAX_MEASURED of them.
    """
    return steps_per_point * max(1, ceil(num_steps / (steps_per_point * MAX_MEASURED)))
