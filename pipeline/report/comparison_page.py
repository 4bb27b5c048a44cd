"""Collect the contents of the page that compares several runs, each with the first; see `run_page` for one run."""

from collections.abc import Sequence
from typing import Any

from model.errors import BadUsage
from pipeline.evaluate.evaluated_runs import EvaluatedRun, compare_outcomes
from pipeline.preprocess.dataset import load_dataset
from pipeline.report.curves import learning_charts, zoomed_chart
from pipeline.report.dataset_inspection import class_title
from pipeline.report.example_selection import read_predictions
from pipeline.report.reproduce_command import describe_reproduction
from pipeline.report.run_differences import compare_classes, compare_slices, show_disagreements
from pipeline.report.run_page import SPLIT
from pipeline.train.run_lookup import load_dataset_of
from pipeline.train.run_settings import find_differences, format_settings

MAX_RUNS = 8  # page.css has as many line colours
MAX_TOLD = 3  # settings of a run in a legend


def build_comparison_page(evaluated: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Return the values for the template `comparison.html`.

    Raises BadUsage if there are more than MAX_RUNS, BadInput if their test splits differ, and CorruptArtefact.
    """
    if len(evaluated) > MAX_RUNS:
        raise BadUsage(f"report compares {MAX_RUNS} runs at most, found {len(evaluated)}")
    settings = [one.run.config.model_dump(mode="json") | {"data set": one.run.dataset_id} for one in evaluated]
    differences = find_differences(settings)
    runs = [_compare(evaluated[0], other) for other in evaluated]  # raises BadInput before the examples are paired
    dataset = load_dataset_of(evaluated[0].workspace, evaluated[0].run, load_dataset)
    names = [class_title(label, dataset.manifest.class_names) for label in range(len(dataset.manifest.class_names))]
    predictions = [read_predictions(one.workspace, one.run.run_id, SPLIT) for one in evaluated]
    by_class = zip(*(compare_classes(predictions[0], other) for other in predictions[1:]), strict=True)
    curves = [(one.run.run_id, one.rows("learning_curve")) for one in evaluated]
    return {
        "runs": runs,
        "charts": [*learning_charts(curves), zoomed_chart(curves)],
        "differences": differences,
        "told_apart": [_tell_apart(differences, number) for number in range(len(runs))],
        "classes": [
            {"name": name, "first": row, "others": others}
            for name, row, others in zip(names, evaluated[0].rows("classes", SPLIT), by_class, strict=True)
        ],
        "slices": compare_slices([one.rows("slices", SPLIT) for one in evaluated]),
        "disagreements": show_disagreements(dataset, predictions, names),
    }


def _tell_apart(differences: dict[str, list[Any]], number: int) -> str:
    """Return the first settings of a run that differ from those of others, for a legend."""
    own = {name: values[number] for name, values in differences.items()}
    return format_settings(dict(list(own.items())[:MAX_TOLD]), ())


def _compare(first: EvaluatedRun, other: EvaluatedRun) -> dict[str, Any]:
    [test] = other.rows("evaluations", SPLIT)
    against_first = None if other is first else compare_outcomes(first, other)
    reproduction = describe_reproduction(other)
    changed = format_settings(other.changed)
    return {
        "run": other.run,
        "changed": changed,
        "test": test,
        "against_first": against_first,
        "reproduction": reproduction,
    }
