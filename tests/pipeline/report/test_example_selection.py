"""The selection of the examples that a page shows."""

import numpy as np

from pipeline.report.example_selection import MAX_SAMPLE, StoredPredictions, select_mistakes, select_sample


def predictions_of(labels, predicted, confidence=0.5):
    labels = np.array(labels)
    outputs = np.zeros((len(labels), labels.max() + 1), np.float32)
    confidences = np.full(len(labels), confidence, np.float32)
    return StoredPredictions("test", np.arange(len(labels)), labels, np.array(predicted), confidences, outputs)


def test_the_mistakes_are_the_two_most_confident_of_every_class():
    found = select_mistakes(predictions_of([0] * 6 + [1], [0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0.2, 0.9, 0.8, 1]), 784)
    assert found.tolist() == [4, 5]
    assert select_mistakes(predictions_of([0, 1], [0, 1]), 784).tolist() == []


def test_a_sample_has_the_first_examples_of_every_class_whatever_their_answers():
    labels = np.tile([0, 0, 0, 1], 100)
    found = select_sample(predictions_of(labels, 1 - labels), 784)
    assert found.tolist() == sorted([*np.flatnonzero(labels == 0)[:50], *np.flatnonzero(labels == 1)[:50]])
    few = select_sample(predictions_of([0] * 400 + [1], [0] * 401), 784)
    assert few.tolist() == [*range(99), 400]


def test_a_limited_sample_has_examples_of_as_many_classes_as_possible():
    many = predictions_of(np.repeat(np.arange(130), 4), np.tile([0, 0, 59, 59], 130))
    assert len(set(many.labels[select_sample(many, 784)])) == MAX_SAMPLE
    few = select_sample(predictions_of([0, 0, 1, 1], [0, 0, 1, 1]), 2**17)
    assert few.tolist() == [0, 2]
    assert len(select_sample(predictions_of([0, 1], [0, 1]), 2**30)) == 1
