"""Lay out the curves of the pages: learning, calibration, and agreement of the two training steps."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.evaluate.evaluated_runs import Row
from pipeline.evaluate.metrics import wilson
from pipeline.report.charts import Axis, Chart, Series, fit_axis, line_chart, with_diagonal, with_whiskers


class LearningCurve(NamedTuple):
    """The learning curves of one run or several.

    Attributes:
        charts: the charts of the loss and of the accuracy.
        rows: the rows of the table `learning_curve` of one run; empty for several runs.
    """

    charts: tuple[Chart, ...]
    rows: tuple[Row, ...]


class AgreementCurve(NamedTuple):
    """The agreement of the manual and the autodiff step.

    Attributes:
        rows: the rows of the table `gradient_agreement`.
        in_lockstep: whether the run trained two networks, one by each step.
        chart: the difference of the two networks over the steps, if there is more than one value.
    """

    rows: tuple[Row, ...]
    in_lockstep: bool
    chart: Chart | None


def learning_curve(curves: Sequence[tuple[str, Sequence[Row]]]) -> LearningCurve:
    """Return the learning curves of one run or several; `curves` are (run id, rows of the table `learning_curve`)."""
    all_rows = [row for _, rows in curves for row in rows]
    steps = fit_axis("steps", [row["step"] for row in all_rows], low=0)
    loss = fit_axis("mean loss since the last report", [row["loss"] for row in all_rows], low=0)
    accuracy_label = f"right of the first {all_rows[0]['num_monitored']:,}" if all_rows else ""
    accuracy = Axis(accuracy_label, 0, 1, percent=True)
    losses: list[Series] = []
    accuracies: list[Series] = []
    for run_id, rows in curves:
        name = run_id if len(curves) > 1 else ""
        at = [row["step"] for row in rows]
        losses.append(Series(name, at, [row["loss"] for row in rows]))
        accuracies.append(Series(name, at, [_accuracy(row) for row in rows]))
    charts = (
        line_chart("Loss while training", steps, loss, losses),
        line_chart("Right answers to test examples while training", steps, accuracy, accuracies),
    )
    return LearningCurve(charts, tuple(all_rows) if len(curves) == 1 else ())


def _accuracy(row: Row) -> float:
    return float(row["num_correct"] / row["num_monitored"]) if row["num_monitored"] else float("nan")


def calibration_chart(bins: Sequence[Row]) -> Chart:
    """Return the chart of accuracy by confidence with 95 % Wilson intervals; empty bins are left out."""
    rows = [row for row in bins if row["num_examples"]]
    confidence = Axis("confidence", 0, 1, percent=True)
    accuracy = Axis("right answers", 0, 1, percent=True)
    series = Series("", [row["confidence"] for row in rows], [row["accuracy"] for row in rows])
    chart = with_diagonal(line_chart("Right answers by confidence", confidence, accuracy, [series]))
    intervals = [wilson(row["num_correct"], row["num_examples"]) for row in rows]
    return with_whiskers(
        chart, [(row["confidence"], interval.low, interval.high) for row, interval in zip(rows, intervals, strict=True)]
    )


def agreement_curve(rows: Sequence[Row]) -> AgreementCurve:
    """Return the agreement of the two steps, from the rows of the table `gradient_agreement`."""
    drifts = [row for row in rows if row["drift"] is not None]
    chart = None
    if len(drifts) > 1:
        steps = fit_axis("steps", [row["step"] for row in drifts], low=0)
        drift = fit_axis("largest difference of a parameter", [row["drift"] for row in drifts], low=0)
        series = Series("", [row["step"] for row in drifts], [row["drift"] for row in drifts])
        title = "Drift of the network trained by autodiff from the one trained by hand"
        chart = line_chart(title, steps, drift, [series])
    return AgreementCurve(tuple(rows), bool(drifts), chart)
