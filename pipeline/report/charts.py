"""Compute the geometry of charts (axes, ticks, lines), which the template macro `chart` draws as SVG."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

# Size and margins in units of the SVG's viewBox, about a CSS pixel each. The template macro `chart` repeats them.
WIDTH = 440
HEIGHT = 270
LEFT = 58
RIGHT = 14
TOP = 12
BOTTOM = 46
_NUM_TICKS = 5  # about; ticks are at round values
_ROUNDING = 1e-9  # in steps: a bound that is this close to a round value counts as round


class Series(NamedTuple):
    """Values to draw as a line.

    Attributes:
        name: the name of the line; empty for the only one.
        x: ascending values on the horizontal axis.
        y: a value for each of x; NaN and infinities are left out.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


class Axis(NamedTuple):
    """The label and range of an axis.

    Attributes:
        label: the text, with the unit.
        low: the lower end.
        high: the upper end, greater than low.
        percent: whether values from 0 to 1 are labelled in percent.
    """

    label: str
    low: float
    high: float
    percent: bool = False


class Tick(NamedTuple):
    """A mark on an axis.

    Attributes:
        at: its position in the drawing.
        label: the value as text.
    """

    at: float
    label: str


class Line(NamedTuple):
    """A line in the drawing.

    Attributes:
        name: see Series.
        path: the data of an SVG path.
        points: the position (x, y) of each value.
    """

    name: str
    path: str
    points: tuple[tuple[float, float], ...]


class Whisker(NamedTuple):
    """A vertical error bar; the positions are those in the drawing."""

    x: float
    low: float
    high: float


class Chart(NamedTuple):
    """A chart with all positions computed.

    Attributes:
        title: the caption.
        description: a text alternative for screen readers.
        x: the horizontal axis.
        x_ticks: its ticks.
        y: the vertical axis.
        y_ticks: its ticks.
        lines: one for each series.
        whiskers: error bars.
        reference: the data of an SVG path to compare with; empty for none.
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
    """Return a chart with a line for each series."""
    finite = [_drop_non_finite(values) for values in series]
    description = "; ".join(_describe(values, x, y) for values in finite if values.x)
    lines = tuple(_line(values, x, y) for values in finite)
    return Chart(title, f"{title}. {description}.", x, _x_ticks(x), y, _y_ticks(y), lines)


def with_whiskers(chart: Chart, intervals: Iterable[tuple[float, float, float]]) -> Chart:
    """Add an error bar for each interval (x, low, high), given in values of the axes."""
    whiskers = (
        Whisker(_x_position(chart.x, at), _y_position(chart.y, low), _y_position(chart.y, high))
        for at, low, high in intervals
    )
    return chart._replace(whiskers=tuple(whiskers))


def with_diagonal(chart: Chart) -> Chart:
    """Add the line y = x as the reference."""
    low = max(chart.x.low, chart.y.low)
    high = min(chart.x.high, chart.y.high)
    ends = [(_x_position(chart.x, value), _y_position(chart.y, value)) for value in (low, high)]
    return chart._replace(reference=_path(ends))


def fit_axis(label: str, values: Iterable[float], low: float | None = None) -> Axis:
    """Return an axis whose range contains all values and ends at round numbers.

    Args:
        label: the text, with the unit.
        values: the values; NaN and infinities are left out.
        low: the lower end; None for the smallest value.
    """
    finite = [value for value in values if isfinite(value)] or [0.0]
    bottom = min(finite) if low is None else low
    top = max([*finite, bottom])
    if top == bottom:
        top = bottom + (abs(bottom) or 1.0)  # a range of zero length has no scale
    step = _step(bottom, top)
    return Axis(label, floor(bottom / step) * step, ceil(top / step - _ROUNDING) * step)


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


def _drop_non_finite(series: Series) -> Series:
    pairs = [(x, y) for x, y in zip(series.x, series.y, strict=True) if isfinite(y)]
    return Series(series.name, [x for x, _ in pairs], [y for _, y in pairs])


def _describe(series: Series, x: Axis, y: Axis) -> str:
    first, last = (f"{_label(y, series.y[end])} at {_label(x, series.x[end])} ({x.label})" for end in (0, -1))
    name = f"{series.name}: " if series.name else ""
    return f"{name}{y.label}, from {first} to {last}"


def _label(axis: Axis, value: float) -> str:
    return f"{100 * value:.6g} %" if axis.percent else f"{value:,.6g}"


def _line(series: Series, x: Axis, y: Axis) -> Line:
    points = tuple((_x_position(x, at), _y_position(y, value)) for at, value in zip(series.x, series.y, strict=True))
    return Line(series.name, _path(points), points)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def _x_ticks(axis: Axis) -> tuple[Tick, ...]:
    return tuple(Tick(_x_position(axis, value), _label(axis, value)) for value in ticks(axis.low, axis.high))


def _y_ticks(axis: Axis) -> tuple[Tick, ...]:
    return tuple(Tick(_y_position(axis, value), _label(axis, value)) for value in ticks(axis.low, axis.high))


def _x_position(axis: Axis, value: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - axis.low) / (axis.high - axis.low), 1)


def _y_position(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - axis.low) / (axis.high - axis.low), 1)
