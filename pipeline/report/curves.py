"""Lay out the curves of the pages: learning, calibration, and agreement of the two training steps."""

from collections.abc import Sequence
from math import ceil, floor, nan
from typing import Any

from pipeline.evaluate.evaluated_runs import Row
from pipeline.evaluate.metrics import wilson
from pipeline.report.charts import Axis, Chart, Series, Whisker, add_values, fit_axis, line_chart

SETTLED = 0.2  # of the steps: before, the accuracy rises so far that later differences cannot be seen beside it


def learning_charts(curves: Sequence[tuple[str, list[Row]]]) -> list[Chart]:
    """Return charts of loss and accuracy of one run or several, given as (run id, rows of `learning_curve`)."""
    all_rows = [row for _, rows in curves for row in rows]
    steps = fit_axis("steps", [row["step"] for row in all_rows])
    loss = fit_axis("mean loss since the last report", [row["loss"] for row in all_rows])
    accuracy_label = f"right of the first {all_rows[0]['num_monitored']:,}" if all_rows else ""
    accuracy = Axis(accuracy_label, 0, 1, percent=True)
    losses: list[Series] = []
    accuracies: list[Series] = []
    for run_id, rows in curves:
        name = run_id if len(curves) > 1 else ""
        at = [row["step"] for row in rows]
        losses.append(Series(name, at, [row["loss"] for row in rows]))
        shares = [row["num_correct"] / row["num_monitored"] if row["num_monitored"] else nan for row in rows]
        accuracies.append(Series(name, at, shares))
    loss_chart = line_chart("Loss while training", steps, loss, losses)
    accuracy_chart = line_chart("Right answers to test examples while training", steps, accuracy, accuracies)
    return [add_values(loss_chart, losses, "loss {}"), add_values(accuracy_chart, accuracies, "{} right")]


def zoomed_chart(curves: Sequence[tuple[str, list[Row]]]) -> Chart:
    """Return the chart of accuracy of several runs from SETTLED of the steps on, on a scale that fits these values."""
    last = max((row["step"] for _, rows in curves for row in rows), default=0)
    series = []
    for run_id, rows in curves:
        late = [row for row in rows if row["step"] >= SETTLED * last and row["num_monitored"]]
        shares = [row["num_correct"] / row["num_monitored"] for row in late]
        series.append(Series(run_id, [row["step"] for row in late], shares))
    values = [value for each in series for value in each.y] or [0.0, 1.0]
    low = max(0.0, floor(20 * min(values)) / 20)
    high = min(1.0, ceil(20 * max(values)) / 20)
    accuracy = Axis("right of the monitored examples", low, high if high > low else low + 0.05, percent=True)
    steps = Axis("steps", SETTLED * last, last or 1)
    return line_chart("The same, later and larger", steps, accuracy, series)


def calibration_chart(bins: Sequence[Row]) -> Chart:
    """Return the chart of accuracy by confidence with 95 % Wilson intervals; empty bins are left out."""
    rows = [row for row in bins if row["num_examples"]]
    confidence = Axis("confidence", 0, 1, percent=True)
    accuracy = Axis("right answers", 0, 1, percent=True)
    series = Series("", [row["confidence"] for row in rows], [row["accuracy"] for row in rows])
    whiskers = [Whisker(row["confidence"], *wilson(row["num_correct"], row["num_examples"])) for row in rows]
    return line_chart("Right answers by confidence", confidence, accuracy, [series], whiskers, diagonal=True)


def agreement_curve(rows: list[Row]) -> dict[str, Any]:
    """Return whether a run trained a network by each step, and a chart of their drift if it has several values."""
    drifts = [row for row in rows if row["drift"] is not None]
    chart = None
    if len(drifts) > 1:
        series = Series("", [row["step"] for row in drifts], [row["drift"] for row in drifts])
        steps = fit_axis("steps", series.x)
        drift = fit_axis("largest difference of a parameter", series.y)
        title = "Drift of the network trained by autodiff from the one trained by hand"
        chart = line_chart(title, steps, drift, [series])
    return {"rows": rows, "in_lockstep": bool(drifts), "chart": chart}
