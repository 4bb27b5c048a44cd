"""How often training adds a point to the learning curve. Pure functions."""

MIN_POINTS = 50  # of a run that is long enough
SPACINGS = (1000, 500, 200, 100)  # steps; the first is also that of the lines that training prints


def choose_steps_per_point(num_steps: int) -> int:
    """Return the largest spacing that gives a run MIN_POINTS points; the smallest one if none does.

    A point costs a prediction of the monitored examples and a call of the compiled chunk, about 1 ms with the default
    network, so a short run has fewer points.
    """
    return next((steps for steps in SPACINGS if num_steps >= MIN_POINTS * steps), SPACINGS[-1])
