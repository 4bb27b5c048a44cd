"""Select the examples that a page shows: the most confident mistakes, and a mix from every class."""

from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from model.examples import Bytes, Integers
from pipeline.preprocess.dataset import Dataset
from pipeline.report.dataset_inspection import find_named
from pipeline.train.mistakes import worst_mistakes

MAX_MISTAKES = 24
MAX_MIXED = 40  # examples of a mix
MAX_MIXED_BYTES = 2**18  # of their images, which the page contains
MIXED_PER_CLASS = 2  # right answers, and as many wrong ones
ANSWERS = ("split", "index", "label", "predicted", "confidence", "probabilities")


@dataclass(frozen=True)
class ShownAnswers:
    """A model's predictions of all examples of a split, in the order of the source.

    Attributes:
        split: the name of the split.
        index: int64[n], positions in the source.
        labels: int64[n], true labels.
        predicted: int64[n], predicted labels.
        confidence: float32[n], the largest output.
        outputs: float32[n, classes].
    """

    split: str
    index: Integers
    labels: Integers
    predicted: Integers
    confidence: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]


class ShownExample(NamedTuple):
    """An example with its prediction.

    Attributes:
        name: SPLIT:INDEX such as test:17, as for `backbeam inspect --examples`.
        label: the true label.
        predicted: the predicted label.
        outputs: float32[classes].
        image: uint8[height, width].
    """

    name: str
    label: int
    predicted: int
    outputs: npt.NDArray[np.float32]
    image: Bytes


def read_answers(predictions: Any, split: str) -> ShownAnswers:
    """Return a split's rows of the table `predictions`, of which the columns ANSWERS are needed."""
    predictions = predictions.filter(pc.equal(predictions["split"], split))
    index, labels, predicted, confidence = (
        predictions[name].to_numpy() for name in ("index", "label", "predicted", "confidence")
    )
    outputs = pc.list_flatten(predictions["probabilities"]).to_numpy().reshape(predictions.num_rows, -1)
    order = np.argsort(index, kind="stable")
    return ShownAnswers(split, index[order], labels[order], predicted[order], confidence[order], outputs[order])


def select_mistakes(answers: ShownAnswers) -> Integers:
    """Return the positions of up to MAX_MISTAKES wrong answers, the most confident first; int64[m]."""
    return worst_mistakes(answers.labels, answers.predicted, answers.confidence)[:MAX_MISTAKES]


def select_mixed(answers: ShownAnswers, image_bytes: int) -> Integers:
    """Return the positions of a few right and wrong answers of every class, within the limits of the page.

    Args:
        answers: the predictions to select from.
        image_bytes: the size of one image in bytes.

    Returns:
        int64[m], grouped by class; in a class right answers alternate with wrong ones.
    """
    limit = max(1, min(MAX_MIXED, MAX_MIXED_BYTES // image_bytes))
    classes = [_select_of_class(answers, label) for label in range(answers.outputs.shape[1])]
    num_rounds = max(map(len, classes))
    # one example of every class in turn, so that the limit leaves out no class before it must
    selected = [chosen[place] for place in range(num_rounds) for chosen in classes if place < len(chosen)][:limit]
    order = {position: place for place, position in enumerate(chain.from_iterable(classes))}
    return np.array(sorted(selected, key=order.__getitem__), np.int64)


def _select_of_class(answers: ShownAnswers, label: int) -> list[int]:
    """Return the first right answers in the source and the most confident mistakes of a class, alternating."""
    is_right = (answers.labels == label) & (answers.predicted == label)
    right = np.flatnonzero(is_right)[:MIXED_PER_CLASS].tolist()
    worst = worst_mistakes(answers.labels, answers.predicted, answers.confidence)
    wrong = worst[answers.labels[worst] == label][:MIXED_PER_CLASS].tolist()
    pairs = zip_longest(right, wrong)
    return [position for pair in pairs for position in pair if position is not None]


def read_examples(dataset: Dataset, answers: ShownAnswers, *selections: Integers) -> list[list[ShownExample]]:
    """Read selected examples from the verified shards.

    Args:
        dataset: the data set of the examples.
        answers: the predictions of all examples of a split.
        selections: arrays of positions in answers, int64[m] each.

    Returns:
        a list of examples for each selection, in its order.

    Raises:
        CorruptArtefact: a shard does not verify.
    """
    positions = np.unique(np.concatenate(selections))  # each shard is read once for all selections
    found = find_named(dataset.folder, dataset.manifest, answers.split, answers.index[positions].tolist())
    images = {position: named.image for position, named in zip(positions.tolist(), found, strict=True)}
    return [
        [_shown_example(answers, position, images[position]) for position in selection.tolist()]
        for selection in selections
    ]


def _shown_example(answers: ShownAnswers, position: int, image: Bytes) -> ShownExample:
    return ShownExample(
        f"{answers.split}:{answers.index[position]}",
        int(answers.labels[position]),
        int(answers.predicted[position]),
        answers.outputs[position],
        image,
    )
