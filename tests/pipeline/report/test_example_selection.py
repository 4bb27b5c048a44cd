"""The selection of the examples that a page shows."""

import numpy as np

from pipeline.report.example_selection import MAX_MIXED, StoredPredictions, select_mixed


def predictions_of(labels, predicted, confidence=0.5):
    labels = np.array(labels)
    outputs = np.zeros((len(labels), labels.max() + 1), np.float32)
    confidences = np.full(len(labels), confidence, np.float32)
    return StoredPredictions("test", np.arange(len(labels)), labels, np.array(predicted), confidences, outputs)


def test_a_mix_has_two_right_answers_and_the_two_worst_mistakes_of_every_class():
    found = select_mixed(predictions_of([0] * 6 + [1], [0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0.2, 0.9, 0.8, 1]), 784)
    assert found.tolist() == [0, 4, 1, 5, 6]


def test_a_limited_mix_has_examples_of_as_many_classes_as_possible():
    many = predictions_of(np.repeat(np.arange(60), 4), np.tile([0, 0, 59, 59], 60))
    assert len(set(many.labels[select_mixed(many, 784)])) == MAX_MIXED
    few = select_mixed(predictions_of([0, 0, 1, 1], [0, 0, 1, 1]), 2**17)
    assert few.tolist() == [0, 2]
    assert len(select_mixed(predictions_of([0, 1], [0, 1]), 2**30)) == 1
