"""The geometry of charts."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Series,
    Whisker,
    fan_chart,
    fit_axis,
    fit_power_axis,
    line_chart,
    ticks,
)

MIDDLE = (TOP + HEIGHT - BOTTOM) / 2
NUMBERS = st.floats(0, 1e9).filter(lambda value: value == 0 or value > 1e-9)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_an_axis_contains_all_values_and_has_few_ticks(values):
    axis = fit_axis("", values)
    assert axis.low == 0
    assert max(values) <= axis.high * (1 + 1e-6)
    values_of_ticks = ticks(axis.low, axis.high)
    assert 2 <= len(values_of_ticks) <= 9
    assert values_of_ticks == sorted(values_of_ticks)


def test_ticks_are_round():
    assert ticks(0, 10_000) == [0, 2000, 4000, 6000, 8000, 10_000]
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert fit_axis("", [0.013, nan, 0.19])[1:3] == (0, 0.2)
    assert fit_axis("", [])[1:3] == (0, 1)


@pytest.mark.parametrize(
    ("values", "low", "high"), [([-0.19, 0.013], -0.2, 0.05), ([-3, -1], -3, 0), ([-2.2, 7.1], -4, 8), ([0, 0], 0, 1)]
)
def test_an_axis_holds_negative_values_and_0(values, low, high):
    assert fit_axis("", values)[1:3] == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0, 2e-5, 0.3], -5, 0),
        ([0.02, 0.03], -4, -1),
        ([1e-30, 20], -6, 2),
        ([0, nan], -3, 0),
        ([], -3, 0),
        ([100], -1, 2),
    ],
)
def test_an_axis_of_powers_of_ten_holds_the_largest_value_and_at_most_eight_powers(values, low, high):
    axis = fit_power_axis("", values)
    assert axis[1:3] == (low, high)
    assert all(value == round(value) for value in ticks(axis.low, axis.high))


def test_a_fan_has_a_median_and_areas_between_its_quantiles():
    x = Axis("steps", 0, 10)
    chart = fan_chart("Weights", x, Axis("weight", -1, 1), [0, 10], [[-1, -0.5, 0, 0.5, 1], [0, 0, 0.5, 0.5, 1]])
    assert [line.points for line in chart.lines] == [[(LEFT, MIDDLE), (WIDTH - RIGHT, (MIDDLE + TOP) / 2)]]
    left, right, bottom = (f"{place:g}" for place in (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM))
    assert chart.bands[0] == f"M{left} {TOP}L{right} {TOP}L{right} {MIDDLE:g}L{left} {bottom}Z"
    assert len(chart.bands) == 2
    assert chart.description == "Weights. median: weight, from 0 at 0 (steps) to 0.5 at 10 (steps)."


def test_a_fan_on_powers_of_ten_draws_zeros_at_the_lower_end():
    y = fit_power_axis("gradient", [1e-3, 1])
    chart = fan_chart("Gradients", Axis("steps", 0, 10), y, [0, 10], [[0, 1e-3, 1], [0, 1e-9, 0]])
    assert [y for _, y in chart.lines[0].points] == [HEIGHT - BOTTOM, HEIGHT - BOTTOM]
    assert chart.bands == (
        f"M{LEFT} {TOP}L{WIDTH - RIGHT} {HEIGHT - BOTTOM}L{WIDTH - RIGHT} {HEIGHT - BOTTOM}L{LEFT} {HEIGHT - BOTTOM}Z",
    )
    assert [tick.label for tick in chart.y_ticks] == ["10⁻³", "10⁻²", "10⁻¹", "10⁰"]


def test_lines_are_inside_the_frame_and_described():
    x = Axis("steps", 0, 100)
    y = Axis("right", 0, 1, percent=True)
    chart = line_chart("Right answers", x, y, [Series("one", [0, 50, 100], [0, nan, 1]), Series("none", [0], [nan])])
    assert chart.lines[0].points == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]
    assert chart.lines[0].path == f"M{LEFT} {HEIGHT - BOTTOM}L{WIDTH - RIGHT} {TOP}"
    assert chart.lines[1].path == ""
    assert chart.description == "Right answers. one: right, from 0 % at 0 (steps) to 100 % at 100 (steps)."
    assert [tick.label for tick in chart.y_ticks] == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]


def test_error_bars_and_the_diagonal_are_at_their_positions():
    axis = Axis("", 0, 1)
    chart = line_chart("", axis, axis, [], [Whisker(1, 0, 1)], diagonal=True)
    assert chart.whiskers == [(WIDTH - RIGHT, HEIGHT - BOTTOM, TOP)]
    assert chart.reference == f"M{LEFT} {HEIGHT - BOTTOM}L{WIDTH - RIGHT} {TOP}"
