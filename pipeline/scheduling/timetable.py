"""A cron expression in a time zone -> the moments that are due. Pure.

croniter (MIT, kept by the Pallets community; 7.0 is of November 2026) reads the expression and walks through
readings of a wall clock; the zone is applied here. Its own walk in a zone fires 02:30 twice when clocks go back. Of the
others, APScheduler 3's trigger counts weekdays from Monday as 0, and wants day of month *and* of week to match where
cron takes either; cronsim leaves out hours where clocks change by half an hour (Lord Howe).

When clocks change, as Debian's cron does:

* an expression that names hours (`30 2 * * *`) is due once for each reading: the first time the clock shows it, or, if
  it never does, at the moment at which the clock jumps over it;
* one whose hour is a wildcard (`30 * * * *`, `0 */2 * * *`) is due whenever the clock shows a reading: both times in
  the hour that is repeated, and never for one that is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from croniter import croniter

from model.errors import BadUsage

MOST_COUNTED = 1000  # due times that were missed
_LONGEST_CHANGE = timedelta(hours=3)  # of clocks: one or two hours ever since there are such changes
_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366), timedelta(days=3660))
_AT_RANDOM = re.compile(r"\b[rh]\b")
_SOME_DAY = datetime(2000, 1, 1)


@dataclass(frozen=True)
class Timetable:
    """When work is due.

    Attributes:
        expression: of cron: five fields, or a name such as @daily.
        timezone: the name of the zone whose wall clock it is about.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        _check_expression(self.expression)
        _find_zone(self.timezone)

    def __str__(self) -> str:
        return f'"{self.expression}" ({self.timezone})'

    def after(self, moment: datetime) -> datetime:
        """Return the first moment that is due later than another, in UTC."""
        return self._shown_after(moment) if self._every_hour else self._named_after(moment)

    def latest(self, since: datetime, now: datetime) -> datetime | None:
        """Return the last moment that is due, later than `since` and no later than `now`; None if there is none."""
        for span in _LOOK_BACK:  # from the end, for there may be a minute's due times of years
            start = max(since, now - span)
            found = self.between(start, now)
            last = next(found, None)
            if last or start == since:
                return max(found, default=last)
        return None

    def between(self, since: datetime, now: datetime) -> Iterator[datetime]:
        """Yield the moments that are due, later than `since` and no later than `now`, in order."""
        due = self.after(since)
        while due <= now:
            yield due
            due = self.after(due)

    def count(self, since: datetime, now: datetime) -> int:
        """Count the moments that are due, later than `since` and no later than `now`, up to MOST_COUNTED."""
        return sum(1 for _, _ in zip(range(MOST_COUNTED), self.between(since, now), strict=False))

    @cached_property
    def _zone(self) -> ZoneInfo:
        return _find_zone(self.timezone)

    @cached_property
    def _every_hour(self) -> bool:
        hour: str = croniter(self.expression, _SOME_DAY).expressions[1]
        return hour.startswith(("*", "?"))

    def _readings(self, start: datetime) -> Iterator[datetime]:
        """Yield what the wall clock shows when work is due, later than a reading, without regard to changes."""
        walk = croniter(self.expression, start.replace(second=0, microsecond=0))
        while True:
            yield walk.get_next(datetime)

    def _named_after(self, moment: datetime) -> datetime:
        """Each reading once. The moments of readings come in their order, so the search may begin at what is shown."""
        for reading in self._readings(self._wall(moment)):
            due = self._first_moment(reading)
            if due > moment:
                return due
        raise BadUsage(f"the cron expression {self} is never due again")  # pragma: no cover - readings have no end

    def _shown_after(self, moment: datetime) -> datetime:
        """Each moment at which a reading is shown. Near to where clocks go back, earlier readings may come again."""
        wall, found = self._wall(moment), list[datetime]()
        near = self._offset(moment - _LONGEST_CHANGE) > self._offset(moment + _LONGEST_CHANGE)
        for reading in self._readings(wall - _LONGEST_CHANGE if near else wall):
            found += [due for due in self._moments(reading) if due > moment]
            if found and reading > wall:
                break
        return min(found)

    def _moments(self, reading: datetime) -> list[datetime]:
        """Return the moments at which the clock shows a reading: none, one or two."""
        both = {reading.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return sorted(moment for moment in both if self._wall(moment) == reading)

    def _first_moment(self, reading: datetime) -> datetime:
        shown = self._moments(reading)
        return shown[0] if shown else self._end_of_gap(reading)

    def _end_of_gap(self, reading: datetime) -> datetime:
        """Return the moment at which the clock jumps over a reading: by bisection, to the second."""
        before, after = (reading.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (1, 0))
        while after - before > timedelta(seconds=1):
            middle = (before + (after - before) / 2).replace(microsecond=0)
            before, after = (middle, after) if self._wall(middle) < reading else (before, middle)
        return after

    def _wall(self, moment: datetime) -> datetime:
        """Return what the wall clock shows at a moment, as a naive time."""
        return moment.astimezone(self._zone).replace(tzinfo=None, fold=0)

    def _offset(self, moment: datetime) -> timedelta:
        return self._wall(moment) - moment.astimezone(UTC).replace(tzinfo=None)


def _check_expression(expression: str) -> None:
    """Raise BadUsage unless an expression is one of cron, and due at some time."""
    fields = expression.split()
    try:
        if len(fields) != 5 and not (len(fields) == 1 and expression.strip().startswith("@")):
            raise ValueError("it has five fields: minute, hour, day of month, month, day of week")
        if _AT_RANDOM.search(expression.lower()):
            raise ValueError("`r` and `h` are no times; --jitter spreads runs")
        croniter(expression, _SOME_DAY).get_next(datetime)
    except (ValueError, KeyError) as problem:
        raise BadUsage(f'the cron expression "{expression}" cannot be used: {problem}') from problem


def _find_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as problem:  # of folders, of what is no name, of unknown names
        raise BadUsage(f"there is no time zone {name}: names are such as UTC or Europe/Berlin") from problem
