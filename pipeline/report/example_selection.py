"""Select the examples that a page shows: the most confident mistakes, and a mix from every class."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from model.examples import Bytes, Integers, worst_mistakes
from pipeline.evaluate.table_reader import read_split
from pipeline.preprocess.dataset import Dataset
from pipeline.report.dataset_inspection import find_named
from pipeline.storage.places import Place

MAX_MIXED = 40  # examples of a mix
MAX_MIXED_BYTES = 2**18  # of their images, which the page contains
MIXED_PER_CLASS = 2  # right answers, and as many wrong ones


class StoredPredictions(NamedTuple):
    """A model's predictions of all examples of a split, in the order of the source."""

    split: str
    indices: Integers  # int64[n], positions in the source
    labels: Integers  # int64[n]
    predicted: Integers  # int64[n]
    confidence: npt.NDArray[np.float32]  # float32[n], the largest output
    outputs: npt.NDArray[np.float32]  # float32[n, classes]


class ShownExample(NamedTuple):
    """An example with its prediction."""

    name: str  # SPLIT:INDEX such as test:17, as for `backbeam inspect --examples`
    label: int
    predicted: int
    outputs: npt.NDArray[np.float32]  # float32[classes]
    image: Bytes  # uint8[height, width]


def read_predictions(workspace: Place, run_id: str, split: str) -> StoredPredictions:
    """Read a run's rows of the table `predictions` of a split; raises as `read_rows`."""
    names = ["index", "label", "predicted", "confidence"]
    rows = read_split(workspace, run_id, split, [*names, "probabilities"])
    columns = [rows[name].to_numpy() for name in names]
    columns.append(pc.list_flatten(rows["probabilities"]).to_numpy().reshape(rows.num_rows, -1))
    order = np.argsort(columns[0], kind="stable")
    return StoredPredictions(split, *(column[order] for column in columns))


def select_mixed(predictions: StoredPredictions, image_bytes: int) -> Integers:
    """Return the positions of a few right and wrong answers of every class, within the limits of the page.

    They are int64[m], grouped by class; in a class right answers alternate with wrong ones.
    """
    limit = max(1, min(MAX_MIXED, MAX_MIXED_BYTES // image_bytes))
    classes = [_select_of_class(predictions, label) for label in range(predictions.outputs.shape[1])]
    # one example of every class in turn, so that the limit leaves out no class before it must
    in_turn = _without_gaps(chain.from_iterable(zip_longest(*classes)))
    selected = set(in_turn[:limit])
    return np.array([position for position in chain.from_iterable(classes) if position in selected], np.int64)


def _select_of_class(predictions: StoredPredictions, label: int) -> list[int]:
    """Return the first right answers in the source and the most confident mistakes of a class, alternating."""
    is_right = (predictions.labels == label) & (predictions.predicted == label)
    right = np.flatnonzero(is_right)[:MIXED_PER_CLASS].tolist()
    worst = worst_mistakes(predictions.labels, predictions.predicted, predictions.confidence)
    wrong = worst[predictions.labels[worst] == label][:MIXED_PER_CLASS].tolist()
    return _without_gaps(chain.from_iterable(zip_longest(right, wrong)))


def _without_gaps(positions: Iterable[int | None]) -> list[int]:
    return [position for position in positions if position is not None]


def read_examples(dataset: Dataset, predictions: StoredPredictions, *selections: Integers) -> list[list[ShownExample]]:
    """Read the examples at selected positions, int64[m] of each selection, in that order; raises CorruptArtefact."""
    positions = np.unique(np.concatenate(selections))  # each shard is read once for all selections
    found = find_named(dataset, predictions.split, predictions.indices[positions].tolist())
    images = {position: named.image for position, named in zip(positions.tolist(), found, strict=True)}
    return [
        [
            ShownExample(
                f"{predictions.split}:{predictions.indices[position]}",
                int(predictions.labels[position]),
                int(predictions.predicted[position]),
                predictions.outputs[position],
                images[position],
            )
            for position in selection.tolist()
        ]
        for selection in selections
    ]
