"""Which examples a page shows: the most confident mistakes, and some right and wrong ones of every class."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from model.examples import Bytes, Integers
from pipeline.preprocess.dataset import Dataset
from pipeline.report.inspect import find_named
from pipeline.train.mistakes import worst_mistakes

MOST_MISTAKES = 24
MOST_SPECIMENS = 40
MOST_SPECIMEN_BYTES = 2**18
OF_A_CLASS = 2  # right ones, and as many wrong ones


@dataclass(frozen=True)
class ShownAnswers:
    """What a model answered to a split's examples, in the order of their source.

    Attributes:
        split: their split.
        index: int64[n], positions in the source.
        labels: int64[n].
        predicted: int64[n].
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
    """An example with what was answered.

    Attributes:
        name: such as test:17, as `backbeam inspect --examples` takes it.
        label: its class.
        predicted: the class that was answered.
        outputs: float32[classes].
        image: uint8[height, width].
    """

    name: str
    label: int
    predicted: int
    outputs: npt.NDArray[np.float32]
    image: Bytes


ANSWERS = ("split", "index", "label", "predicted", "confidence", "probabilities")


def read_answers(predictions: Any, split: str) -> ShownAnswers:
    """Take a split's rows out of the columns ANSWERS of the table `predictions`."""
    predictions = predictions.filter(pc.equal(predictions["split"], split))
    index, labels, predicted, confidence = (
        predictions[name].to_numpy() for name in ("index", "label", "predicted", "confidence")
    )
    outputs = pc.list_flatten(predictions["probabilities"]).to_numpy().reshape(predictions.num_rows, -1)
    order = np.argsort(index, kind="stable")
    return ShownAnswers(split, index[order], labels[order], predicted[order], confidence[order], outputs[order])


def mistakes(answers: ShownAnswers) -> Integers:
    """Return the positions of the wrong answers given with most confidence, the most confident first."""
    return worst_mistakes(answers.labels, answers.predicted, answers.confidence)[:MOST_MISTAKES]


def mix_right_and_wrong(answers: ShownAnswers, image_bytes: int) -> Integers:
    """Return the positions of a few right and wrong answers of every class, as many as the page has room for.

    Args:
        answers: to choose from.
        image_bytes: of one image.

    Returns:
        int64[m], by class: the first right ones of the source, then the most confident mistakes.
    """
    most = max(1, min(MOST_SPECIMENS, MOST_SPECIMEN_BYTES // image_bytes))
    classes = [_of_class(answers, label) for label in range(answers.outputs.shape[1])]
    rounds = max(map(len, classes))
    in_turn = [chosen[place] for place in range(rounds) for chosen in classes if place < len(chosen)][:most]
    order = {position: place for place, position in enumerate(position for each in classes for position in each)}
    return np.array(sorted(in_turn, key=order.__getitem__), np.int64)


def _of_class(answers: ShownAnswers, label: int) -> list[int]:
    """Choose a class's examples: a right one, a wrong one, and so on, so that to cut the list short leaves both."""
    own = answers.labels == label
    right = np.flatnonzero(own & (answers.predicted == label))[:OF_A_CLASS].tolist()
    worst = worst_mistakes(answers.labels, answers.predicted, answers.confidence)
    wrong = worst[answers.labels[worst] == label][:OF_A_CLASS].tolist()
    pairs = [pair for place in range(OF_A_CLASS) for pair in (right[place : place + 1], wrong[place : place + 1])]
    return [position for pair in pairs for position in pair]


def read_examples(dataset: Dataset, answers: ShownAnswers, *chosen: Integers) -> list[list[ShownExample]]:
    """Read examples out of the verified shards.

    Args:
        dataset: that holds them.
        answers: to all of a split.
        chosen: lists of positions in answers.

    Returns:
        a list of specimens for each, in order.

    Raises:
        CorruptArtefact: a shard is not as the manifest says.
    """
    wanted = np.unique(np.concatenate(chosen))
    found = find_named(dataset.folder, dataset.manifest, answers.split, answers.index[wanted].tolist())
    images = {position: named.image for position, named in zip(wanted.tolist(), found, strict=True)}
    return [[_specimen(answers, position, images[position]) for position in each.tolist()] for each in chosen]


def _specimen(answers: ShownAnswers, position: int, image: Bytes) -> ShownExample:
    return ShownExample(
        f"{answers.split}:{answers.index[position]}",
        int(answers.labels[position]),
        int(answers.predicted[position]),
        answers.outputs[position],
        image,
    )
