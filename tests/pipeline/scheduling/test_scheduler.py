"""The loop with a clock that tests set."""

import random
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise, repeat

import pytest

from model.errors import is_worth_retrying
from pipeline.scheduling.decisions import Plan
from pipeline.scheduling.health import Status
from pipeline.scheduling.scheduler import PIECE
from pipeline.scheduling.timetable import Timetable
from tests.pipeline.scheduling.world import Made, PowerCut, at


def cut(made: Made, **options) -> None:
    with pytest.raises(PowerCut):
        made.scheduler(**options).run()


def stopped(made: Made, **options) -> int:
    code = made.scheduler(**options).run()
    made.received.clear()
    return code


def said(capsys) -> list[str]:
    return [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]


def test_the_first_start_waits_and_each_due_time_is_run_once(capsys):
    made = Made(at("2026-01-01 10:00"))
    made.stop_at("2026-01-04 10:00")
    assert stopped(made) == 143
    assert made.begun == ["02 03:00", "03 03:00", "04 03:00"]
    assert said(capsys)[:5] == [
        'schedule: "0 3 * * *" (UTC): begins',
        "schedule: next due 2026-01-02T03:00:00Z",
        "schedule: runs what was due 2026-01-02T03:00:00Z",
        "schedule: run-1 promoted: better by 0.5 points",
        "schedule: next due 2026-01-03T03:00:00Z",
    ]


def test_signs_of_life_are_never_half_a_minute_apart():
    made = Made(at("2026-01-01 02:50"), lasts=timedelta(minutes=20))
    made.stop_at("2026-01-01 03:40")
    stopped(made, piece=PIECE)
    times = [each.updated for each in made.health]
    assert max(later - earlier for earlier, later in pairwise(times)) <= timedelta(seconds=30)
    statuses = [each.status for each in made.health]
    assert {Status.waiting, Status.running} < set(statuses)
    assert made.health[0].next_due == at("2026-01-01 03:00")
    assert (statuses[-1], made.health[-1].outcome) == (Status.stopped, "run-1 promoted: better by 0.5 points")


def test_a_restart_goes_on_where_it_stopped():
    made = Made(at("2026-01-01 10:00"))
    made.stop_at("2026-01-02 04:00")
    made.stop_at("2026-01-03 02:00")
    made.stop_at("2026-01-03 04:00")
    for _ in range(3):
        stopped(made)
    assert made.begun == ["02 03:00", "03 03:00"]


def test_downtime_is_caught_up_with_one_run(capsys):
    made = Made(at("2026-01-01 10:00"))
    made.stop_at("2026-01-02 10:00")
    stopped(made)
    made.clock = at("2026-01-09 12:34")
    made.stop_at("2026-01-10 10:00")
    stopped(made)
    assert made.begun == ["02 03:00", "09 12:34", "10 03:00"]
    line = "runs what was due 2026-01-09T03:00:00Z; 6 due before that and missed are made up for by this one run"
    assert f"schedule: {line}" in said(capsys)


def test_a_downtime_before_the_first_due_time_counts_from_the_first_start():
    made = Made(at("2026-01-01 10:00"))
    made.stop_at("2026-01-01 11:00")
    stopped(made)
    made.clock = at("2026-01-02 12:00")
    made.stop_at("2026-01-02 13:00")
    stopped(made)
    assert made.begun == ["02 12:00"]


def test_what_becomes_due_while_a_run_works_is_one_run_after_it():
    made = Made(at("2026-01-01 02:30"), lasts=timedelta(hours=3, minutes=30))
    made.stop_at("2026-01-01 06:40")
    stopped(made, cron="0 * * * *")
    assert made.begun == ["01 03:00", "01 06:30"]
    assert made.runs[1].asked == [15]


def test_a_clock_set_back_repeats_nothing():
    made = Made(at("2026-01-01 02:30"))
    made.jump_at("2026-01-01 05:20", "2026-01-01 01:00")
    made.stop_at("2026-01-01 07:10")
    stopped(made, cron="0 * * * *")
    assert made.begun == ["01 03:00", "01 04:00", "01 05:00", "01 06:00", "01 07:00"]
    announced = {each.next_due for each in made.health if each.updated < at("2026-01-01 02:30")}
    assert announced == {at("2026-01-01 06:00")}


def test_a_clock_set_back_while_a_run_works_repeats_nothing():
    made = Made(at("2026-01-01 02:30"), lasts=timedelta(minutes=30))
    made.jump_at("2026-01-01 03:10", "2026-01-01 02:50")
    made.stop_at("2026-01-01 04:50")
    stopped(made, cron="0 * * * *")
    assert made.begun == ["01 03:00", "01 04:00"]


def test_a_clock_set_forward_is_caught_up_with_one_run():
    made = Made(at("2026-01-01 02:30"))
    made.jump_at("2026-01-01 03:20", "2026-01-01 09:20")
    made.stop_at("2026-01-01 10:10")
    stopped(made, cron="0 * * * *")
    assert made.begun == ["01 03:00", "01 09:20", "01 10:00"]


def test_a_wrong_clock_put_right_does_not_stop_the_schedule(capsys):
    made = Made(at("2026-01-01 02:30"))
    made.jump_at("2026-01-01 03:20", "2027-06-01 12:00")
    made.jump_at("2027-06-01 12:30", "2026-01-01 03:50")
    made.stop_at("2026-01-01 04:30")
    stopped(made, cron="0 * * * *")
    assert made.begun == ["01 03:00", "01 12:00", "01 04:00"]
    assert any("the clock was set back to 2026-01-01T03:50" in line for line in said(capsys))


@pytest.mark.parametrize(
    ("zone", "day", "begun"),
    [
        ("Europe/Berlin", "2026-03-28 12:00", ["29 01:00", "30 00:15"]),
        ("Europe/Berlin", "2026-10-24 12:00", ["25 00:15", "26 01:15"]),
        ("America/New_York", "2026-03-07 12:00", ["08 07:00", "09 06:15"]),
        ("Australia/Lord_Howe", "2026-10-03 12:00", ["03 15:30", "04 15:15"]),
    ],
)
def test_each_day_is_run_once_where_clocks_change(zone, day, begun):
    made = Made(at(day))
    made.stop_at((at(day) + timedelta(hours=44)).strftime("%Y-%m-%d %H:%M"))
    stopped(made, cron="15 2 * * *", zone=zone)
    assert made.begun == begun


@pytest.mark.parametrize("code", [5, 6, 7, 1, -9, 137])
def test_what_may_pass_is_tried_again_more_and_more_rarely(code, capsys):
    made = Made(at("2026-01-01 02:30"), ends=repeat(code), lasts=timedelta())
    made.stop_at("2026-01-01 06:30")
    stopped(made)
    minutes = [(run.begun - at("2026-01-01 03:00")).total_seconds() / 60 for run in made.runs]
    assert minutes == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert made.health[-1].consecutive_failures == 9
    assert any(each.status is Status.backing_off for each in made.health)
    lines = said(capsys)
    assert sum(line.startswith("schedule: failed: ") for line in lines) == 9
    assert any("2 in a row; tried again 2026-01-01T03:03:00Z" in line for line in lines)


@pytest.mark.parametrize("code", [2, 3, 4])
def test_what_will_not_pass_waits_for_the_next_due_time(code, capsys):
    made = Made(at("2026-01-01 02:30"), ends=repeat(code))
    made.stop_at("2026-01-02 03:30")
    stopped(made)
    assert made.begun == ["01 03:00", "02 03:00"]
    assert made.health[-1].consecutive_failures == 2
    assert any("nothing to try again before it is next due, 2026-01-02T03:00:00Z" in line for line in said(capsys))


def test_a_try_again_gives_way_to_the_next_due_time_and_success_ends_the_count():
    made = Made(at("2026-01-01 02:50"), ends=iter([7, 7, 0, 0]), lasts=timedelta())
    made.stop_at("2026-01-01 02:57")
    stopped(made, cron="*/2 * * * *")
    assert made.begun == ["01 02:52", "01 02:53", "01 02:54", "01 02:56"]
    assert made.states[-1].failures == 0


def test_a_clock_set_back_does_not_put_off_a_try_again():
    made = Made(at("2026-01-01 02:59"), ends=iter([7, 0]), lasts=timedelta())
    made.jump_at("2026-01-01 03:00:30", "2026-01-01 00:30")
    made.stop_at("2026-01-01 00:40")
    stopped(made)
    assert made.begun == ["01 03:00", "01 00:31"]


def test_a_run_that_was_stopped_goes_on_at_the_next_start():
    made = Made(at("2026-01-01 02:50"), lasts=timedelta(hours=1))
    made.stop_at("2026-01-01 03:20")
    assert stopped(made) == 143
    assert (made.runs[0].asked, made.states[-1].exit_code, made.states[-1].failures) == ([15], 143, 0)
    made.stop_at("2026-01-01 05:00")
    stopped(made)
    assert made.begun == ["01 03:00", "01 03:20"]


def test_a_second_signal_kills_the_run():
    made = Made(at("2026-01-01 02:50"), lasts=timedelta(hours=1), heeds=False)
    made.stop_at("2026-01-01 03:20", 2)
    made.stop_at("2026-01-01 03:30", 15)
    assert stopped(made) == 130
    assert (made.runs[0].asked, made.runs[0].killed) == ([2], True)
    assert made.clock < at("2026-01-01 03:31")


def test_a_scheduler_that_was_killed_during_a_run_tries_it_again(capsys):
    made = Made(at("2026-01-01 02:50"), lasts=timedelta(hours=1))
    made.cut_at("2026-01-01 03:20")
    cut(made)
    made.stop_at("2026-01-01 05:00")
    stopped(made)
    assert made.begun == ["01 03:00", "01 03:21"]
    assert any("the run of 2026-01-01T03:00:00Z was cut off; tried again" in line for line in said(capsys))


def test_another_expression_keeps_what_is_done_and_says_so(capsys):
    made = Made(at("2026-01-01 02:50"))
    made.stop_at("2026-01-01 03:20")
    stopped(made)
    made.stop_at("2026-01-01 04:40")
    stopped(made, cron="30 * * * *", zone="Europe/Berlin")
    assert made.begun == ["01 03:00", "01 03:30", "01 04:30"]
    assert any('it was "0 3 * * *" (UTC) so far' in line for line in said(capsys))


def test_jitter_spreads_is_bounded_and_the_same_after_a_restart():
    made = Made(at("2026-01-01 02:50"), lasts=timedelta())
    made.stop_at("2026-01-20 02:30")
    stopped(made, jitter=1800)
    late = [run.begun - run.begun.replace(hour=3, minute=0, second=0, microsecond=0) for run in made.runs]
    assert len(late) == 19
    assert all(timedelta() <= each < timedelta(minutes=30) for each in late)
    assert len(set(late)) > 10
    again = Made(at("2026-01-10 02:50"), lasts=timedelta())
    again.stop_at("2026-01-11 02:30")
    stopped(again, jitter=1800)
    assert again.begun == [each for each in made.begun if each.startswith("10")]


def test_a_jitter_is_pinned():
    """A version that drew another would begin an announced run at another time."""
    plan = Plan(Timetable("0 3 * * *", "UTC"), timedelta(hours=1), "a")
    assert str(plan.delay(at("2026-01-01 03:00"))) == "0:27:46.224708"


def test_jitter_is_less_than_the_time_to_the_next_due_time():
    made = Made(at("2026-01-01 02:50"), lasts=timedelta())
    made.stop_at("2026-01-01 12:01")
    stopped(made, cron="*/10 * * * *", jitter=86400)
    assert [(run.begun.hour * 60 + run.begun.minute) // 10 for run in made.runs] == list(range(18, 72))


def test_once_runs_at_first_then_only_what_is_due():
    made, codes = Made(at("2026-01-01 10:00"), ends=iter([0, 7, 0])), []
    for time in ("01 10:00", "01 12:00", "02 03:10", "02 03:11", "02 03:20", "03 02:00"):
        made.clock = at(f"2026-01-{time}")
        codes.append(made.scheduler().run_once())
    assert made.begun == ["01 10:00", "02 03:10", "02 03:20"]
    assert codes == [0, 0, 7, 0, 0, 0]


def test_once_ends_as_a_run_that_was_killed_does():
    made = Made(at("2026-01-01 10:00"), ends=iter([-9]))
    assert made.scheduler().run_once() == 137


def test_on_a_full_disk_nothing_is_run_and_the_scheduler_stays(capsys):
    made = Made(at("2026-01-01 02:50"))
    made.events.append((at("2026-01-01 02:55"), lambda: setattr(made, "full", True)))
    made.events.append((at("2026-01-01 03:02:30"), lambda: setattr(made, "full", False)))
    made.stop_at("2026-01-01 03:30")
    stopped(made)
    assert made.begun == ["01 03:03"]
    assert made.states[-1].failures == 0
    lines = said(capsys)
    assert sum("its health file cannot be written" in line for line in lines) == 1
    assert any("it could not be started: [Errno 28] No space left on device" in line for line in lines)


def test_a_run_that_does_not_say_what_it_did_has_failed():
    made = Made(at("2026-01-01 02:50"), printed={})
    made.stop_at("2026-01-01 03:05:30")
    stopped(made)
    assert (made.states[-1].failures, made.states[-1].exit_code) == (1, 1)


def test_a_run_that_found_the_workspace_in_use_and_was_to_skip_is_no_failure(capsys):
    made = Made(at("2026-01-01 02:50"), printed={"nothing_run": "ws is in use by process 7"})
    made.stop_at("2026-01-01 03:30")
    stopped(made)
    assert made.states[-1].failures == 0
    assert "schedule: nothing was run: ws is in use by process 7" in said(capsys)


YEAR = timedelta(days=365)


class Fate:
    """A year of mishaps: power cuts, stops, downtime, clocks that jump by up to half a day, runs that fail."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made = Made(at("2026-01-01 00:00"), ends=self.codes())
        self.lives = []  # when each began, by the wall clock, and how many states there were

    def codes(self):
        while True:
            self.made.lasts = timedelta(minutes=self.random.choice([1, 5, 40, 300, 1500]))
            yield self.random.choice([0, 0, 0, 0, 3, 5, 6, 7, -9])

    def live(self) -> None:
        while self.made.elapsed < YEAR:
            self.lives.append((self.made.clock, len(self.made.states)))
            self.soon(self.made.cut, self.stop, self.jump, self.jump)
            with suppress(PowerCut):
                self.made.scheduler("15 */6 * * *", "Europe/Berlin", jitter=600).run()
            self.made.received.clear()
            down = timedelta(hours=self.random.choice([0, 0, 1, 30, 200]))
            self.made.clock += down
            self.made.elapsed += down

    def soon(self, *mishaps) -> None:
        moment = self.made.clock + timedelta(hours=self.random.uniform(0, 100))
        self.made.events = [(moment, self.random.choice(mishaps))]

    def stop(self) -> None:
        self.made.received.append(15)

    def jump(self) -> None:
        self.made.clock += timedelta(hours=self.random.uniform(-12, 12))
        self.soon(self.made.cut, self.stop)

    def begun(self, start: int = 0, end: int | None = None) -> list:
        """The due times for which runs began between two states, without those that were tried again."""
        states = self.made.states
        numbers = range(max(start, 1), len(states) if end is None else end)
        return [states[number].handled for number in numbers if states[number].handled > states[number - 1].handled]


@pytest.mark.parametrize("seed", range(4))
def test_a_year_of_mishaps(seed):
    fate = Fate(seed)
    fate.live()
    states, table = fate.made.states, Timetable("15 */6 * * *", "Europe/Berlin")
    assert all(earlier.handled <= later.handled for earlier, later in pairwise(states)), "nothing is undone"
    begun = fate.begun()
    assert len(begun) == len(set(begun)) > 100, "no due time is begun with twice"
    assert all(table.after(due - timedelta(seconds=1)) == due for due in begun), "and each is one"
    for (clock, start), (_, end) in pairwise([*fate.lives, (None, len(states))]):
        caught_up = [due for due in fate.begun(start, end) if due <= clock]
        assert len(caught_up) <= 1, "downtime is caught up at most once"
    assert len(fate.lives) > 50
    assert all(is_worth_retrying(state.exit_code) for state in states if state.retry_at)
    assert len(fate.made.runs) > len(begun), "and some runs are tried again"
