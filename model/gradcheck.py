"""Do the two steps agree, and are they right? Manual against autodiff against central differences, in float64."""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.functions import Tensor
from model.gradients import STEPS
from model.network import Layer, Masks, Parameters, forward, initialise, scale
from model.order import permutation
from model.recipes import TrainingConfig
from model.training import draw_masks, network_of

AUTODIFF_TOLERANCE = 1e-10
DIFFERENCES_TOLERANCE = 1e-5  # central differences themselves are no better than about 1e-7 of the largest slope
STEP_SIZES = (1e-5, 1e-6, 1e-7)  # the first whose two ends have no corner of a relu between them
CORNER = 0.1  # more than any smooth slope changes over a step
BATCH_SIZE = 10
MOST_CHECKED = 100  # numbers of one parameter that are checked against differences: each costs two forward passes


Batch: TypeAlias = tuple[Tensor, Tensor, Masks | None]  # x, y, and what dropout leaves of the hidden layers


class Agreement(NamedTuple):
    """How far the manual gradient of one parameter of one layer is from the others.

    Differences are relative: the largest absolute difference over the largest absolute value of the manual gradient.

    Attributes:
        layer: counted from 1, as in the equations.
        parameter: "weights" or "biases".
        shape: of the parameter.
        from_autodiff: over all its numbers.
        from_differences: over num_checked of them.
        num_checked: numbers checked against central differences.
    """

    layer: int
    parameter: str
    shape: tuple[int, ...]
    from_autodiff: float
    from_differences: float
    num_checked: int

    @property
    def holds(self) -> bool:
        """Whether both are within their tolerances."""
        return self.from_autodiff <= AUTODIFF_TOLERANCE and self.from_differences <= DIFFERENCES_TOLERANCE


def check_gradients(config: TrainingConfig) -> list[Agreement]:
    """Compare the three ways to the gradients at a recipe's start, on one batch of made-up images.

    The check asks whether the equations hold for these layers and functions; which images they are put to does not
    matter, so they are drawn from the seed.
    """
    x, y = _draw_batch(config)
    parameters = tuple(
        Layer(*(tf.cast(part, tf.float64) for part in layer))
        for layer in initialise(config.layers, config.seed, config.start)
    )
    batch = (x, y, draw_masks(config, config.seed, tf.constant(0), BATCH_SIZE, tf.float64))
    by_hand, by_tape = (STEPS[name](network_of(config), parameters, *batch).layers for name in ("manual", "autodiff"))
    places = [(i, j) for i in range(len(parameters)) for j in range(len(Layer._fields))]
    return [_compare(config, parameters, place, (by_hand, by_tape), batch) for place in places]


def _compare(
    config: TrainingConfig,
    parameters: Parameters,
    place: tuple[int, int],
    gradients: tuple[Parameters, Parameters],
    batch: Batch,
) -> Agreement:
    """Compare the gradients of one parameter: place is its layer and its field there."""
    i, j = place
    ours, theirs = (layers[i][j].numpy() for layers in gradients)
    largest = max(abs(ours).max(), np.finfo(np.float64).tiny)
    chosen = permutation((config.seed, i, j), ours.size)[:MOST_CHECKED]
    differences = [_central_difference(config, parameters, (i, j), number, batch) for number in chosen.tolist()]
    return Agreement(
        layer=i + 1,
        parameter=Layer._fields[j],
        shape=ours.shape,
        from_autodiff=float(abs(ours - theirs).max() / largest),
        from_differences=float(abs(ours.reshape(-1)[chosen] - differences).max() / largest),
        num_checked=len(chosen),
    )


def _central_difference(
    config: TrainingConfig, parameters: Parameters, place: tuple[int, int], number: int, batch: Batch
) -> float:
    """(C(p + h) - C(p - h)) / 2h, where p is one number of one parameter."""
    for step_size in STEP_SIZES:
        (above, slopes_above), (below, slopes_below) = (
            _loss_and_slopes(config, _move(parameters, place, number, shift), *batch)
            for shift in (step_size, -step_size)
        )
        if np.all(abs(slopes_above - slopes_below) < CORNER):
            break
    return (above - below) / (2 * step_size)


def _move(parameters: Parameters, place: tuple[int, int], number: int, shift: float) -> Parameters:
    i, j = place
    values = parameters[i][j].numpy().copy()
    values.reshape(-1)[number] += shift
    layer = parameters[i]._replace(**{Layer._fields[j]: tf.constant(values)})
    return (*parameters[:i], layer, *parameters[i + 1 :])


def _loss_and_slopes(
    config: TrainingConfig, parameters: Parameters, x: Tensor, y: Tensor, masks: Masks | None
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the mean loss, and the slopes of all hidden values in a row."""
    network = network_of(config)
    (_, *hidden), z = forward(network, parameters, x, masks)
    slopes = [np.ravel(network.hidden.slope(a)) for a in hidden]
    return float(tf.reduce_mean(network.output.loss(z, y))), np.concatenate([[], *slopes])


def _draw_batch(config: TrainingConfig) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(config.seed)
    images = random.integers(0, 256, (BATCH_SIZE, config.layers[0]), np.uint8)
    labels = random.integers(0, config.layers[-1], BATCH_SIZE)
    return scale(images, tf.float64), tf.one_hot(labels, config.layers[-1], dtype=tf.float64)
