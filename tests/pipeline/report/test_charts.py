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
    fit_axis,
    line_chart,
    ticks,
)

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
    assert fit_axis("", [0.013, nan, 0.19])[1:] == (0, 0.2, False)
    assert fit_axis("", [])[1:] == (0, 1, False)


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
