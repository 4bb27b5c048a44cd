"""Figures of a page link to an example of the inspector that they count."""

import numpy as np

from pipeline.report.example_links import link_bins, link_pairs
from pipeline.report.example_selection import ShownExample


def example(index, label, predicted, confidence):
    outputs = np.array([confidence, 0], np.float32)
    return ShownExample(f"test:{index}", label, predicted, outputs, np.zeros((2, 2), np.uint8))


def test_a_pair_of_classes_links_to_its_first_example():
    found = link_pairs([example(1, 0, 0, 0.5), example(2, 0, 1, 0.5), example(3, 0, 0, 0.5)])
    assert found == {(0, 0): "test:1", (0, 1): "test:2"}


def test_a_bin_links_to_a_wrong_answer_if_there_is_one():
    bins = [{"confidence_low": low / 4, "confidence_high": (low + 1) / 4} for low in range(4)]
    examples = [example(1, 0, 0, 0.5), example(2, 0, 1, 0.6), example(3, 0, 0, 0.25), example(4, 0, 0, 1.0)]
    assert link_bins(examples, bins) == [None, "test:3", "test:2", "test:4"]
    assert link_bins([], bins) == [None] * 4
