"""Due times of cron expressions, compared with examples and with an independent implementation."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from model.errors import BadUsage
from pipeline.schedule.timetable import Timetable
from tests.pipeline.schedule.cron_oracle import ZONES, Oracle, random_expression, random_start

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
NUM_MINUTES = 30 * 60


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


def check_against_oracle(random: Random, zone: str) -> int:
    """Compare the due times of more than a day with the oracle's; return how many there are."""
    expression = random_expression(random)
    start = random_start(random, zone)
    end = start + timedelta(minutes=NUM_MINUTES)
    expected = Oracle(expression).due_times(zone, start, NUM_MINUTES)
    try:
        table = Timetable(expression, zone)
    except BadUsage:
        assert not expected, (expression, zone)
        return 0
    found = [table.after(start)]
    while len(found) < 100 and found[-1] <= end:
        found.append(table.after(found[-1]))
    assert [due for due in found if due <= end] == expected[:100], (expression, zone, start)
    for _ in range(4):
        moment = random.choice([start, *expected]) + timedelta(minutes=random.choice((0, 1, 40, 65)))
        if moment > end:
            continue
        earlier = [due for due in expected if due <= moment]
        latest = table.latest(moment)
        assert (latest == earlier[-1]) if earlier else (latest <= start), (expression, zone, moment)
        between = moment + timedelta(seconds=random.randint(1, 59))
        assert table.after(between) == table.after(moment), (expression, zone, between)
    return len(expected)


@pytest.mark.parametrize("count", [15, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("zone", ZONES)
def test_due_times_equal_those_of_the_oracle(zone, count):
    random = Random(zone)
    counts = [check_against_oracle(random, zone) for _ in range(count)]
    assert sum(number > 0 for number in counts) > count // 6


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
