import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import metrics


def counts_of(labels, predicted, num_classes, start=0, losses=None):
    labels, predicted = np.array(labels, int), np.array(predicted, int)
    losses = np.full(len(labels), 0.25) if losses is None else losses
    return metrics.count("test", np.arange(start, start + len(labels)), labels, predicted, losses, num_classes)


def test_by_hand():
    counts = counts_of([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 1], 4)
    row = metrics.evaluation_row(counts, tuple("abcd"))
    assert (row["num_examples"], row["num_correct"], row["accuracy"], row["loss"]) == (6, 3, 0.5, 0.25)
    assert row["never_predicted"] == ["c"]  # nobody asked for d
    rows = list(metrics.class_rows(counts, ("a", "b", "c", "d")))
    assert [r["precision"] for r in rows] == [2 / 3, 1 / 3, 0, 0]
    assert [r["recall"] for r in rows] == [2 / 3, 1 / 2, 0, 0]
    assert [r["f1"] for r in rows] == [2 / 3, 2 / 5, 0, 0]
    assert [r["support"] for r in rows] == [3, 2, 1, 0]
    confusion = {(r["label"], r["predicted"]): r["count"] for r in metrics.confusion_rows(counts)}
    assert len(confusion) == 16
    assert confusion[0, 1] == 1
    assert sum(confusion.values()) == 6


def test_wilson_against_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for right, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = metrics.wilson(right, total)
        assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 9)), min_size=1, max_size=40), st.data())
def test_counts_add_up_in_any_order(answers, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answers)), max_size=4)))
    pieces = [answers[a:b] for a, b in zip([0, *cuts], [*cuts, len(answers)], strict=True)]
    starts = [0, *cuts]
    parts = [
        counts_of([p[0] for p in piece], [p[1] for p in piece], 4, start, [p[2] for p in piece])
        for piece, start in zip(pieces, starts, strict=True)
    ]
    shuffled = data.draw(st.permutations(parts))
    rows = [metrics.evaluation_row(metrics.merge_counts(order)["test"], tuple("abcd")) for order in (parts, shuffled)]
    assert rows[0] == rows[1]
    assert rows[0]["num_correct"] == sum(label == predicted for label, predicted, _ in answers)
    assert rows[0]["loss"] == pytest.approx(np.mean([loss for _, _, loss in answers]))


def test_the_first_thousand_are_counted_by_position():
    counts = counts_of([1] * 10, [1] * 10, 2, start=995)
    row = metrics.evaluation_row(counts, ("a", "b"))
    assert (row["first_1000_examples"], row["first_1000_correct"], row["num_correct"]) == (5, 5, 10)


def test_splits_are_kept_apart():
    train = metrics.count("train", np.arange(2), np.array([0, 1]), np.array([0, 0]), np.zeros(2), 2)
    totals = metrics.merge_counts([counts_of([1], [1], 2), train, counts_of([0], [1], 2)])
    assert {name: int(counts.confusion.sum()) for name, counts in totals.items()} == {"test": 2, "train": 2}
