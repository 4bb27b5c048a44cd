import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from pipeline.evaluate.group_counts import count_groups
from pipeline.evaluate.slices import (
    SLICINGS,
    Answered,
    Names,
    Slice,
    Slicing,
    check_num_keys,
    compute_keys,
    cut_quantiles,
    ink_of,
    slice_rows,
)

NAMES = Names(("zero", "one", "two"), ("first-1", "second-2"))


def answered(num_examples=6, part=0, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (num_examples, 4, 5), np.uint8)
    outputs = random.random((num_examples, 3), np.float32)
    return Answered(images, np.arange(num_examples) % 3, np.arange(num_examples), outputs, part)


def rows_of(slicing, *seen, name="class"):
    """The rows of several splits, s0, s1 and so on."""
    counted = {}
    for number, each in enumerate(seen):
        correct, losses = each.predicted == each.labels, np.linspace(0, 1, len(each.labels))
        counted[f"s{number}"] = count_groups(compute_keys(name, "a:b", slicing, each), correct, losses)
    return list(slice_rows(name, slicing, counted, NAMES))


def test_the_answer_to_each_example_is_its_largest_output():
    outputs = np.array([[0.25, 0.5, 0.0], [0.75, 0.125, 0.25]], np.float32)
    about = answered(2)._replace(outputs=outputs)
    assert about.predicted.tolist() == [1, 0]
    assert about.confidence.tolist() == [0.5, 0.75]
    assert (about.predicted.dtype, about.confidence.dtype) == (np.int64, np.float32)


def test_every_slicing_has_every_example_once():
    for name, slicing in SLICINGS.items():
        rows = rows_of(slicing, answered(50), answered(9, seed=1), name=name)
        for split, size in (("s0", 50), ("s1", 9)):
            found = [row for row in rows if row["split"] == split]
            assert sum(row["num_examples"] for row in found) == size
            assert {row["slicing"] for row in found} == {name}
            positions = [row["position"] for row in found]
            assert positions == sorted(set(positions))


def test_by_class():
    rows = rows_of(SLICINGS["class"], answered(7))
    assert [(row["slice"], row["num_examples"]) for row in rows] == [("zero", 3), ("one", 2), ("two", 2)]
    right = answered(7).predicted == answered(7).labels
    for label, row in enumerate(rows):
        chosen = np.arange(7) % 3 == label
        assert row["num_correct"] == right[chosen].sum()
        assert row["accuracy"] == pytest.approx(right[chosen].mean())
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["loss"] == pytest.approx(np.linspace(0, 1, 7)[chosen].mean())


def test_a_slice_without_examples_has_no_row_but_its_place():
    rows = rows_of(SLICINGS["class"], answered(6), answered(6)._replace(labels=np.full(6, 2)))
    assert [(row["split"], row["position"], row["slice"]) for row in rows if row["split"] == "s1"] == [("s1", 2, "two")]


def test_by_part_and_by_confidence():
    rows = rows_of(SLICINGS["part"], answered(4, part=1), answered(5, part=0))
    assert [(row["split"], row["position"], row["slice"]) for row in rows] == [
        ("s0", 1, "second-2"),
        ("s1", 0, "first-1"),
    ]
    sure = answered(3)._replace(outputs=np.array([[1, 0, 0], [0.95, 0, 0], [0.5, 0.1, 0]], np.float32))
    rows = rows_of(SLICINGS["confidence"], sure)
    assert [(row["slice"], row["num_examples"]) for row in rows] == [("0.4 to 0.5", 1), ("0.9 to 1.0", 2)]


def test_ink_is_the_mean_pixel_value_rounded_down():
    images = np.zeros((4, 2, 5), np.uint8)
    images[1], images[2, 0, 0], images[3] = 255, 19, 7
    about = answered(4)._replace(images=images)
    assert ink_of(about).tolist() == [0, 255, 1, 7]
    assert ink_of(answered(40)).tolist() == [int(image.mean()) for image in answered(40).images]


def test_quantiles_by_hand():
    """Twenty keys of one example each are ten slices of two; a key with most of the examples stays whole."""
    slices = cut_quantiles(dict.fromkeys(range(30, 50), 1), NAMES)
    assert [each.keys for each in slices] == [(key, key + 1) for key in range(30, 50, 2)]
    assert [slices[0].name, slices[-1].name] == ["ink 30 to 32", "ink 48 to 50"]
    assert cut_quantiles({3: 1, 5: 98, 200: 1}, NAMES) == [
        *(Slice("ink 3 to 5", (3,)), Slice("ink 5 to 200", (5,)), Slice("ink 200 to 201", (200,)))
    ]
    # the middle of the first 3 of 20 lies in the first tenth, though its end lies in the second
    assert [each.keys for each in cut_quantiles({0: 3, 1: 1, 2: 16}, NAMES)] == [(0,), (1,), (2,)]
    assert cut_quantiles({0: 7}, NAMES) == [Slice("ink 0 to 1", (0,))]


@given(st.dictionaries(st.integers(0, 255), st.integers(1, 1000), min_size=1))
def test_quantiles_cut_no_key_and_leave_none_out(sizes):
    histogram = dict(sorted(sizes.items()))
    slices = cut_quantiles(histogram, NAMES)
    assert [key for each in slices for key in each.keys] == list(histogram)
    assert len(slices) <= 10
    total, largest = sum(sizes.values()), max(sizes.values())
    for each in slices:
        assert sum(sizes[key] for key in each.keys) <= total / 10 + largest


def test_a_function_alone_names_its_slices_by_their_keys():
    rows = rows_of(Slicing(lambda each: each.labels == 1), answered(6))
    assert [(row["slice"], row["num_examples"]) for row in rows] == [("0", 4), ("1", 2)]


def fail(each):
    raise KeyError("here")


def write(each):
    each.images[:] = 0


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda each: each.labels[1:], r"gave int64\[5\], expected .* \[6\]"),
        (lambda each: each.labels * 1.0, r"gave float64\[6\]"),
        (lambda each: each.labels.astype(np.uint64), r"gave uint64\[6\]"),
        (lambda each: each.images, r"gave uint8\[6, 4, 5\]"),
        (lambda each: ["a"] * 6, r"gave <U1\[6\]"),
        (lambda each: 3, r"gave int64\[\]"),
        (fail, "failed: KeyError: 'here'"),
    ],
)
def test_what_is_no_slicing(function, problem):
    with pytest.raises(BadInput, match=r"slicing thin \(mine:thin\) .*" + problem):
        compute_keys("thin", "mine:thin", Slicing(function), answered(6))


def test_a_thousand_keys_are_few_enough():
    check_num_keys("thin", "mine:thin", count_groups(np.arange(1000), np.ones(1000, bool), np.ones(1000)))


def test_too_many_keys():
    counted = count_groups(np.arange(1001), np.ones(1001, bool), np.ones(1001))
    with pytest.raises(BadInput, match=r"slicing thin \(mine:thin\) gives 1,001 different keys"):
        check_num_keys("thin", "mine:thin", counted)


@pytest.mark.parametrize(
    "cut",
    [
        lambda histogram, names: [Slice("all but one", tuple(histogram)[1:])],
        lambda histogram, names: [Slice("twice", tuple(histogram)), Slice("again", tuple(histogram))],
        lambda histogram, names: [Slice(names.classes[9], tuple(histogram))],
        lambda histogram, names: None,
    ],
)
def test_slices_must_hold_each_key_once(cut):
    with pytest.raises(BadInput, match="slicing class: its slices"):
        rows_of(Slicing(lambda each: each.labels, cut), answered(6))


def test_a_slicing_may_have_a_thousand_keys():
    def counted(num_keys):
        keys = np.arange(num_keys)
        return count_groups(keys, keys > 0, np.zeros(num_keys))

    check_num_keys("thin", "mine:thin", counted(1000))
    with pytest.raises(
        BadInput, match=r"^slicing thin \(mine:thin\) gives 1,001 different keys or more, expected at most"
    ):
        check_num_keys("thin", "mine:thin", counted(1001))


def test_the_ink_of_a_large_image_does_not_overflow():
    white = answered(1)._replace(images=np.full((1, 4096, 4096), 255, np.uint8))  # as large as an image may be
    assert ink_of(white).tolist() == [255]
