from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BadUsage
from pipeline.scheduling.timetable import MOST_COUNTED, Timetable

# a day before clocks change, in each direction, by an hour and by half an hour
SPRING = {"Europe/Berlin": (2026, 3, 28), "America/New_York": (2026, 3, 7), "Australia/Lord_Howe": (2026, 10, 3)}
AUTUMN = {"Europe/Berlin": (2026, 10, 24), "America/New_York": (2026, 10, 31), "Australia/Lord_Howe": (2026, 4, 4)}


def shown(expression: str, zone: str, day: tuple[int, int, int], num_hours: int = 60) -> list[str]:
    """What the clock shows at each due time from noon of a day on, with its offset."""
    start = datetime(*day, 12, tzinfo=ZoneInfo(zone))
    due = Timetable(expression, zone).between(start, start.astimezone(UTC) + timedelta(hours=num_hours))
    return [each.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z") for each in due]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Europe/Berlin", ["29 03:00 +0200", "30 02:15 +0200"]),
        ("America/New_York", ["08 03:00 -0400", "09 02:15 -0400"]),
        ("Australia/Lord_Howe", ["04 02:30 +1100", "05 02:15 +1100"]),
    ],
)
def test_a_time_that_the_clock_jumps_over_is_due_once_at_the_jump(zone, expected):
    assert shown("15 2 * * *", zone, SPRING[zone])[:2] == expected


@pytest.mark.parametrize(
    ("zone", "expression", "expected"),
    [
        ("Europe/Berlin", "30 2 * * *", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("America/New_York", "30 1 * * *", ["01 01:30 -0400", "02 01:30 -0500"]),
        ("Australia/Lord_Howe", "45 1 * * *", ["05 01:45 +1100", "06 01:45 +1030"]),
    ],
)
def test_a_time_that_the_clock_shows_twice_is_due_once_at_the_first(zone, expression, expected):
    assert shown(expression, zone, AUTUMN[zone])[:2] == expected


def test_what_falls_on_one_moment_is_due_once():
    assert shown("*/10 2,3 * * *", "Europe/Berlin", SPRING["Europe/Berlin"], 20)[:2] == [
        "29 03:00 +0200",
        "29 03:10 +0200",
    ]


@pytest.mark.parametrize("zone", SPRING)
@pytest.mark.parametrize("days", [SPRING, AUTUMN])
def test_every_hour_is_an_hour_apart_whatever_clocks_do(zone, days):
    due = list(
        Timetable("0 * * * *", zone).between(
            datetime(*days[zone], tzinfo=UTC), datetime(*days[zone], tzinfo=UTC) + timedelta(days=3)
        )
    )
    gaps = {later - earlier for earlier, later in pairwise(due)}
    half_hours = {timedelta(minutes=30), timedelta(minutes=90)} if zone == "Australia/Lord_Howe" else set()
    assert gaps <= {timedelta(hours=1), *half_hours}


def test_the_last_due_time_is_found_over_years_of_minutes():
    table, now = Timetable("* * * * *"), datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    since = datetime(2016, 1, 1, tzinfo=UTC)
    assert table.latest(since, now) == datetime(2026, 1, 1, tzinfo=UTC)
    assert table.count(since, now) == MOST_COUNTED
    assert table.latest(now, now) is None


def test_the_last_due_time_of_a_rare_day_is_found():
    table = Timetable("0 0 29 2 *")
    assert table.latest(datetime(2000, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)) == datetime(
        2024, 2, 29, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "expression", ["", "0 3 * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "r 3 * * *", "@reboot"]
)
def test_an_expression_that_cannot_be_used_is_refused(expression):
    with pytest.raises(BadUsage, match=r"cron expression .* cannot be used"):
        Timetable(expression)


@pytest.mark.parametrize("zone", ["", "Europe", "Europe/Atlantis", "../etc/passwd", "/etc/passwd"])
def test_a_zone_that_does_not_exist_is_refused(zone):
    with pytest.raises(BadUsage, match="no time zone"):
        Timetable("@daily", zone)


ZONES = ["UTC", *SPRING, "Africa/Casablanca", "America/Havana", "Africa/Cairo", "America/St_Johns"]
numbers = st.integers(0, 59)


@st.composite
def questions(draw):
    """Minutes, hours (None for every one), a zone, and a moment near to where its clocks may change."""
    minutes = draw(st.sets(numbers, min_size=1, max_size=4))
    hours = draw(st.none() | st.sets(st.sampled_from([0, 1, 2, 3, 23, 12]), min_size=1, max_size=3))
    zone = draw(st.sampled_from(ZONES))
    near = draw(st.sampled_from(CHANGES[zone] or [datetime(2026, 5, 1, tzinfo=UTC)]))
    return minutes, hours, zone, near - timedelta(minutes=draw(st.integers(0, 1500)))


def changes(zone: str) -> list[datetime]:
    """The hours of 2026 in which the offset of a zone changes."""
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(8760)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hours[number] for number in range(1, 8760) if offsets[number] != offsets[number - 1]]


CHANGES = {zone: changes(zone) for zone in ZONES}


def watch_the_clock(minutes, hours, zone, start, num_minutes):
    """Find the due times by looking at a clock each minute: what it shows, and what it jumped over."""
    due, seen, earlier = [], set(), None
    for number in range(-1500, num_minutes + 1):
        moment = start + timedelta(minutes=number)
        now = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        passed = [now]
        while hours is not None and earlier and passed[-1] - earlier > timedelta(minutes=1):
            passed.append(passed[-1] - timedelta(minutes=1))
        fits = [each for each in passed if each.minute in minutes and (hours is None or each.hour in hours)]
        if number > 0 and (fits if hours is None else set(fits) - seen):
            due.append(moment)
        seen |= set(fits)
        earlier = now
    return due


@settings(max_examples=150)
@given(questions())
def test_due_times_are_those_of_somebody_who_watches_the_clock(question):
    minutes, hours, zone, start = question
    hour = "*" if hours is None else ",".join(map(str, sorted(hours)))
    table = Timetable(f"{','.join(map(str, sorted(minutes)))} {hour} * * *", zone)
    found = list(table.between(start, start + timedelta(minutes=2000)))
    assert found == watch_the_clock(minutes, hours, zone, start, 2000)
    assert all(earlier < later for earlier, later in pairwise(found))
    assert table.latest(start, start + timedelta(minutes=2000)) == (found[-1] if found else None)


days = st.sampled_from(
    ["* * *", "1 * *", "L * *", "13-15 3 *", "* 10 mon-fri", "28 feb *", "1 * 0", "* * 1#2", "31 3 7"]
)
minutes_and_hours = st.tuples(
    st.sampled_from(["0", "*/7", "59", "5,35", "10-20/5", "*"]), st.sampled_from(["*", "*/5", "2", "1-3", "0,23"])
)


@settings(max_examples=100)
@given(minutes_and_hours, days, st.sampled_from(ZONES), st.integers(0, 60 * 24 * 365 * 60), st.integers(0, 59))
def test_due_times_increase_and_asking_from_between_them_changes_nothing(times, day, zone, minute, second):
    table, start = Timetable(f"{' '.join(times)} {day}", zone), datetime(2000, 1, 1, tzinfo=UTC)
    start += timedelta(minutes=minute, seconds=second)
    due = [table.after(start)]
    while len(due) < 5:
        due.append(table.after(due[-1]))
    pairs = list(pairwise(due))
    assert start < due[0]
    assert all(earlier < later for earlier, later in pairs)
    assert all(table.after(earlier + (later - earlier) / 2) == later for earlier, later in pairs)
