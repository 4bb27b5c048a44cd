"""The geometry of charts that a template draws as SVG: scales, ticks, lines. Pure: numbers in, positions out."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

# of the drawing, in its own units; about a pixel each where it is as wide as a column of the page
WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 46
_ABOUT_TICKS = 5


class Series(NamedTuple):
    """Values to draw as a line.

    Attributes:
        name: of the line.
        x: positions, ascending.
        y: a value for each; those that are no numbers are left out.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


class Axis(NamedTuple):
    """What an axis shows.

    Attributes:
        label: with the unit.
        low: where it begins.
        high: where it ends, above low.
        percent: whether values are parts of 1, to be labelled in percent.
    """

    label: str
    low: float
    high: float
    percent: bool = False


class Tick(NamedTuple):
    """A mark on an axis.

    Attributes:
        at: its position in the drawing.
        label: what it says.
    """

    at: float
    label: str


class Line(NamedTuple):
    """A line in the drawing.

    Attributes:
        name: see Series.
        path: the SVG path's data.
        points: (x, y) of each value.
    """

    name: str
    path: str
    points: tuple[tuple[float, float], ...]


class Whisker(NamedTuple):
    """A vertical interval at x, from low to high in the drawing."""

    x: float
    low: float
    high: float


class Chart(NamedTuple):
    """A chart, ready to be drawn.

    Attributes:
        title: what it shows.
        description: the same for those who do not see it.
        x: the horizontal axis and y the vertical one, with their ticks.
        lines: in order.
        whiskers: intervals of values.
        reference: a line to compare with, as a path; empty for none.
    """

    title: str
    description: str
    x: Axis
    x_ticks: tuple[Tick, ...]
    y: Axis
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    whiskers: tuple[Whisker, ...] = ()
    reference: str = ""


def line_chart(title: str, x: Axis, y: Axis, series: Iterable[Series]) -> Chart:
    """Lay out a chart of lines."""
    known = [_only_numbers(each) for each in series]
    said = "; ".join(_describe(each, x, y) for each in known if each.x)
    lines = tuple(_line(each, x, y) for each in known)
    return Chart(title, f"{title}. {said}.", x, _x_ticks(x), y, _y_ticks(y), lines)


def with_whiskers(chart: Chart, intervals: Iterable[tuple[float, float, float]]) -> Chart:
    """Add intervals (x, low, high), in the values of the axes."""
    drawn = (
        Whisker(_place_x(chart.x, at), _place_y(chart.y, low), _place_y(chart.y, high)) for at, low, high in intervals
    )
    return chart._replace(whiskers=tuple(drawn))


def with_diagonal(chart: Chart) -> Chart:
    """Add the line on which both axes say the same."""
    low, high = max(chart.x.low, chart.y.low), min(chart.x.high, chart.y.high)
    ends = [(_place_x(chart.x, value), _place_y(chart.y, value)) for value in (low, high)]
    return chart._replace(reference=_path(ends))


def spanning(label: str, values: Iterable[float], low: float | None = None) -> Axis:
    """Make an axis that holds all values and ends on round numbers.

    Args:
        label: with the unit.
        values: those that are no numbers are left out.
        low: where to begin; None for where the values do.
    """
    known = [value for value in values if isfinite(value)] or [0.0]
    bottom = min(known) if low is None else low
    top = max([*known, bottom])
    if top == bottom:
        top = bottom + (abs(bottom) or 1.0)
    step = _step(bottom, top)
    return Axis(label, floor(bottom / step) * step, ceil(top / step - 1e-9) * step)


def ticks(low: float, high: float) -> list[float]:
    """Return round values from low to high, about five."""
    step = _step(low, high)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def label_of(value: float, percent: bool) -> str:
    """Write a tick's value."""
    return f"{100 * value:.6g} %" if percent else f"{value:,.6g}"


def _step(low: float, high: float) -> float:
    rough = (high - low) / _ABOUT_TICKS
    power = 10.0 ** floor(log10(rough))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if rough <= step * (1 + 1e-9))


def _only_numbers(series: Series) -> Series:
    kept = [(x, y) for x, y in zip(series.x, series.y, strict=True) if isfinite(y)]
    return Series(series.name, [x for x, _ in kept], [y for _, y in kept])


def _describe(series: Series, x: Axis, y: Axis) -> str:
    first, last = (
        f"{label_of(series.y[end], y.percent)} at {label_of(series.x[end], x.percent)} ({x.label})" for end in (0, -1)
    )
    name = f"{series.name}: " if series.name else ""
    return f"{name}{y.label}, from {first} to {last}"


def _line(series: Series, x: Axis, y: Axis) -> Line:
    points = tuple((_place_x(x, at), _place_y(y, value)) for at, value in zip(series.x, series.y, strict=True))
    return Line(series.name, _path(points), points)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def _x_ticks(axis: Axis) -> tuple[Tick, ...]:
    return tuple(Tick(_place_x(axis, value), label_of(value, axis.percent)) for value in ticks(axis.low, axis.high))


def _y_ticks(axis: Axis) -> tuple[Tick, ...]:
    return tuple(Tick(_place_y(axis, value), label_of(value, axis.percent)) for value in ticks(axis.low, axis.high))


def _place_x(axis: Axis, value: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - axis.low) / (axis.high - axis.low), 1)


def _place_y(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - axis.low) / (axis.high - axis.low), 1)
