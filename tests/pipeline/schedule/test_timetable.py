"""Due times of cron expressions, compared with examples and with each other."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from model.errors import BadUsage
from pipeline.schedule.timetable import Timetable

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def next_due(expression: str, count: int = 3, zone: str = "UTC", start: datetime = NOON) -> list[str]:
    """Return the wall-clock times and offsets of the due times after a moment."""
    table = Timetable(expression, zone)
    due = [table.after(start)]
    while len(due) < count:
        due.append(table.after(due[-1]))
    return [each.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %z") for each in due]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 3 1-1 * *", ["02-01 03:00", "03-01 03:00"]),
        ("30 2-2 * * *", ["01-16 02:30", "01-17 02:30"]),
        ("0 0 * * mon-mon", ["01-19 00:00", "01-26 00:00"]),
        ("0 2-2,4 * * *", ["01-16 02:00", "01-16 04:00"]),
        ("05-5/15 3 * * *", ["01-16 03:05", "01-17 03:05"]),
        ("0 0 * * 7-7", ["01-18 00:00", "01-25 00:00"]),
        ("0 0 * * 5-7/2", ["01-16 00:00", "01-18 00:00"]),
        ("0 0 20 * fri", ["01-16 00:00", "01-20 00:00"]),  # either day field
        ("0 0 */10 * thu", ["05-21 00:00", "06-11 00:00"]),  # both, as one begins with *
        ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00"]),
        ("0 0 1 feb,jul-aug *", ["02-01 00:00", "07-01 00:00"]),
        ("@Monthly", ["02-01 00:00", "03-01 00:00"]),
    ],
)
def test_fields_are_interpreted_as_by_cron(expression, expected):
    assert next_due(expression, 2) == [f"{each} +0000" for each in expected]


@pytest.mark.parametrize(
    ("zone", "start", "expression", "expected"),
    [
        ("Europe/Berlin", (2026, 3, 28, 12), "15 2 * * *", ["03-29 03:00 +0200", "03-30 02:15 +0200"]),
        ("Europe/Berlin", (2026, 3, 28, 12), "*/10 2,3 * * *", ["03-29 03:00 +0200", "03-29 03:10 +0200"]),
        ("Europe/Berlin", (2026, 10, 24, 12), "30 2 * * *", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        ("Europe/Berlin", (2026, 10, 25), "30 * * * *", ["10-25 02:30 +0200", "10-25 02:30 +0100"]),
        ("Australia/Lord_Howe", (2026, 10, 3, 12), "15 2 * * *", ["10-04 02:30 +1100", "10-05 02:15 +1100"]),
        ("Australia/Lord_Howe", (2026, 4, 4, 14, 30), "45 * * * *", ["04-05 01:45 +1100", "04-05 01:45 +1030"]),
    ],
)
def test_changes_of_the_clock_are_handled_as_documented(zone, start, expression, expected):
    assert next_due(expression, 2, zone, datetime(*start, tzinfo=UTC)) == expected


def test_the_latest_due_time_may_be_in_the_first_of_two_repeated_hours():
    second_ten_past_two = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    due = Timetable("30 * * * *", "Europe/Berlin").latest(second_ten_past_two)
    assert due == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the first half past two


@pytest.mark.parametrize("expression", ["*/30 * * * *", "45 */2 * * *", "0,15,30 0-3 * * *", "20 2 * * *"])
@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("America/Santiago", datetime(2025, 4, 6, 3, tzinfo=UTC)),  # back at midnight
        ("America/Santiago", datetime(2025, 9, 7, 4, tzinfo=UTC)),  # forward at midnight
        ("America/Havana", datetime(2025, 11, 2, 5, tzinfo=UTC)),  # back at one o'clock
        ("Antarctica/Troll", datetime(2025, 3, 30, 1, tzinfo=UTC)),  # forward by two hours
        ("Antarctica/Troll", datetime(2025, 10, 26, 1, tzinfo=UTC)),  # back by two hours
        ("Australia/Lord_Howe", datetime(2025, 4, 5, 15, tzinfo=UTC)),  # back by half an hour
        ("Pacific/Chatham", datetime(2025, 9, 27, 14, tzinfo=UTC)),  # forward at a quarter to three
    ],
)
def test_due_times_near_a_change_of_the_clock_are_those_of_each_minute(zone, change, expression):
    """The times that the clock shows or jumps over in a minute, compared with those of the expression in UTC."""
    matching = set()
    table = Timetable(expression)
    shown_first = (change - timedelta(hours=30)).astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
    due = table.after(shown_first - timedelta(minutes=1))
    while due < shown_first + timedelta(hours=60):
        matching.add(due.replace(tzinfo=None))
        due = table.after(due)
    expected, seen, before = [], set(), None
    for minute in range(-1800, 1440):
        moment = change + timedelta(minutes=minute)
        shown = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        passed = {shown}
        while before and "*" not in expression.split()[1] and max(shown - before, timedelta()) > timedelta(minutes=1):
            before += timedelta(minutes=1)
            passed.add(before)
        is_due = matching & (passed if "*" in expression.split()[1] else passed - seen)
        expected += [moment] if is_due and minute > -1440 else []
        seen |= passed
        before = shown
    table = Timetable(expression, zone)
    found = [table.after(change - timedelta(minutes=1440))]
    while len(found) < len(expected):
        found.append(table.after(found[-1]))
        assert table.after(found[-2] + timedelta(seconds=1)) == found[-1]
    assert found == expected
    for earlier, later in pairwise(expected):
        for moment in (earlier, earlier + 0.75 * (later - earlier), later - timedelta(seconds=1)):
            assert table.latest(moment) == earlier


@pytest.mark.parametrize(
    "expression",
    [
        *("", "0 3 * *", "* * * * * *", "0 3 1 * * 2026", "61 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 * 13 *"),
        *("0 0 * * 8", "0 0 30 2 *", "0 0 31 2,4 *", "*/0 * * * *", "0 3 1-1/0 * *", "0 3 * * sun-sun/00"),
        *("5/15 * * * *", "0 5-2 * * *", "0 0 * * sat-sun"),
        *("0 0 L * *", "0 0 15W * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * 1#2", "0 0 ? * *", "r 3 * * *", "h 3 * * *"),
        *("H(0-9) 3 * * *", "@reboot", "@daily 3", "0 0 mon * *", "0 0 * * monday", "-1 * * * *", "1,,2 * * * *"),
        *("\u0663 3 * * *", "0 3 * * *;", "1-2-3 * * * *", "*-5 * * * *", f"{'9' * 5000} * * * *"),
    ],
)
def test_nonstandard_expressions_are_rejected(expression):
    with pytest.raises(BadUsage, match=r"(?s)cron expression .* cannot be used: .*expected a name such as @daily"):
        Timetable(expression)


@pytest.mark.parametrize("zone", ["", "Europe", "Europe/Atlantis", "../etc/passwd", "/etc/passwd"])
def test_unknown_time_zones_are_rejected(zone):
    with pytest.raises(BadUsage, match="no time zone"):
        Timetable("@daily", zone)
