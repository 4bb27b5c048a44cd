import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from pipeline.evaluate.group_counts import count_groups, merge_group_counts
from pipeline.evaluate.metrics import EDGES, calibration_rows, confidence_bins, expected_error


def counted(confidence, correct):
    confidence = np.array(confidence, np.float32)
    return count_groups(confidence_bins(confidence), np.array(correct), confidence)


def test_rows_and_expected_error_equal_those_of_scikit_learn():
    random = np.random.default_rng(3)
    confidence = np.concatenate([random.random(5000), np.arange(11) / 10]).astype(np.float32)
    confidence = confidence[confidence_bins(confidence) != 2]  # one bin stays empty
    correct = random.random(len(confidence)) < confidence
    pieces = [slice(0, 17), slice(17, 2000), slice(2000, None)]
    rows = list(calibration_rows("test", merge_group_counts(counted(confidence[at], correct[at]) for at in pieces)))
    shares, means = calibration_curve(correct, confidence, n_bins=10)
    assert (rows[2]["confidence_low"], rows[2]["confidence_high"]) == (0.2, 0.3)
    assert (rows[2]["confidence"], rows[2]["accuracy"]) == (0, 0)
    held = [row for row in rows if row["num_examples"]]
    assert [row["bin"] for row in rows if not row["num_examples"]] == [2]
    assert [row["accuracy"] for row in held] == pytest.approx(shares.tolist(), rel=1e-12)
    assert [row["confidence"] for row in held] == pytest.approx(means.tolist(), rel=1e-6)
    weights = np.array([row["num_examples"] for row in held]) / len(confidence)
    error = expected_error(counted(confidence, correct))
    assert error == pytest.approx((weights * abs(shares - means)).sum(), rel=1e-6)


def test_an_example_at_an_edge_is_in_the_bin_below_it():
    confidence = np.array(EDGES[1:-1])
    assert confidence_bins(confidence).tolist() == list(range(9))
    assert confidence_bins(np.array([0, 1])).tolist() == [0, 9]
    assert confidence_bins(np.nextafter(confidence, 1)).tolist() == list(range(1, 10))
