"""Slices of the examples: how good is the network where? By class, by ink, by confidence, by part, or as a user likes.

A slicing gives every example a key; examples are counted by their keys, in any order, and the keys become slices with
names at the end. Another slicing is a function of a user's own:

    # my_slices.py, in a folder that PYTHONPATH names, on the workers too
    def thin(answered):  # backbeam.slices.Answered -> int[n] or bool[n]
        return (answered.images > 127).sum(axis=(1, 2)) < 100

    # run.toml
    [slices]
    thin = "my_slices:thin"

Its slices have the names 0 and 1, as the keys; for other names, and to put keys together, MODULE:NAME may also be a
`Slicing`. In Python, a dictionary like `SLICINGS` with more entries does the same.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from model.examples import Bytes, Integers
from pipeline.evaluate.calibration import EDGES, bins_of
from pipeline.evaluate.group_counts import GroupCounts, merge_group_counts, sum_groups
from pipeline.evaluate.metrics import wilson

NUM_QUANTILES = 10
MOST_KEYS = 1000


class Answered(NamedTuple):
    """Examples of a split, and what the network answers to them.

    Attributes:
        images: uint8[n, height, width], pixel values 0 to 255; not to be written to.
        labels: int64[n], classes.
        indices: int64[n], places in the source.
        outputs: float32[n, classes].
        part: of a joint data set, which of its parts they are from; else 0.
    """

    images: Bytes
    labels: Integers
    indices: Integers
    outputs: npt.NDArray[np.float32]
    part: int

    @property
    def predicted(self) -> Integers:
        """int64[n], the classes of the largest outputs."""
        return np.asarray(self.outputs.argmax(axis=1), np.int64)

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """float32[n], the largest outputs."""
        return np.asarray(self.outputs.max(axis=1), np.float32)


class Names(NamedTuple):
    """What classes and parts are called.

    Attributes:
        classes: in the order of the labels.
        parts: ids of data sets; of one that is not joint, its own.
    """

    classes: tuple[str, ...]
    parts: tuple[str, ...]


class Slice(NamedTuple):
    """A slice: its name, and the keys of its examples."""

    name: str
    keys: tuple[int, ...]


# Examples by key, in the order of the keys, over all splits: slices are the same in each, and in every run on the data.
Histogram: TypeAlias = Mapping[int, int]


def each_key(histogram: Histogram, names: Names) -> list[Slice]:
    """Make a slice of each key, named by the number."""
    return [Slice(str(key), (key,)) for key in histogram]


class Slicing(NamedTuple):
    """A way to tell examples apart.

    Attributes:
        keys: returns int[n] or bool[n]; no more than MOST_KEYS different ones in all.
        cut: makes slices of the keys, in order.
    """

    keys: Callable[[Answered], npt.NDArray[Any]]
    cut: Callable[[Histogram, Names], list[Slice]] = each_key


def label_of(answered: Answered) -> Integers:
    """Return the labels."""
    return answered.labels


def name_classes(histogram: Histogram, names: Names) -> list[Slice]:
    """Make a slice of each class."""
    return [Slice(names.classes[key], (key,)) for key in histogram]


def ink_of(answered: Answered) -> Integers:
    """Return each image's mean pixel value, 0 to 255, rounded down."""
    pixels = answered.images.reshape(len(answered.images), -1)
    return np.asarray(pixels.sum(axis=1, dtype=np.uint32) // pixels.shape[1], np.int64)


def cut_quantiles(histogram: Histogram, names: Names) -> list[Slice]:
    """Cut the ink into ten slices of about as many examples each.

    A key is never cut, so slices differ in size, and where one key has more than a tenth of the examples there are
    fewer than ten: a key goes to the tenth that its middle example is in.
    """
    keys, sizes = np.array(list(histogram)), np.array(list(histogram.values()))
    middles = sizes.cumsum() - sizes / 2
    tenths = (middles * NUM_QUANTILES / sizes.sum()).astype(int)
    groups = [keys[tenths == tenth] for tenth in np.unique(tenths)]
    edges = [*(int(group[0]) for group in groups), int(keys[-1]) + 1]
    return [
        Slice(f"ink {edges[place]} to {edges[place + 1]}", tuple(group.tolist())) for place, group in enumerate(groups)
    ]


def confidence_of(answered: Answered) -> Integers:
    """Return the bins of the table `calibration`."""
    return bins_of(answered.confidence)


def name_bins(histogram: Histogram, names: Names) -> list[Slice]:
    """Name each bin by its edges."""
    return [Slice(f"{EDGES[key]:.1f} to {EDGES[key + 1]:.1f}", (key,)) for key in histogram]


def part_of(answered: Answered) -> Integers:
    """Return the number of the part."""
    return np.full(len(answered.labels), answered.part)


def name_parts(histogram: Histogram, names: Names) -> list[Slice]:
    """Make a slice of each part."""
    return [Slice(names.parts[key], (key,)) for key in histogram]


SLICINGS = {
    "class": Slicing(label_of, name_classes),
    "ink": Slicing(ink_of, cut_quantiles),
    "confidence": Slicing(confidence_of, name_bins),
    "part": Slicing(part_of, name_parts),
}


def keys_of(name: str, place: str, slicing: Slicing, answered: Answered) -> Integers:
    """Return int64[n], the keys of examples by a slicing, checked.

    Args:
        name: of the slicing.
        place: of its function, for messages.
        slicing: may be anybody's.
        answered: n examples.

    Raises:
        BadInput: the function fails, or gives something else than a whole number for each example.
    """
    expected = (len(answered.labels),)
    try:
        found = np.asarray(slicing.keys(answered))
    except Exception as problem:  # a user's function raises what it likes
        raise BadInput(f"slicing {name} ({place}) failed: {type(problem).__name__}: {problem}") from problem
    if found.shape != expected or not np.can_cast(found.dtype, np.int64):
        raise BadInput(
            f"slicing {name} ({place}) gave {found.dtype}{list(found.shape)}, expected booleans or whole numbers "
            f"(int64 or what fits it), {list(expected)}: one for each example"
        )
    return found.astype(np.int64)


def check_few(name: str, place: str, counted: GroupCounts) -> None:
    """Check that a slicing does not have so many keys that it cuts nothing; raises BadInput."""
    if len(counted.keys) > MOST_KEYS:
        raise BadInput(
            f"slicing {name} ({place}) gives {len(counted.keys):,} different keys or more, expected at most "
            f"{MOST_KEYS:,}: put examples together"
        )


def slice_rows(
    name: str, slicing: Slicing, counted: Mapping[str, GroupCounts], names: Names
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table `slices` by one slicing.

    Args:
        name: of the slicing.
        slicing: how the examples were counted.
        counted: by split, examples by key, their value the loss.
        names: for the slices.
    """
    all_splits = merge_group_counts(counted.values())
    histogram = dict(zip(all_splits.keys.tolist(), all_splits.num_examples.tolist(), strict=True))
    slices = _cut(name, slicing, histogram, names)
    for split, tally in counted.items():
        for position, each in enumerate(slices):
            found = sum_groups(tally, each.keys)
            if found.num_examples:
                interval = wilson(found.num_correct, found.num_examples)
                yield {
                    "split": split,
                    "slicing": name,
                    "position": position,
                    "slice": each.name,
                    "num_examples": found.num_examples,
                    "num_correct": found.num_correct,
                    "accuracy": found.accuracy,
                    "accuracy_low": interval.low,
                    "accuracy_high": interval.high,
                    "loss": found.mean_value,
                }


def _cut(name: str, slicing: Slicing, histogram: Histogram, names: Names) -> list[Slice]:
    """Make the slices; raises BadInput if they do not hold each key once."""
    try:
        slices = [Slice(str(title), tuple(keys)) for title, keys in slicing.cut(histogram, names)]
        held = sorted(key for each in slices for key in each.keys)
    except Exception as problem:  # a user's function raises what it likes
        raise BadInput(f"slicing {name}: its slices failed: {type(problem).__name__}: {problem}") from problem
    if held != list(histogram):
        raise BadInput(f"slicing {name}: its slices hold the keys {held[:10]}..., expected each of its keys once")
    return slices
