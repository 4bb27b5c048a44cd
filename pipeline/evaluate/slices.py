"""Metrics of slices of the examples, by built-in slicings and those that a user writes (see docs/tables.md).

A slicing computes a key of every example. Examples are counted by key; the merged keys are then cut into named slices.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from model.examples import Bytes, Integers
from pipeline.evaluate.group_counts import GroupCounts, merge_group_counts, sum_groups
from pipeline.evaluate.metrics import EDGES, accuracy_columns, confidence_bins

NUM_QUANTILES = 10
MOST_KEYS = 1000  # of a user's slicing: one with a key for each example would make a table as long as the data


class PredictedExamples(NamedTuple):
    """Examples of a split and the network's outputs for them."""

    images: Bytes  # uint8[n, height, width], pixel values 0 to 255; read-only
    labels: Integers  # classes, int64[n]
    indices: Integers  # positions in the source, int64[n]
    outputs: npt.NDArray[np.float32]  # float32[n, classes]
    part: int  # position in a joint data set of the part that the examples are from; else 0

    @property
    def predicted(self) -> Integers:
        """The classes of the largest outputs, int64[n]."""
        return np.asarray(self.outputs.argmax(axis=1), np.int64)

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """The largest outputs, float32[n]."""
        return np.asarray(self.outputs.max(axis=1), np.float32)


class Names(NamedTuple):
    """Names of classes, and ids of the parts of a joint data set; of another data set its id is the only part."""

    classes: tuple[str, ...]
    parts: tuple[str, ...]


class Slice(NamedTuple):
    """A named slice and the keys of its examples."""

    name: str
    keys: tuple[int, ...]


# The number of examples by key, in the order of the keys. All splits are counted together, so that a slice is the same
# in every split, and in every run on the data set where the keys do not depend on the outputs.
Histogram: TypeAlias = Mapping[int, int]


def slice_by_key(histogram: Histogram, names: Names) -> list[Slice]:
    """Return a slice for each key, named by the key."""
    return [Slice(str(key), (key,)) for key in histogram]


class Slicing(NamedTuple):
    """A way to group examples."""

    # returns the examples' keys, int[n] or bool[n]; at most MOST_KEYS distinct keys over all examples
    keys: Callable[[PredictedExamples], npt.NDArray[Any]]
    # returns the slices, in order; each key belongs to exactly one
    cut: Callable[[Histogram, Names], list[Slice]] = slice_by_key


def _labels_of(examples: PredictedExamples) -> Integers:  # a function: workers compare it with their own
    return examples.labels


def _slice_by_class(histogram: Histogram, names: Names) -> list[Slice]:
    return [Slice(names.classes[key], (key,)) for key in histogram]


def ink_of(examples: PredictedExamples) -> Integers:
    """Return each image's mean pixel value, 0 to 255, rounded down."""
    pixels = examples.images.reshape(len(examples.images), -1)
    return np.asarray(pixels.sum(axis=1, dtype=np.uint32) // pixels.shape[1], np.int64)


def slice_by_ink(histogram: Histogram, names: Names) -> list[Slice]:
    """Cut the values of ink into up to ten slices with about equally many examples.

    Examples with the same key stay together, in the tenth of the examples that the middle one of them is in. So slices
    differ in size, and there are fewer than ten if a key has much more than a tenth of the examples.
    """
    keys = np.array(list(histogram))
    sizes = np.array(list(histogram.values()))
    middles = sizes.cumsum() - sizes / 2
    tenths = (middles * NUM_QUANTILES / sizes.sum()).astype(int)
    groups = [keys[tenths == tenth] for tenth in np.unique(tenths)]
    edges = [*(int(group[0]) for group in groups), int(keys[-1]) + 1]
    titles = [f"ink {low} to {high}" for low, high in pairwise(edges)]
    return [Slice(title, tuple(group.tolist())) for title, group in zip(titles, groups, strict=True)]


def _bins_of(examples: PredictedExamples) -> Integers:
    return confidence_bins(examples.confidence)


def _slice_by_bin(histogram: Histogram, names: Names) -> list[Slice]:
    return [Slice(f"{EDGES[key]:.1f} to {EDGES[key + 1]:.1f}", (key,)) for key in histogram]


def _part_of(examples: PredictedExamples) -> Integers:
    return np.full(len(examples.labels), examples.part)


def _slice_by_part(histogram: Histogram, names: Names) -> list[Slice]:
    return [Slice(names.parts[key], (key,)) for key in histogram]


SLICINGS = {
    "class": Slicing(_labels_of, _slice_by_class),
    "ink": Slicing(ink_of, slice_by_ink),
    "confidence": Slicing(_bins_of, _slice_by_bin),
    "part": Slicing(_part_of, _slice_by_part),
}


def compute_keys(title: str, slicing: Slicing, examples: PredictedExamples) -> Integers:
    """Return the keys of n examples by a slicing, int64[n]; messages name it by its title.

    Raises BadInput if the function raises an error, or does not return an integer for each example.
    """
    expected = (len(examples.labels),)
    try:
        keys = np.asarray(slicing.keys(examples))
    except Exception as problem:  # a user's function may raise anything
        raise BadInput(f"slicing {title} failed: {type(problem).__name__}: {problem}") from problem
    if keys.shape != expected or not np.can_cast(keys.dtype, np.int64):
        raise BadInput(
            f"slicing {title} gave {keys.dtype}{list(keys.shape)}, expected booleans or whole numbers "
            f"(int64 or what fits it), {list(expected)}: one for each example"
        )
    return keys.astype(np.int64)


def slice_rows(
    name: str, slicing: Slicing, counted: Mapping[str, GroupCounts], names: Names
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table `slices` for one slicing.

    The examples of each split were counted by its keys, their value the loss. Raises BadInput if the slices do not
    contain each key exactly once.
    """
    all_splits = merge_group_counts(counted.values())
    histogram = dict(zip(all_splits.keys.tolist(), all_splits.num_examples.tolist(), strict=True))
    slices = _cut(name, slicing, histogram, names)
    for split, counts in counted.items():
        for position, (title, keys) in enumerate(slices):
            totals = sum_groups(counts, keys)
            if totals.num_examples:
                yield {
                    "split": split,
                    "slicing": name,
                    "position": position,
                    "slice": title,
                    **accuracy_columns(totals.num_correct, totals.num_examples),
                    "loss": totals.mean_value,
                }


def _cut(name: str, slicing: Slicing, histogram: Histogram, names: Names) -> list[Slice]:
    """Return the slices; raises BadInput if they do not contain each key exactly once."""
    try:
        slices = [Slice(str(title), tuple(keys)) for title, keys in slicing.cut(histogram, names)]
        sliced_keys = sorted(key for _, keys in slices for key in keys)
    except Exception as problem:  # a user's function may raise anything
        raise BadInput(f"slicing {name}: its slices failed: {type(problem).__name__}: {problem}") from problem
    if sliced_keys != list(histogram):
        raise BadInput(
            f"slicing {name}: its slices hold the keys {sliced_keys[:10]}..., expected each of its keys once"
        )
    return slices
