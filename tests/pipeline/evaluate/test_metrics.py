import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binomtest

from pipeline.evaluate import metrics
from pipeline.evaluate.group_counts import count_groups


def counts_of(labels, predicted, num_classes, start=0, split="test"):
    labels = np.array(labels, int)
    outputs = np.eye(num_classes, dtype=np.float32)[np.array(predicted, int)] * 0.75
    losses = np.full(len(labels), 0.25, np.float32)
    return metrics.count_predictions(split, np.arange(start, start + len(labels)), labels, outputs, losses)


def test_metrics_of_six_examples():
    counts = counts_of([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 1], 4)
    row = metrics.evaluation_row(counts, tuple("abcd"))
    assert (row["num_examples"], row["num_correct"], row["accuracy"], row["loss"]) == (6, 3, 0.5, 0.25)
    assert row["never_predicted"] == ["c"]  # class d has no examples
    rows = list(metrics.class_rows(counts, ("a", "b", "c", "d")))
    assert [r["precision"] for r in rows] == [2 / 3, 1 / 3, 0, 0]
    assert [r["recall"] for r in rows] == [2 / 3, 1 / 2, 0, 0]
    assert [r["f1"] for r in rows] == [2 / 3, 2 / 5, 0, 0]
    assert [r["support"] for r in rows] == [3, 2, 1, 0]
    confusion = {(r["label"], r["predicted"]): r["count"] for r in metrics.confusion_rows(counts)}
    assert len(confusion) == 16
    assert confusion[0, 1] == 1
    assert sum(confusion.values()) == 6


@given(st.integers(1, 10**7), st.floats(0, 1))
def test_wilson_against_scipy(total, share):
    right = round(total * share)
    interval, expected = metrics.wilson(right, total), binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_metrics_equal_those_of_scikit_learn():
    random = np.random.default_rng(5)
    labels = random.integers(0, 6, 3000)
    outputs = softmax(2 * random.normal(size=(3000, 6)), axis=1)
    outputs[:, 5] = 0  # a class that is never predicted
    outputs = (outputs / outputs.sum(axis=1, keepdims=True)).astype(np.float32)
    losses = -np.log(np.maximum(outputs[np.arange(3000), labels], 1e-12))
    pieces = [slice(0, 1000), slice(1000, 1001), slice(1001, 3000)]
    index = np.arange(3000)
    parts = [metrics.count_predictions("test", index[at], labels[at], outputs[at], losses[at]) for at in pieces]
    counts = metrics.merge_counts(parts)["test"]
    predicted = outputs.argmax(axis=1)
    names = tuple("abcdef")
    row = metrics.evaluation_row(counts, names)
    assert row["accuracy"] == sklearn.metrics.accuracy_score(labels, predicted)
    wide = outputs.astype(np.float64) / outputs.sum(axis=1, dtype=np.float64, keepdims=True)
    assert row["loss"] == pytest.approx(sklearn.metrics.log_loss(labels, np.maximum(wide, 1e-12), normalize=True), 1e-5)
    assert row["brier"] == pytest.approx(sklearn.metrics.brier_score_loss(labels, wide), rel=1e-6)
    assert row["never_predicted"] == ["f"]
    np.testing.assert_array_equal(counts.confusion, sklearn.metrics.confusion_matrix(labels, predicted))
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    rows = list(metrics.class_rows(counts, names))
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in rows] == pytest.approx(values.tolist(), rel=1e-12)


def test_first_thousand_examples_are_counted_by_position():
    counts = counts_of([1] * 10, [1] * 10, 2, start=995)
    row = metrics.evaluation_row(counts, ("a", "b"))
    assert (row["first_1000_examples"], row["first_1000_correct"], row["num_correct"]) == (5, 5, 10)


def test_counts_of_different_splits_are_not_merged():
    train = counts_of([0, 1], [0, 0], 2, split="train")
    totals = metrics.merge_counts([counts_of([1], [1], 2), train, counts_of([0], [1], 2)])
    assert {name: int(counts.confusion.sum()) for name, counts in totals.items()} == {"test": 2, "train": 2}


def test_losses_squared_differences_and_confidences_are_summed_in_float64():
    outputs = np.array([[1 + 2**-12, 0]] * 3, np.float32)  # float32 cannot represent the square, nor the sum of losses
    losses = np.array([2**24, 1, 1], np.float32)
    counts = metrics.count_predictions("test", np.arange(3), np.ones(3, int), outputs, losses)
    assert counts.loss_sums == (2**24 + 2,)
    assert counts.confusion.dtype == np.int64
    assert counts.brier_sums == (3 * ((1 + 2**-12) ** 2 + 1),)
    assert counts.calibration.value_sums.tolist() == [[3 * (1 + 2**-12)]]


def test_examples_are_counted_in_integers():
    many = 2**53 + 1  # float64 cannot represent it
    confusion = np.array([[many, 2], [0, 0]])
    counted = count_groups(np.zeros(1, int), np.ones(1, bool), np.ones(1))
    counts = metrics.SplitCounts("test", confusion, (1e16, 1.0, 1.0), (1e16, 1.0, 1.0), counted, 0, 0)
    row = metrics.evaluation_row(counts, ("a", "b"))
    assert (row["num_examples"], row["num_correct"]) == (many + 2, many)
    assert row["loss"] == row["brier"] == (1e16 + 2) / (many + 2)
    assert [row["support"] for row in metrics.class_rows(counts, ("a", "b"))] == [many + 2, 0]
    assert [row["count"] for row in metrics.confusion_rows(counts)] == [many, 2, 0, 0]
    both = metrics.merge_counts([counts, counts])["test"]
    assert int(both.confusion.sum()) == 2 * (many + 2)
    assert both.brier_sums == (1e16, 1.0, 1.0) * 2


def test_wilson_interval_ends_at_0_and_1_exactly():
    """The rounded formula gives slightly different values for some of these numbers."""
    assert {metrics.wilson(0, total).low for total in range(1, 200)} == {0.0}
    assert {metrics.wilson(total, total).high for total in range(1, 200)} == {1.0}
