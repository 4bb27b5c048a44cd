import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from pipeline.evaluate.group_counts import count_groups
from pipeline.evaluate.slices import (
    SLICINGS,
    Names,
    PredictedExamples,
    Slice,
    Slicing,
    compute_keys,
    ink_of,
    slice_by_ink,
    slice_rows,
)

NAMES = Names(("zero", "one", "two"), ("first-1", "second-2"))


def predicted_examples(num_examples=6, part=0, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (num_examples, 4, 5), np.uint8)
    outputs = random.random((num_examples, 3), np.float32)
    return PredictedExamples(images, np.arange(num_examples) % 3, np.arange(num_examples), outputs, part)


def rows_of(slicing, *splits, name="class"):
    """The rows of several splits, named s0, s1 and so on."""
    counted = {}
    for number, examples in enumerate(splits):
        correct = examples.predicted == examples.labels
        losses = np.linspace(0, 1, len(examples.labels))
        counted[f"s{number}"] = count_groups(compute_keys(name, slicing, examples), correct, losses)
    return list(slice_rows(name, slicing, counted, NAMES))


def test_prediction_is_the_class_of_the_largest_output():
    outputs = np.array([[0.25, 0.5, 0.0], [0.75, 0.125, 0.25]], np.float32)
    examples = predicted_examples(2)._replace(outputs=outputs)
    assert examples.predicted.tolist() == [1, 0]
    assert examples.confidence.tolist() == [0.5, 0.75]
    assert (examples.predicted.dtype, examples.confidence.dtype) == (np.int64, np.float32)


def test_every_slicing_contains_every_example_once():
    for name, slicing in SLICINGS.items():
        rows = rows_of(slicing, predicted_examples(50), predicted_examples(9, seed=1), name=name)
        for split, size in (("s0", 50), ("s1", 9)):
            found = [row for row in rows if row["split"] == split]
            assert sum(row["num_examples"] for row in found) == size
            assert {row["slicing"] for row in found} == {name}
            positions = [row["position"] for row in found]
            assert positions == sorted(set(positions))


def test_slices_by_class():
    rows = rows_of(SLICINGS["class"], predicted_examples(7))
    assert [(row["slice"], row["num_examples"]) for row in rows] == [("zero", 3), ("one", 2), ("two", 2)]
    right = predicted_examples(7).predicted == predicted_examples(7).labels
    for label, row in enumerate(rows):
        chosen = np.arange(7) % 3 == label
        assert row["num_correct"] == right[chosen].sum()
        assert row["accuracy"] == pytest.approx(right[chosen].mean())
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["loss"] == pytest.approx(np.linspace(0, 1, 7)[chosen].mean())


def test_slice_without_examples_has_a_position_but_no_row():
    rows = rows_of(SLICINGS["class"], predicted_examples(6), predicted_examples(6)._replace(labels=np.full(6, 2)))
    assert [(row["split"], row["position"], row["slice"]) for row in rows if row["split"] == "s1"] == [("s1", 2, "two")]


def test_slices_by_part_and_by_confidence():
    rows = rows_of(SLICINGS["part"], predicted_examples(4, part=1), predicted_examples(5, part=0))
    assert [(row["split"], row["position"], row["slice"]) for row in rows] == [
        ("s0", 1, "second-2"),
        ("s1", 0, "first-1"),
    ]
    sure = predicted_examples(3)._replace(outputs=np.array([[1, 0, 0], [0.95, 0, 0], [0.5, 0.1, 0]], np.float32))
    rows = rows_of(SLICINGS["confidence"], sure)
    assert [(row["slice"], row["num_examples"]) for row in rows] == [("0.4 to 0.5", 1), ("0.9 to 1.0", 2)]


def test_ink_is_the_mean_pixel_value_rounded_down_without_overflow():
    images = np.zeros((4, 2, 5), np.uint8)
    images[1] = 255
    images[2, 0, 0] = 19
    images[3] = 7
    assert ink_of(predicted_examples(4)._replace(images=images)).tolist() == [0, 255, 1, 7]
    assert ink_of(predicted_examples(40)).tolist() == [int(image.mean()) for image in predicted_examples(40).images]
    white = predicted_examples(1)._replace(
        images=np.full((1, 4096, 4096), 255, np.uint8)
    )  # the largest image that is accepted
    assert ink_of(white).tolist() == [255]


def test_quantiles_of_small_histograms():
    """Twenty keys of one example each are ten slices of two; a key with most of the examples stays whole."""
    slices = slice_by_ink(dict.fromkeys(range(30, 50), 1), NAMES)
    assert [part.keys for part in slices] == [(key, key + 1) for key in range(30, 50, 2)]
    assert [slices[0].name, slices[-1].name] == ["ink 30 to 32", "ink 48 to 50"]
    assert slice_by_ink({3: 1, 5: 98, 200: 1}, NAMES) == [
        *(Slice("ink 3 to 5", (3,)), Slice("ink 5 to 200", (5,)), Slice("ink 200 to 201", (200,)))
    ]
    # the middle of the first 3 of 20 lies in the first tenth, though its end lies in the second
    assert [part.keys for part in slice_by_ink({0: 3, 1: 1, 2: 16}, NAMES)] == [(0,), (1,), (2,)]
    assert slice_by_ink({0: 7}, NAMES) == [Slice("ink 0 to 1", (0,))]


@given(st.dictionaries(st.integers(0, 255), st.integers(1, 1000), min_size=1))
def test_quantiles_contain_every_key_once(sizes):
    histogram = dict(sorted(sizes.items()))
    slices = slice_by_ink(histogram, NAMES)
    assert [key for part in slices for key in part.keys] == list(histogram)
    assert len(slices) <= 10
    limit = sum(sizes.values()) / 10 + max(sizes.values())
    assert all(sum(sizes[key] for key in part.keys) <= limit for part in slices)


def test_slices_of_a_function_are_named_by_their_keys():
    rows = rows_of(Slicing(lambda examples: examples.labels == 1), predicted_examples(6))
    assert [(row["slice"], row["num_examples"]) for row in rows] == [("0", 4), ("1", 2)]


def raise_error(examples):
    raise KeyError("here")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda examples: examples.labels[1:], r"gave int64\[5\], expected .* \[6\]"),
        (lambda examples: examples.labels.astype(np.uint64), r"gave uint64\[6\]"),
        (lambda examples: examples.images, r"gave uint8\[6, 4, 5\]"),
        (lambda examples: 3, r"gave int64\[\]"),
        (raise_error, "failed: KeyError: 'here'"),
    ],
)
def test_slicing_that_does_not_return_an_integer_for_each_example_is_rejected(function, problem):
    with pytest.raises(BadInput, match=r"slicing thin \(mine:thin\) .*" + problem):
        compute_keys("thin (mine:thin)", Slicing(function), predicted_examples(6))


@pytest.mark.parametrize(
    "cut",
    [
        lambda histogram, names: [Slice("all but one", tuple(histogram)[1:])],
        lambda histogram, names: [Slice("twice", tuple(histogram)), Slice("again", tuple(histogram))],
        lambda histogram, names: [Slice(names.classes[9], tuple(histogram))],
        lambda histogram, names: None,
    ],
)
def test_slices_that_do_not_contain_each_key_once_are_rejected(cut):
    with pytest.raises(BadInput, match="slicing class: its slices"):
        rows_of(Slicing(lambda examples: examples.labels, cut), predicted_examples(6))
