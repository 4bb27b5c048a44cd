"""Cron expressions in a time zone: when runs are due.

cronsim parses the expression and enumerates wall-clock times as Debian's cron does: if both day fields are restricted,
a day matches if either does; if one of them begins with `*`, both must match. Extensions (seconds, L, #) are refused.
The time zone is applied here, as cronsim misses hours where clocks change by half an hour. When the clocks change, an
expression that names hours (`30 2 * * *`) is due once for each wall-clock time: when the clock first shows it or, if
it jumps over it, at the jump. One whose hour field begins with `*` is due whenever the clock shows a matching time.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from model.errors import BadUsage

_SYNTAX = (
    "expected a name such as @daily, or minute (0-59), hour (0-23), day of month (1-31), month (1-12, jan-dec) and day "
    "of week (0-7, sun-sat), each *, a number, a range such as 1-5, a step such as */2 or 1-9/2, or a list of these"
)
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ITEM = r"(?:(?:\*|[0-9]{1,2}-[0-9]{1,2}|[a-z]{3}-[a-z]{3})(?:/0*[1-9][0-9]{0,3})?|[0-9]{1,2}|[a-z]{3})"
_FIELDS = re.compile(rf"{_ITEM}(?:,{_ITEM})*(?: {_ITEM}(?:,{_ITEM})*){{4}}")
_LEADING_ZERO = re.compile(r"\b0(?=[0-9])")
_SINGLE_VALUE_RANGE = re.compile(r"\b(\w+)-\1\b(?:/[0-9]+)?")
_CHANGE_NEARBY = timedelta(hours=3)  # clocks go back by two hours at most (Antarctica/Troll)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Timetable:
    """When runs are due; raises BadUsage if the expression is not standard or never due, or there is no such zone."""

    expression: str  # five cron fields, or a name such as @daily
    timezone: str = "UTC"  # the zone whose wall clock the expression is about

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (OSError, ValueError, KeyError) as problem:  # a folder, not a name, an unknown name
            raise BadUsage(
                f"there is no time zone {self.timezone}: names are such as UTC or Europe/Berlin"
            ) from problem
        try:
            next(CronSim(self._fields, datetime(2000, 1, 1)))
        except (CronSimError, StopIteration) as problem:
            reason = str(problem) or "it is never due"
            raise BadUsage(f'the cron expression "{self.expression}" cannot be used: {reason}; {_SYNTAX}') from None

    def after(self, moment: datetime) -> datetime:
        """Return the first due time later than a moment, in UTC."""
        shown = self._wall_clock(moment)
        later: list[datetime] = []
        # near a change of the clock, moments are not in the order of wall-clock times: search beyond the shown time
        for wall_time in CronSim(self._fields, shown - self._repeated_span(moment)):
            later += [due for due in self._moments_due(wall_time) if due > moment]
            if later and wall_time > shown:
                break
        return min(later)

    def latest(self, moment: datetime) -> datetime:
        """Return the last due time no later than a moment, in UTC."""
        shown = self._wall_clock(moment)
        earlier: list[datetime] = []
        for wall_time in CronSim(self._fields, shown + self._repeated_span(moment) + _MINUTE, reverse=True):
            earlier += [due for due in self._moments_due(wall_time) if due <= moment]
            if earlier and wall_time < shown:
                break
        return max(earlier)

    @cached_property
    def _fields(self) -> str:
        """The five fields of a standard expression in the form that cronsim reads as cron does."""
        text = " ".join(self.expression.lower().split())
        fields = _NAMED.get(text, text)
        if not _FIELDS.fullmatch(fields):
            raise BadUsage(f'the cron expression "{self.expression}" cannot be used: {_SYNTAX}')
        # cronsim reads 5-5/15 as 5-59/15
        return _SINGLE_VALUE_RANGE.sub(r"\1", _LEADING_ZERO.sub("", fields))

    def _moments_due(self, wall_time: datetime) -> list[datetime]:
        """Return the moments (UTC) at which a matching wall-clock time is due: none, one or two."""
        both = {wall_time.replace(tzinfo=ZoneInfo(self.timezone), fold=fold).astimezone(UTC) for fold in (0, 1)}
        shown = sorted(moment for moment in both if self._wall_clock(moment) == wall_time)
        is_wildcard_hour = self._fields.split()[1].startswith("*")
        return shown if is_wildcard_hour else shown[:1] or [self._end_of_gap(wall_time)]

    def _end_of_gap(self, wall_time: datetime) -> datetime:
        """Return the moment (UTC) at which the clock jumps over a wall-clock time."""
        skipped = wall_time.replace(tzinfo=ZoneInfo(self.timezone), fold=1)
        moment = skipped.astimezone(UTC)  # before the jump: see PEP 495
        while self._wall_clock(moment) < wall_time:
            moment += _MINUTE
        return moment

    def _repeated_span(self, moment: datetime) -> timedelta:
        """Return by how much the clock goes back near a moment: so many wall-clock times may be shown again."""
        before = self._wall_clock(moment - _CHANGE_NEARBY)
        after = self._wall_clock(moment + _CHANGE_NEARBY)
        return max(before + 2 * _CHANGE_NEARBY - after, timedelta())

    def _wall_clock(self, moment: datetime) -> datetime:
        """Return what the zone's clock shows at a moment, as a naive time."""
        return moment.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None, fold=0)
