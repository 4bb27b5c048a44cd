"""Lay out the charts of a network's layers while it was trained, from rows of the table `layer_statistics`."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from pipeline.evaluate.evaluated_runs import Row
from pipeline.report.charts import Axis, Chart, Series, fan_chart, fit_axis, fit_power_axis, line_chart

MOST_LAYERS = 8  # the first ones; the table has the others of a deeper network
ENDS = {"sigmoid": (0, 1), "softmax": (0, 1), "tanh": (-1, 1)}  # of the outputs of a layer; relu has no upper end
UNIT_STATES = ("dead", "saturated")


class LayerCharts(NamedTuple):
    """The charts of a layer: fans of weights, activations and gradients, and the shares of dead and saturated units."""

    title: str
    charts: list[Chart]


def layer_charts(rows: Sequence[Row], activation: str, output: str) -> dict[str, Any]:
    """Return the charts of up to MOST_LAYERS layers, the number of those left out, and that of the examples."""
    by_layer = [list(group) for _, group in groupby(sorted(rows, key=itemgetter("layer")), key=itemgetter("layer"))]
    functions = [*[activation] * (len(by_layer) - 1), output]
    layers = [
        LayerCharts(_title(number, layer, len(by_layer)), list(_charts_of(layer, function)))
        for number, (layer, function) in enumerate(zip(by_layer, functions, strict=True), 1)
    ]
    return {
        "layers": layers[:MOST_LAYERS],
        "num_left_out": len(layers[MOST_LAYERS:]),
        "num_examples": rows[0]["num_examples"],
        "states": UNIT_STATES,
    }


def _title(number: int, rows: Sequence[Row], num_layers: int) -> str:
    kind = "the output" if number == num_layers else "hidden"
    return f"Layer {number}, {kind}: {rows[0]['num_units']:,} units"


def _charts_of(rows: Sequence[Row], function: str) -> list[Chart]:
    at = [row["step"] for row in rows]
    steps = fit_axis("steps", at)
    weights = [row["weights"] for row in rows]
    activations = [row["activations"] for row in rows]
    gradients = [row["gradients"] for row in rows]
    weight_axis = fit_axis("weight", _flatten(weights))
    activation_axis = (
        Axis("activation", *ENDS[function]) if function in ENDS else fit_axis("activation", _flatten(activations))
    )
    gradient_axis = fit_power_axis("absolute gradient of a weight", _flatten(gradients))
    return [
        fan_chart("Weights", steps, weight_axis, at, weights),
        fan_chart("Activations", steps, activation_axis, at, activations),
        fan_chart("Gradients", steps, gradient_axis, at, gradients),
        line_chart(
            "Dead and saturated units", steps, Axis("share of the units", 0, 1, percent=True), _unit_series(rows, at)
        ),
    ]


def _unit_series(rows: Sequence[Row], at: Sequence[int]) -> list[Series]:
    return [Series(state, at, [row[f"num_{state}_units"] / row["num_units"] for row in rows]) for state in UNIT_STATES]


def _flatten(quantiles: Sequence[Sequence[float]]) -> list[float]:
    return [value for each in quantiles for value in each]
