"""An independent and slow implementation of cron: compare every minute of the zone's clock with every field."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",  # changes at midnight
    "America/Havana",  # changes at midnight and one o'clock
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",  # winter time is in Ramadan
    "Antarctica/Troll",  # changes by two hours
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Chatham",  # changes at a quarter to three
)
MINUTE = timedelta(minutes=1)


@cache
def clock_changes(zone: str) -> list[datetime]:
    """Return the hours of 2027 and 2028 in which the zone's offset changes; a leap day if it never does."""
    hours = [datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(2 * 365 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    changes = [hour for hour, (before, after) in zip(hours, pairwise(offsets), strict=False) if before != after]
    return changes or [datetime(2028, 2, 29, tzinfo=UTC)]


def matches_field(field: str, value: int, lowest: int, highest: int) -> bool:
    for item in field.split(","):
        values, _, step = item.partition("/")
        low, _, high = f"{lowest}-{highest}".partition("-") if values == "*" else values.partition("-")
        if int(low) <= value <= int(high or low) and (value - int(low)) % int(step or 1) == 0:
            return True
    return False


class Oracle:
    """Tells which minutes match the five fields of an expression."""

    def __init__(self, expression: str) -> None:
        self.minute, self.hour, self.day, self.month, self.weekday = expression.split()
        self.minutes = {value for value in range(60) if matches_field(self.minute, value, 0, 59)}
        self.hours = {value for value in range(24) if matches_field(self.hour, value, 0, 23)}
        self.is_wildcard = self.hour[0] == "*"
        self.day_matches = cache(self._day_matches)

    def _day_matches(self, month: int, day: int, weekday: int) -> bool:
        if not matches_field(self.month, month, 1, 12):
            return False
        by_day = matches_field(self.day, day, 1, 31)
        by_weekday = any(matches_field(self.weekday, value, 0, 7) for value in {weekday, weekday % 7})
        if self.day[0] == "*" or self.weekday[0] == "*":
            return by_day and by_weekday
        return by_day or by_weekday

    def matches(self, shown: datetime) -> bool:
        if shown.minute not in self.minutes or shown.hour not in self.hours:
            return False
        return self.day_matches(shown.month, shown.day, shown.isoweekday())

    def due_times(self, zone: str, start: datetime, num_minutes: int) -> list[datetime]:
        """Return the due times in the num_minutes after `start`."""
        due = []
        earlier: set[datetime] = set()
        for moment, passed in clock_by_minute(zone, start - timedelta(hours=4), num_minutes + 240):
            # with a wildcard hour only shown times are due; with named hours skipped ones too, but each time once
            times = passed[:1] if self.is_wildcard else [each for each in passed if each not in earlier]
            matching = [each for each in times if self.matches(each)]
            if matching and moment > start:
                due.append(moment)
            earlier.update(matching)
        return due


@cache
def clock_by_minute(zone: str, start: datetime, num_minutes: int) -> list[tuple[datetime, list[datetime]]]:
    """Return each minute with the time that the clock shows, followed by the times skipped since the last minute."""
    minutes = []
    before = None
    for minute in range(num_minutes + 1):
        moment = start + minute * MINUTE
        shown = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        passed = [shown]
        while before and passed[-1] - before > MINUTE:
            passed.append(passed[-1] - MINUTE)
        minutes.append((moment, passed))
        before = shown
    return minutes


def random_item(random: Random, low: int, high: int) -> str:
    """Return a value, a range (often of one value), or a step."""
    first, last = sorted(random.randint(low, high) for _ in range(2))
    step = random.choice((1, 2, 3, 5, 7, 10, 15, 70))
    items = (f"{first}", f"{first}-{last}", f"{first}-{first}", f"{first}-{last}/{step}", f"{first}-{first}/{step}")
    return random.choice((f"{first}", *items, f"*/{step}"))


def random_field(random: Random, low: int, high: int, star: float) -> str:
    if random.random() < star:
        return "*"
    return ",".join(random_item(random, low, high) for _ in range(random.choice((1, 1, 2, 3))))


def random_expression(random: Random) -> str:
    last_hour = random.choice((4, 4, 23))  # clocks change at night
    fields = ((0, 59, 0.1), (0, last_hour, 0.3), (1, 31, 0.5), (1, 12, 0.7), (0, 7, 0.5))
    return " ".join(random_field(random, *field) for field in fields)


def random_start(random: Random, zone: str) -> datetime:
    """Return a moment up to a day before or half an hour after a change of the zone's clock."""
    change = random.choice(clock_changes(zone))
    return change - timedelta(minutes=random.choice((1440, 60, 30, -30)))
