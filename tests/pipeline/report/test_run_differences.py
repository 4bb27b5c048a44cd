"""What tells two runs apart: by class, by slice, and the examples that only one gets right."""

import numpy as np
import pytest

from pipeline.evaluate.significance import bootstrap_interval
from pipeline.evaluate.table_reader import read_paired_outcomes
from pipeline.report.example_selection import StoredPredictions
from pipeline.report.run_differences import MAX_SHOWN, Difference, compare_classes, compare_slices
from tests.helpers import run_in_process
from tests.pages import read_page


def predictions(labels, predicted, num_classes=3):
    n = len(labels)
    outputs = np.zeros((n, num_classes), np.float32)
    return StoredPredictions("test", np.arange(n), np.array(labels), np.array(predicted), np.ones(n, "f4"), outputs)


def test_classes_are_compared_pair_by_pair():
    labels = [0] * 40 + [1] * 40
    first = predictions(labels, [0] * 20 + [1] * 20 + [1] * 40)
    other = predictions(labels, [0] * 38 + [1] * 2 + [1] * 40)
    better, equal, empty = compare_classes(first, other)
    assert better == Difference(0.95, 0.45, *bootstrap_interval(40, 0, 18))
    assert better.is_clear
    assert equal == Difference(1.0, 0.0, 0.0, 0.0)
    assert not equal.is_clear
    assert empty is None


def slice_row(slicing, name, num_correct, num_examples):
    counts = {"num_correct": num_correct, "num_examples": num_examples, "accuracy": num_correct / num_examples}
    return {"slicing": slicing, "slice": name, **counts}


def test_slices_are_of_as_many_examples_in_all_runs_are_compared():
    assert compare_slices([[slice_row("ink", "dark", 48, 80)], [slice_row("ink", "dark", 56, 70)]]) == []
    first = [slice_row("ink", "dark", 480, 800), slice_row("confidence", "0.9", 1, 2), slice_row("mine", "a", 1, 2)]
    other = [slice_row("ink", "dark", 560, 800), slice_row("confidence", "0.9", 1, 2)]
    [found] = compare_slices([first, other])
    assert (found["slicing"], found["slice"]) == ("ink", "dark")
    [difference] = found["others"]
    assert difference.difference == pytest.approx(0.1)
    assert (difference.low, difference.high) == pytest.approx((0.0533, 0.1461), abs=2e-4)


@pytest.fixture(scope="module")
def page(seeds_run, tmp_path_factory):
    """The comparison of three runs, and whether the answers of the first and of each other run are right."""
    target = tmp_path_factory.mktemp("page") / "page.html"
    runs = sorted(folder.name for folder in (seeds_run / "runs").iterdir())
    done = run_in_process("report", "--workspace", seeds_run, *runs, "--to", target, "--json")
    assert done.code == 0, done.err
    return read_page(target), [read_paired_outcomes(seeds_run, runs[0], run, "test") for run in runs[1:]]


def test_the_settings_that_differ_are_the_first_section(page):
    assert [each["id"] for each in page[0].all("section")][:2] == ["settings", "figures"]
    assert page[0].rows("settings")[1] == ["seed", "1", "2", "3"]


def test_every_curve_has_a_line_in_the_legend(page):
    samples = [each for each in page[0].all("svg", "learning") if each.get("class") == "sample"]
    lines = [each for each in page[0].all("path", "learning") if each["class"].startswith("line ")]
    assert (len(samples), len(lines)) == (3, 3 + 3 * 3)
    assert [each["text"] for each in page[0].all("code", "learning")] == ["seed=1", "seed=2", "seed=3"]


def test_examples_that_only_one_run_gets_right_are_shown(page):
    titles = [each["text"] for each in page[0].all("h3", "disagreements")]
    pairs = page[1]
    counts = [int(count) for a, b in pairs for count in ((a & ~b).sum(), (b & ~a).sum())]
    assert [int(title.rpartition(": ")[2]) for title in titles] == counts
    assert len(page[0].all("img", "disagreements")) == sum(min(MAX_SHOWN, count) for count in counts) > 0
