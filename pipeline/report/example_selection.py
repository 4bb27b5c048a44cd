"""Select the examples that a page shows: the most confident mistakes, and some of every class."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from model.examples import Bytes, Integers, worst_mistakes
from pipeline.evaluate.table_reader import read_split
from pipeline.preprocess.dataset import Dataset
from pipeline.report.dataset_inspection import NamedExample, find_named, pick_examples
from pipeline.storage.places import Place

MAX_SAMPLE = 100  # examples of a split
MAX_SAMPLE_BYTES = 2**18  # of their images, which the page contains
MISTAKES_PER_CLASS = 2
MOST_READ = 2**16  # train examples: a large split is not read as a whole for the sake of a rare class


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


def sample_train(dataset: Dataset) -> list[NamedExample]:
    """Read the first train examples of every class in the shards, grouped by class.

    A class of which there is none in the first shards, of MOST_READ examples, is left out. Raises CorruptArtefact.
    """
    limit = sample_limit(dataset.manifest.num_pixels)
    per_class = max(1, limit // len(dataset.manifest.class_names))
    return list(chain.from_iterable(pick_examples(dataset, "train", per_class, MOST_READ)))[:limit]


def select_sample(predictions: StoredPredictions, image_bytes: int) -> Integers:
    """Return the positions of the first examples of every class in the source, right or wrong: int64[m], ascending."""
    of_classes = [np.flatnonzero(predictions.labels == label) for label in range(predictions.outputs.shape[1])]
    return _take_in_turn(of_classes, sample_limit(image_bytes))


def select_mistakes(predictions: StoredPredictions, image_bytes: int) -> Integers:
    """Return the positions of the most confident mistakes of every class: int64[m], ascending."""
    worst = worst_mistakes(predictions.labels, predictions.predicted, predictions.confidence)
    labels = range(predictions.outputs.shape[1])
    of_classes = [worst[predictions.labels[worst] == label][:MISTAKES_PER_CLASS] for label in labels]
    return _take_in_turn(of_classes, sample_limit(image_bytes))


def sample_limit(image_bytes: int) -> int:
    """Return how many images of a size a sample has at most."""
    return max(1, min(MAX_SAMPLE, MAX_SAMPLE_BYTES // image_bytes))


def _take_in_turn(of_classes: Iterable[Integers], limit: int) -> Integers:
    """Return one position of every class in turn, so that the limit leaves out no class before it must, sorted."""
    in_turn = chain.from_iterable(zip_longest(*(positions[:limit].tolist() for positions in of_classes)))
    taken = [position for position in in_turn if position is not None]
    return np.array(sorted(taken[:limit]), np.int64)


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
