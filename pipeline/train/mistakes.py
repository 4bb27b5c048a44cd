"""Which wrong answers are the worst."""

import numpy as np
import numpy.typing as npt

from model.examples import Integers


def worst_mistakes(labels: Integers, predicted: Integers, confidence: npt.NDArray[np.float32]) -> Integers:
    """Return the positions of the wrong answers, the most confident first; equals stay in their order.

    Args:
        labels: int64[n], the right classes.
        predicted: int64[n].
        confidence: float32[n], the output of the predicted class.
    """
    wrong = np.flatnonzero(labels != predicted)
    return wrong[np.argsort(-confidence[wrong], kind="stable")]
