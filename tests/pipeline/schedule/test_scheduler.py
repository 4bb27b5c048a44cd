"""The scheduler's decisions, on a simulated machine."""

import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise, repeat
from pathlib import Path

import pytest

from model.errors import is_worth_retrying
from pipeline.message_streams import open_messages
from pipeline.schedule.child import describe_result
from pipeline.schedule.scheduler import ScheduleConfig
from pipeline.schedule.timetable import Timetable
from tests.pipeline.schedule.fake_machine import FakeMachine, PowerCut, at

HOURLY = "0 * * * *"


def log_lines(capsys) -> list[str]:
    return [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]


def test_each_due_time_is_run_once_and_each_decision_is_logged(capsys):
    machine = FakeMachine(at("2026-01-01 10:00"))
    machine.stop_at("2026-01-04 10:00")
    assert machine.schedule() == 143
    assert machine.started == ["02 03:00", "03 03:00", "04 03:00"]
    lines = log_lines(capsys)
    assert lines[:5] == [
        'schedule: "0 3 * * *" (UTC): first start',
        "schedule: next due 2026-01-02T03:00:00Z, run starts 2026-01-02T03:00:00Z",
        "schedule: runs what was due up to 2026-01-02T03:00:00Z",
        "schedule: run-1 promoted: better by 0.5 points",
        "schedule: next due 2026-01-03T03:00:00Z, run starts 2026-01-03T03:00:00Z",
    ]
    assert lines[-1] == "schedule: stopped by signal 15"


def test_the_health_file_is_written_every_15_seconds():
    machine = FakeMachine(at("2026-01-01 02:50"), run_time=timedelta(minutes=20))
    machine.stop_at("2026-01-01 03:40")
    machine.schedule(poll_seconds=5)
    times = [health.updated for health in machine.health]
    assert max(later - earlier for earlier, later in pairwise(times)) == timedelta(seconds=15)
    assert len(times) < 50 * 4 + 5
    assert [health.status for health in machine.health if health.updated == at("2026-01-01 03:10")] == ["running"]
    first = machine.health[0]
    last = machine.health[-1]
    assert (first.status, first.next_due) == ("waiting", at("2026-01-01 03:00"))
    assert (last.status, last.outcome) == ("stopped", "run-1 promoted: better by 0.5 points")


def test_the_exit_code_of_each_failure_is_recorded():
    machine = FakeMachine(at("2026-01-01 10:00"), codes=iter([3, 0, -9, 0]))
    machine.stop_at("2026-01-04 10:00")
    machine.schedule()
    assert machine.failures == [3, 137]


@pytest.mark.parametrize(("stop", "before"), [("2026-01-02 10:00", ["02 03:00"]), ("2026-01-01 11:00", [])])
def test_due_times_missed_in_downtime_are_handled_by_one_run(stop, before):
    machine = FakeMachine(at("2026-01-01 10:00"))
    machine.stop_at(stop)
    machine.schedule()
    machine.clock = at("2026-01-09 12:34")
    machine.stop_at("2026-01-10 10:00")
    machine.schedule()
    assert machine.started == [*before, "09 12:34", "10 03:00"]


def test_due_times_missed_during_a_run_are_handled_by_one_run():
    machine = FakeMachine(at("2026-01-01 02:30"), run_time=timedelta(hours=3, minutes=30))
    machine.stop_at("2026-01-01 06:40")
    machine.schedule(HOURLY)
    assert machine.started == ["01 03:00", "01 06:30"]
    assert machine.runs[1].signals == [15]


@pytest.mark.parametrize(
    ("when", "to", "started"),
    [
        ("01 05:20", "01 01:00", ["01 03:00", "01 04:00", "01 05:00", "01 06:00", "01 07:00"]),
        ("01 03:02", "01 02:50", ["01 03:00", "01 04:00", "01 05:00", "01 06:00", "01 07:00"]),  # during a run
        ("01 03:20", "01 06:20", ["01 03:00", "01 06:20", "01 07:00"]),
    ],
)
def test_setting_the_clock_repeats_no_run_and_skipped_due_times_are_one_run(when, to, started):
    machine = FakeMachine(at("2026-01-01 02:30"))
    machine.set_clock_at(f"2026-01-{when}", f"2026-01-{to}")
    machine.stop_at("2026-01-01 07:10")
    machine.schedule(HOURLY)
    assert machine.started == started
    times = [at("2026-01-01 00:00"), *(health.next_due for health in machine.health if health.next_due)]
    assert all(earlier <= later for earlier, later in pairwise(times)), "no due time is announced again"


def test_setting_the_clock_back_by_over_a_day_resets_the_schedule(capsys):
    machine = FakeMachine(at("2026-01-01 02:30"))
    machine.set_clock_at("2026-01-01 03:20", "2027-06-01 12:00")
    machine.set_clock_at("2027-06-01 12:30", "2026-01-01 03:50")
    machine.stop_at("2026-01-01 04:30")
    machine.schedule(HOURLY)
    assert machine.started == ["01 03:00", "01 12:00", "01 04:00"]
    assert any("the clock was set back to 2026-01-01T03:50" in line for line in log_lines(capsys))


@pytest.mark.parametrize("code", [5, 6, 7, 1, -9])
def test_failures_that_may_pass_are_retried_with_back_off(code, capsys):
    machine = FakeMachine(at("2026-01-01 02:30"), codes=repeat(code), run_time=timedelta())
    machine.stop_at("2026-01-01 06:30")
    machine.schedule()
    minutes = [(run.started - at("2026-01-01 03:00")).total_seconds() / 60 for run in machine.runs]
    assert minutes == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert machine.health[-1].consecutive_failures == 9
    assert any(health.status == "backing-off" for health in machine.health)
    lines = log_lines(capsys)
    assert f"schedule: failed, 2 in a row: code {code}" in lines
    assert "schedule: next due 2026-01-02T03:00:00Z, retry starts 2026-01-01T03:03:00Z" in lines


@pytest.mark.parametrize("code", [2, 3, 4])
def test_permanent_failures_are_not_retried_before_the_next_due_time(code):
    machine = FakeMachine(at("2026-01-01 02:30"), codes=repeat(code))
    machine.stop_at("2026-01-02 03:30")
    machine.schedule()
    assert machine.started == ["01 03:00", "02 03:00"]
    assert machine.health[-1].consecutive_failures == 2


def test_a_due_time_replaces_a_retry_and_success_resets_the_failures():
    machine = FakeMachine(at("2026-01-01 02:50"), codes=iter([7, 7, 0, 0]), run_time=timedelta())
    machine.stop_at("2026-01-01 02:57")
    machine.schedule("*/2 * * * *")
    assert machine.started == ["01 02:52", "01 02:53", "01 02:54", "01 02:56"]
    assert machine.states[-1].failures == 0


def test_a_clock_set_back_does_not_delay_a_retry():
    machine = FakeMachine(at("2026-01-01 02:59"), codes=iter([7, 0]), run_time=timedelta())
    machine.set_clock_at("2026-01-01 03:00:30", "2026-01-01 00:30")
    machine.stop_at("2026-01-01 00:40")
    machine.schedule()
    assert machine.started == ["01 03:00", "01 00:31"]


def test_a_new_expression_keeps_the_handled_due_times():
    machine = FakeMachine(at("2026-01-01 02:50"))
    machine.stop_at("2026-01-01 03:20")
    machine.schedule()
    machine.stop_at("2026-01-01 04:40")
    machine.schedule("30 * * * *", "Europe/Berlin")
    assert machine.started == ["01 03:00", "01 03:30", "01 04:30"]
    assert (machine.states[-1].expression, machine.states[-1].timezone) == ("30 * * * *", "Europe/Berlin")


def test_jitter_equals_the_recorded_value():
    """A restart or an update that changed the jitter would start announced runs at other times."""
    config = ScheduleConfig(Timetable("0 3 * * *", "UTC"), (), Path("s"), Path("h"), timedelta(hours=1), "a")
    assert str(config.delay(at("2026-01-01 03:00"))) == "0:27:46.224708"


def test_jitter_is_less_than_the_time_to_the_next_due_time():
    machine = FakeMachine(at("2026-01-01 02:50"), run_time=timedelta())
    machine.stop_at("2026-01-01 12:01")
    machine.schedule("*/10 * * * *", jitter=86400)
    assert len({(run.started.minute % 10, run.started.second) for run in machine.runs}) > 40, "they are spread"
    assert [(run.started.hour * 60 + run.started.minute) // 10 for run in machine.runs] == list(range(18, 72))


def test_once_runs_the_first_time_and_then_only_if_due(capsys):
    machine = FakeMachine(at("2026-01-01 10:00"), codes=iter([0, 7, 0, -9]))
    codes = []
    for time in ("01 10:00", "01 12:00", "02 03:10", "02 03:11", "02 03:20", "03 02:00", "03 04:00"):
        machine.clock = at(f"2026-01-{time}")
        codes.append(machine.schedule(once=True))
    assert machine.started == ["01 10:00", "02 03:10", "02 03:20", "03 04:00"]
    assert codes == [0, 0, 7, 0, 0, 0, 137]
    assert "schedule: nothing is due" in log_lines(capsys)


def test_on_a_full_disk_nothing_is_run_and_the_scheduler_continues(capsys):
    machine = FakeMachine(at("2026-01-01 02:50"))
    machine.events.append((at("2026-01-01 02:55"), lambda: setattr(machine, "disk_is_full", True)))
    machine.events.append((at("2026-01-01 03:02:30"), lambda: setattr(machine, "disk_is_full", False)))
    machine.events.append((at("2026-01-01 03:20"), lambda: setattr(machine, "disk_is_full", True)))
    machine.stop_at("2026-01-01 03:30")
    machine.schedule(poll_seconds=60)
    assert machine.started == ["01 03:03"]
    assert (machine.states[-1].failures, machine.states[-1].ended) == (0, at("2026-01-01 03:08"))
    lines = log_lines(capsys)
    assert sum("health cannot be written" in line for line in lines) == 2, "one warning each time"
    assert any("the run cannot be started: [Errno 28] No space left on device" in line for line in lines)


def test_lost_messages_are_noted_in_the_health_file(monkeypatch):
    machine = FakeMachine(at("2026-01-01 02:50"))
    machine.stop_at("2026-01-01 02:51")
    machine.schedule(poll_seconds=60)
    assert machine.health[-1].messages_lost is None
    assert "messages_lost" not in machine.health[-1].model_dump_json()
    with open_messages(Path("/dev/full")) as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        machine = FakeMachine(at("2026-01-01 02:50"))
        machine.stop_at("2026-01-01 02:51")
        machine.schedule(poll_seconds=60)
    assert machine.health[-1].messages_lost == "[Errno 28] No space left on device"


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (b'{"outcome": "unchanged", "run_id": null}\n', "unchanged"),
        (b'{"nothing_run": "ws is in use by process 7"}', "ws is in use by process 7"),
        (b"", "the run ended with code 0, but printed no result"),
        (b"[1]", "the run ended with code 0, but printed no result"),
    ],
)
def test_the_output_of_a_run_is_described_in_one_line(printed, line):
    assert describe_result(printed) == line


class YearOfFaults:
    """A simulated year of power cuts, stops, downtime, failed runs, and clocks that are set by up to half a day."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.machine = FakeMachine(at("2026-01-01 00:00"), codes=self.exit_codes())
        self.starts = []  # (clock, number of saved states) at each start of a scheduler

    def exit_codes(self) -> Iterator[int]:
        while True:
            self.machine.run_time = timedelta(minutes=self.random.choice([1, 5, 40, 300, 1500]))
            yield self.random.choice([0, 0, 0, 0, 3, 5, 6, 7, -9])

    def simulate(self) -> None:
        while self.machine.elapsed < timedelta(days=365):
            self.starts.append((self.machine.clock, len(self.machine.states)))
            self.plan(self.machine.cut_power, self.stop, self.set_clock, self.set_clock)
            with suppress(PowerCut):
                self.machine.schedule("15 */6 * * *", "Europe/Berlin", jitter=600)
            downtime = timedelta(hours=self.random.choice([0, 0, 1, 30, 200]))
            self.machine.clock += downtime
            self.machine.elapsed += downtime

    def plan(self, *faults) -> None:
        moment = self.machine.clock + timedelta(hours=self.random.uniform(0, 100))
        self.machine.events = [(moment, self.random.choice(faults))]

    def stop(self) -> None:
        self.machine.signals.append(15)

    def set_clock(self) -> None:
        self.machine.clock += timedelta(hours=self.random.uniform(-12, 12))
        self.plan(self.machine.cut_power, self.stop)

    def handled(self, start: int = 0, end: int | None = None) -> list:
        """Return the due times for which runs started between two states, without retries."""
        states = self.machine.states
        numbers = range(max(start, 1), len(states) if end is None else end)
        return [states[number].handled for number in numbers if states[number].handled > states[number - 1].handled]


@pytest.mark.parametrize("seed", range(2))
def test_in_a_year_of_faults_no_due_time_is_run_twice(seed):
    year = YearOfFaults(seed)
    year.simulate()
    states = year.machine.states
    table = Timetable("15 */6 * * *", "Europe/Berlin")
    assert all(earlier.handled <= later.handled for earlier, later in pairwise(states))
    handled = year.handled()
    assert len(handled) == len(set(handled)) > 100
    assert all(table.latest(due) == due for due in handled)
    for (clock, start), (_, end) in pairwise([*year.starts, (None, len(states))]):
        caught_up = [due for due in year.handled(start, end) if due <= clock]
        assert len(caught_up) <= 1, "due times missed in downtime are at most one run"
    assert len(year.starts) > 50
    assert all(is_worth_retrying(state.exit_code) for state in states if state.retry_at)
    assert len(year.machine.runs) > len(handled), "some runs are retried"
