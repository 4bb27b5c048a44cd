"""Rank the misclassified examples."""

import numpy as np
import numpy.typing as npt

from model.examples import Integers


def worst_mistakes(labels: Integers, predicted: Integers, confidence: npt.NDArray[np.float32]) -> Integers:
    """Return the positions of the misclassified examples, int64[m], the most confident first; the sort is stable.

    All arguments have the shape [n]; `confidence` is the output of the predicted class.
    """
    wrong = np.flatnonzero(labels != predicted)
    return wrong[np.argsort(-confidence[wrong], kind="stable")]
