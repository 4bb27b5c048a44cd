"""Check gradients: manual against autodiff against central differences, in float64.

They are compared at the start of a recipe on random images, and in edge cases: all images black or white, a single
example, a single class, outputs whose weighted input is 0 or +-1000, hidden units that are off.

The loss has a corner where the weighted input of a relu is exactly 0. Both steps use the left derivative there, 0, and
must agree. A central difference is the mean of both sides, so parameters at a corner are not compared with one.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.functions import Tensor
from model.gradients import STEPS
from model.network import Layer, Masks, Parameters, forward, initialise, scale
from model.order import permutation
from model.random_streams import Purpose, stream_key
from model.recipes import TrainingConfig
from model.training import draw_masks, dropout_key, network_of

AUTODIFF_TOLERANCE = 1e-10
DIFFERENCES_TOLERANCE = 1e-5  # the error of central differences is about 1e-7 of the largest slope
STEP_SIZES = (1e-5, 1e-6, 1e-7)  # tried in this order until no corner of a relu lies between the two ends
CORNER = 0.1  # larger than the change of any smooth slope over a step
# At a step of 1e-5 the rounding error of a central difference of a loss C is about 2e-11 C. For slopes below this
# fraction of C, that exceeds the tolerance, so errors are relative to at least this.
RESOLUTION = 1e-5
BATCH_SIZE = 10
FAR = 1000.0  # a weighted input where every exponential overflows or vanishes
MOST_CHECKED = 100  # numbers of one parameter compared with differences; each costs two forward passes
MOST_CHECKED_ELSEWHERE = 10  # the same in each edge case


class Case(NamedTuple):
    """The inputs of one comparison.

    Attributes:
        parameters: of the network.
        x: float64[n, inputs].
        y: float64[n, outputs], one-hot.
        masks: of dropout, one per hidden layer; None without dropout.
        most_checked: limit of the numbers of one parameter that are compared with differences.
    """

    parameters: Parameters
    x: Tensor
    y: Tensor
    masks: Masks | None
    most_checked: int = MOST_CHECKED_ELSEWHERE


class GradientCheck(NamedTuple):
    """Difference of the manual gradient of one parameter of one layer from the other two, over all cases.

    A difference is the largest absolute difference divided by the largest absolute value of the manual gradient; the
    maximum over the cases counts.

    Attributes:
        layer: counted from 1, as in the equations.
        parameter: "weights" or "biases".
        shape: of the parameter.
        from_autodiff: over all its numbers.
        from_differences: over num_checked of them.
        num_checked: numbers checked against central differences, over all cases.
        num_corners: numbers left out because the loss has a corner there.
    """

    layer: int
    parameter: str
    shape: tuple[int, ...]
    from_autodiff: float
    from_differences: float
    num_checked: int
    num_corners: int

    @property
    def holds(self) -> bool:
        """Whether both differences are within their tolerances and at least one number was checked."""
        is_close = self.from_autodiff <= AUTODIFF_TOLERANCE and self.from_differences <= DIFFERENCES_TOLERANCE
        return is_close and self.num_checked > 0


def check_gradients(config: TrainingConfig) -> list[GradientCheck]:
    """Compare the three gradients of each parameter of each layer.

    The check is about the equations for these layers and functions, not about data, so the images are drawn from the
    seed.
    """
    cases = make_cases(config)
    sizes = range(len(config.layers) - 1)
    return [_sum_up([_compare(config, case, (i, j)) for case in cases]) for i in sizes for j in (0, 1)]


def make_cases(config: TrainingConfig) -> list[Case]:
    """Return the cases of a configuration: first its start on random images, then the edge cases."""
    start = tuple(
        Layer(*(tf.cast(part, tf.float64) for part in layer))
        for layer in initialise(config.layers, config.seed, config.start)
    )
    *below, last = start
    first, *above = start
    x, y = _draw_batch(config)
    masks = draw_masks(config, dropout_key(config.seed), tf.constant(0), BATCH_SIZE, tf.float64)
    mask = masks and tuple(mask[:1] for mask in masks)
    all_zero = Layer(tf.zeros_like(last.weights), tf.zeros_like(last.biases))
    all_far = last._replace(biases=FAR * tf.constant((-1.0) ** np.arange(config.layers[-1])))
    all_off = first._replace(biases=tf.fill(first.biases.shape, tf.constant(-FAR, tf.float64)))
    return [
        Case(start, x, y, masks, MOST_CHECKED),
        Case(start, tf.zeros_like(x)[:1], y[:1], mask),
        Case(start, tf.ones_like(x), tf.repeat(y[:1], BATCH_SIZE, axis=0), masks),
        Case((*below, all_zero), x, y, masks),
        Case((*below, all_far), x, y, masks),
        Case((all_off, *above), x, y, masks),
    ]


def _sum_up(found: list[GradientCheck]) -> GradientCheck:
    """Return the check of one parameter over all cases; NumPy's maximum keeps a NaN, Python's may not."""
    return found[0]._replace(
        from_autodiff=float(np.max([each.from_autodiff for each in found])),
        from_differences=float(np.max([each.from_differences for each in found])),
        num_checked=sum(each.num_checked for each in found),
        num_corners=sum(each.num_corners for each in found),
    )


def _compare(config: TrainingConfig, case: Case, place: tuple[int, int]) -> GradientCheck:
    """Compare the gradients of one parameter: place is its layer and its field there."""
    i, j = place
    manual, autodiff = (STEPS[name](network_of(config), *case[:4]) for name in ("manual", "autodiff"))
    ours = manual.layers[i][j].numpy()
    theirs = autodiff.layers[i][j].numpy()
    largest = max(abs(ours).max(), np.finfo(np.float64).tiny)
    order = permutation(stream_key(Purpose.GRADIENT_CHECK_PLACES, config.seed, i, j), ours.size)
    chosen = order[: case.most_checked].tolist()
    differences = {number: _central_difference(config, case, place, number) for number in chosen}
    checked = {number: slope for number, slope in differences.items() if slope is not None}
    errors = ours.reshape(-1)[list(checked)] - np.array(list(checked.values()))
    return GradientCheck(
        layer=i + 1,
        parameter=Layer._fields[j],
        shape=ours.shape,
        from_autodiff=float(abs(ours - theirs).max() / largest),
        from_differences=float(abs(errors).max(initial=0) / max(largest, RESOLUTION * float(manual.loss))),
        num_checked=len(checked),
        num_corners=len(chosen) - len(checked),
    )


def _central_difference(config: TrainingConfig, case: Case, place: tuple[int, int], number: int) -> float | None:
    """(C(p + h) - C(p - h)) / 2h, where p is one number of one parameter; None if a corner is at p."""
    for step_size in STEP_SIZES:
        (above, slopes_above), (below, slopes_below) = (
            _loss_and_slopes(config, case._replace(parameters=_move(case.parameters, place, number, shift)))
            for shift in (step_size, -step_size)
        )
        if np.all(abs(slopes_above - slopes_below) < CORNER):
            return (above - below) / (2 * step_size)
    return None


def _move(parameters: Parameters, place: tuple[int, int], number: int, shift: float) -> Parameters:
    i, j = place
    values = parameters[i][j].numpy().copy()
    values.reshape(-1)[number] += shift
    layer = parameters[i]._replace(**{Layer._fields[j]: tf.constant(values)})
    return (*parameters[:i], layer, *parameters[i + 1 :])


def _loss_and_slopes(config: TrainingConfig, case: Case) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the mean loss, and the slopes of all hidden values as one vector."""
    network = network_of(config)
    (_, *hidden), z = forward(network, case.parameters, case.x, case.masks)
    slopes = [np.ravel(network.hidden.slope(a)) for a in hidden]
    return float(tf.reduce_mean(network.output.loss(z, case.y))), np.concatenate([[], *slopes])


def _draw_batch(config: TrainingConfig) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(stream_key(Purpose.GRADIENT_CHECK_BATCH, config.seed))
    images = random.integers(0, 256, (BATCH_SIZE, config.layers[0]), np.uint8)
    labels = random.integers(0, config.layers[-1], BATCH_SIZE)
    return scale(images, tf.float64), tf.one_hot(labels, config.layers[-1], dtype=tf.float64)
