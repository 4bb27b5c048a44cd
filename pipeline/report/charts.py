"""Compute the geometry of charts (axes, ticks, lines), which the template macro `chart` draws as SVG."""

from collections.abc import Iterable, Sequence
from itertools import compress
from math import ceil, floor, isfinite, log10
from typing import Any, NamedTuple

# Size and margins in units of the SVG's viewBox, about a CSS pixel each. The template macro `chart` repeats them.
WIDTH = 440
HEIGHT = 270
LEFT = 58
RIGHT = 14
TOP = 12
BOTTOM = 46
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MAX_POWERS = 8  # of ten, on an axis of them
_NUM_TICKS = 5  # about; ticks are at round values
_ROUNDING = 1e-9  # in steps: a bound that is this close to a round value counts as round


class Series(NamedTuple):
    """Values to draw as a line; those that are NaN or infinite are left out."""

    name: str  # of the line; empty for the only one
    x: Sequence[float]  # ascending
    y: Sequence[float]


class Axis(NamedTuple):
    """The label, with the unit, and the range of an axis."""

    label: str
    low: float
    high: float
    percent: bool = False  # label values from 0 to 1 in percent
    is_power: bool = False  # values are exponents: label them as powers of ten


class Tick(NamedTuple):
    """A mark on an axis: its position in the drawing, and the value as text."""

    at: float
    label: str


class Line(NamedTuple):
    """A line in the drawing: the data of an SVG path, and its points."""

    path: str
    points: list[tuple[float, float]]


class Whisker(NamedTuple):
    """A vertical error bar: in the drawing, or before in values of the axes."""

    x: float
    low: float
    high: float


class Chart(NamedTuple):
    """A chart with all positions computed."""

    title: str
    description: str  # for screen readers
    x: Axis
    x_ticks: list[Tick]
    y: Axis
    y_ticks: list[Tick]
    lines: list[Line]
    whiskers: list[Whisker]
    reference: str  # the data of an SVG path to compare with; empty for none
    explored: dict[str, Any] | None = None  # what the script of the page needs to show values and a part of the lines
    bands: tuple[str, ...] = ()  # the data of an SVG path around each area, the widest first


def line_chart(
    title: str, x: Axis, y: Axis, series: Iterable[Series], whiskers: Iterable[Whisker] = (), diagonal: bool = False
) -> Chart:
    """Return a chart with a line for each series, with error bars, and with a line between opposite corners or not."""
    finite = [_drop_non_finite(values) for values in series]
    description = "; ".join(_describe(values, x, y) for values in finite if values.x)
    corners = [(_x_position(x, x.low), _y_position(y, y.low)), (_x_position(x, x.high), _y_position(y, y.high))]
    return Chart(
        title=title,
        description=f"{title}. {description}.",
        x=x,
        x_ticks=[Tick(_x_position(x, value), _label(x, value)) for value in ticks(x.low, x.high)],
        y=y,
        y_ticks=[Tick(_y_position(y, value), _label(y, value)) for value in ticks(y.low, y.high)],
        lines=[_draw_line(values, x, y) for values in finite],
        whiskers=[Whisker(_x_position(x, at), _y_position(y, low), _y_position(y, high)) for at, low, high in whiskers],
        reference=_path(corners) if diagonal else "",
    )


def add_values(chart: Chart, series: Iterable[Series], said: str) -> Chart:
    """Return a chart of series with their values, for `curve.js`; it says a value in place of {} in `said`."""
    finite = [_drop_non_finite(values) for values in series]
    explored = {
        "lines": [list(zip(values.x, values.y, strict=True)) for values in finite],
        "x": chart.x._asdict(),
        "y": chart.y._asdict(),
        "said": said,
    }
    return chart._replace(explored=explored)


def fit_axis(label: str, values: Iterable[float]) -> Axis:
    """Return an axis between round numbers, one of them 0 or on the other side of it, that holds all finite values."""
    finite = list(filter(isfinite, values))
    low = min([0.0, *finite])
    high = max([0.0, *finite])
    if low == high:
        high = 1.0  # a range of length 0 has no scale
    step = _step(low, high)
    return Axis(label, floor(low / step + _ROUNDING) * step, ceil(high / step - _ROUNDING) * step)


def fit_power_axis(label: str, values: Iterable[float]) -> Axis:
    """Return an axis of powers of ten that holds the largest of values from 0 on, and the smallest if it may.

    The axis has at least three powers of ten, so that its ticks are at whole ones, and at most MAX_POWERS.
    """
    positive = [value for value in values if isfinite(value) and value > 0] or [1.0]
    high = ceil(log10(max(positive)))
    low = max(floor(log10(min(positive))), high - MAX_POWERS)
    return Axis(label, min(low, high - 3), high, is_power=True)


def fan_chart(title: str, x: Axis, y: Axis, at: Sequence[float], quantiles: Sequence[Sequence[float]]) -> Chart:
    """Return a chart of a distribution along x: its median as a line, and an area between each two other quantiles.

    `quantiles` has for each place an odd number of values, ascending. On an axis of powers of ten, what is below the
    axis is drawn at its lower end.
    """
    columns = [[_on_axis(y, value) for value in column] for column in zip(*quantiles, strict=True)]
    middle = len(columns) // 2
    chart = line_chart(title, x, y, [Series("median", at, columns[middle])])
    pairs = [(columns[number], columns[-1 - number]) for number in range(middle)]
    return chart._replace(bands=tuple(_draw_band(x, y, at, low, high) for low, high in pairs))


def ticks(low: float, high: float) -> list[float]:
    """Return about five round values from low to high."""
    step = _step(low, high)
    first = ceil(low / step - _ROUNDING)
    last = floor(high / step + _ROUNDING)
    return [number * step for number in range(first, last + 1)]


def _step(low: float, high: float) -> float:
    """Return the distance of ticks: 1, 2 or 5 times a power of ten."""
    exact = (high - low) / _NUM_TICKS
    power = 10.0 ** floor(log10(exact))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if exact <= step * (1 + _ROUNDING))


def _on_axis(axis: Axis, value: float) -> float:
    """Return a value in the numbers of an axis: on one of powers of ten its exponent, the lower end if it is less."""
    if not axis.is_power:
        return value
    return max(axis.low, log10(value)) if value > 0 else axis.low


def _draw_band(x: Axis, y: Axis, at: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    there = [(_x_position(x, place), _y_position(y, value)) for place, value in zip(at, high, strict=True)]
    back = [(_x_position(x, place), _y_position(y, value)) for place, value in zip(at, low, strict=True)]
    return f"{_path([*there, *reversed(back)])}Z"


def _drop_non_finite(series: Series) -> Series:
    finite = [isfinite(y) for y in series.y]
    return Series(series.name, list(compress(series.x, finite)), list(compress(series.y, finite)))


def _describe(series: Series, x: Axis, y: Axis) -> str:
    first = f"{_label(y, series.y[0])} at {_label(x, series.x[0])} ({x.label})"
    last = f"{_label(y, series.y[-1])} at {_label(x, series.x[-1])} ({x.label})"
    name = f"{series.name}: " if series.name else ""
    return f"{name}{y.label}, from {first} to {last}"


def _label(axis: Axis, value: float) -> str:
    if axis.is_power:
        return "10" + f"{value:.0f}".translate(_RAISED) if value == round(value) else f"{10**value:.2g}"
    return f"{100 * value:.6g} %" if axis.percent else f"{value:,.6g}"


def _draw_line(series: Series, x: Axis, y: Axis) -> Line:
    points = [(_x_position(x, at), _y_position(y, value)) for at, value in zip(series.x, series.y, strict=True)]
    return Line(_path(points), points)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def _x_position(axis: Axis, value: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - axis.low) / (axis.high - axis.low), 1)


def _y_position(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - axis.low) / (axis.high - axis.low), 1)
