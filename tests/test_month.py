"""A month of scheduled retraining: the clock is made up, the scheduler, its runs and their stages are real.

New data arrive on some days, a broken batch on one, a drifted one on another, and on a third the machine is killed.
"""

import signal
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import duckdb
import pytest

from pipeline.cli.schedule_command import COMMAND
from pipeline.maintenance.verify import find_scope, verify
from pipeline.registry.history import find_champion, load_history
from pipeline.schedule.child import ChildProcess
from pipeline.schedule.scheduler import ScheduleConfig, Scheduler
from pipeline.schedule.state import HEALTH_NAME, STATE_NAME, ScheduleHealth, ScheduleState, load_state, write_record
from pipeline.schedule.timetable import Timetable
from tests.helpers import Digits, images_bytes, labels_bytes, write_files
from tests.pipeline.schedule.fake_machine import PowerCut

FIRST_DAY, NUM_DAYS = datetime(2026, 3, 1, tzinfo=UTC), 30
ARRIVALS, BROKEN, DRIFTED, KILLED = (1, 4, 8, 20, 25), 12, 16, 20
POLICY = "[promotion]\nminimum_gain = -0.05\nsignificance = 1.0\n"


def batch(day: int, drift: int = 0) -> dict[str, bytes]:
    """Files with the digits of a day: those of other days, with other noise."""
    digits = Digits()
    (train, labels), (test, answers) = digits.split(2 * day, 150), digits.split(2 * day + 1, 90)
    contents = (images_bytes(drift + train // (1 + drift // 50)), labels_bytes(labels))
    contents += (images_bytes(drift + test // (1 + drift // 50)), labels_bytes(answers))
    return dict(zip(digits.files(), contents, strict=True))


@dataclass
class Month:
    """What outlives a scheduler."""

    folder: Path  # holds `incoming` and `ws`
    clock: datetime = FIRST_DAY  # what the scheduler's clock shows
    codes: list[tuple[int, int]] = field(default_factory=list)  # the day and exit code of each run
    outcomes: list[tuple[int, str]] = field(default_factory=list)  # the day and outcome of each run
    # when each artefact was written, as first seen, in nanoseconds
    modified: dict[Path, int] = field(default_factory=dict)
    num_begun: int = 0
    was_cut: bool = False

    @property
    def workspace(self) -> Path:
        return self.folder / "ws"

    @property
    def day(self) -> int:
        return (self.clock - FIRST_DAY).days + 1

    def begin_days(self) -> None:
        while self.num_begun < self.day:
            self.num_begun += 1
            incoming = self.folder / "incoming"
            if self.num_begun in ARRIVALS:
                write_files(incoming / f"day-{self.num_begun:02d}", batch(self.num_begun))
            for day, files in ((BROKEN, batch(BROKEN)), (DRIFTED, batch(DRIFTED, drift=100))):
                place = incoming / f"day-{day:02d}"
                if self.num_begun == day:
                    write_files(place, files)
                if self.num_begun == day == BROKEN:
                    data = (place / "train-images-idx3-ubyte").read_bytes()
                    (place / "train-images-idx3-ubyte").write_bytes(data[:-100])
                if self.num_begun == day + 2:  # somebody has looked
                    place.rename(self.folder / f"put-aside-{day}")

    def has_checkpoint(self) -> bool:
        return any(self.workspace.glob("runs/*/checkpoints/*.safetensors"))

    def check_nothing_is_rewritten(self) -> None:
        patterns = (
            "datasets/*/*",
            "runs/*/*.safetensors",
            "runs/*/*.json",
            "reports/*/*/*.parquet",
            "registry/history/*",
        )
        for path in chain.from_iterable(map(self.workspace.glob, patterns)):
            assert self.modified.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns, path

    def schedule(self) -> int:
        state_file = self.workspace / STATE_NAME
        options = ("--dataset", "incoming/*", "--workspace", "ws", "--num-steps", "3000", "--checkpoint-every", "1000")
        command = (*COMMAND, "retrain", *options, "--config", "policy.toml", "--quiet", "--json")
        config = ScheduleConfig(Timetable("0 3 * * *"), command, state_file, self.workspace / HEALTH_NAME)
        return MonthScheduler(self, config, load_state(state_file)).run()


class MonthRun(ChildProcess):
    """A real run; on one day the machine is killed once training has left a checkpoint."""

    def __init__(self, month: Month, command: tuple[str, ...]) -> None:
        super().__init__(command)
        self.month = month

    def wait(self, seconds: float) -> int | None:
        code = super().wait(0.02)
        month = self.month
        if code is not None:
            month.codes.append((month.day, code))
            month.check_nothing_is_rewritten()
        elif month.day == KILLED and not month.was_cut and month.has_checkpoint():
            month.was_cut = True
            self.kill()
            super().wait(60)
            super().read_outcome()  # closes its files
            raise PowerCut
        return code

    def read_outcome(self) -> str:
        outcome = super().read_outcome()
        self.month.outcomes.append((self.month.day, outcome))
        return outcome


class MonthScheduler(Scheduler):
    poll_interval = timedelta(hours=1)

    def __init__(self, month: Month, config: ScheduleConfig, saved: ScheduleState | None) -> None:
        self.month = month
        super().__init__(config, saved)

    def now(self) -> datetime:
        return self.month.clock

    def sleep(self, seconds: float) -> None:
        self.month.clock += timedelta(seconds=seconds)
        self.month.begin_days()
        if self.month.day > NUM_DAYS:
            self.signals.append(signal.SIGTERM)

    def start_run(self, command: tuple[str, ...]) -> MonthRun:
        return MonthRun(self.month, command)

    def write_record(self, file: Path, record: ScheduleState | ScheduleHealth) -> None:
        if isinstance(record, ScheduleHealth):
            assert record.consecutive_failures <= 2
        write_record(file, record)


@pytest.mark.slow
def test_a_month(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.toml").write_text(POLICY)
    month = Month(tmp_path)
    month.begin_days()
    with pytest.raises(PowerCut):
        month.schedule()
    month.clock += timedelta(hours=2)  # until the machine is there again
    assert month.schedule() == 128 + signal.SIGTERM
    check_runs(month)
    check_history(month)
    check_tables(month.workspace)
    found = verify(find_scope(month.workspace))
    assert (found.faults, found.leftovers) == ((), ())


def check_runs(month: Month) -> None:
    days = [day for day, _ in month.codes]
    assert days == list(range(1, NUM_DAYS + 1))
    refused = [day for day, code in month.codes if code]
    assert refused == [BROKEN, BROKEN + 1, DRIFTED, DRIFTED + 1]
    assert {code for _, code in month.codes} == {0, 3}
    decided = [day for day, outcome in month.outcomes if "promoted" in outcome or "kept" in outcome]
    assert decided == list(ARRIVALS)
    unchanged = [day for day, outcome in month.outcomes if "unchanged" in outcome]
    assert sorted([*decided, *refused, *unchanged]) == days


def check_history(month: Month) -> None:
    """Each arrival was decided once; the broken batch never came so far, the drifted one was refused once."""
    history = load_history(month.workspace)
    assert [entry.run_id is None for entry in history] == [False, False, False, True, False, False]
    [refused] = [entry for entry in history if entry.run_id is None]
    assert any("drift" in reason for reason in refused.reasons)
    decided = [entry for entry in history if entry.run_id]
    assert [entry.num_examples for entry in decided] == [90, 180, 270, 360, 450]
    promoted = [entry for entry in decided if entry.outcome == "promoted"]
    assert find_champion(month.workspace) == promoted[-1].champion == history.champion
    assert all(entry.accuracy > 0.9 for entry in promoted)
    cut = decided[ARRIVALS.index(KILLED)]
    [record] = [path for path in month.workspace.glob("runs/*/run.json") if path.parent.name == cut.run_id]
    assert '"resumed_at"' in record.read_text()


def check_tables(workspace: Path) -> None:
    runs = {entry.run_id for entry in load_history(workspace)} - {None}
    rows = duckdb.execute(
        "SELECT run_id, split, count(*) FROM read_parquet(?) GROUP BY ALL",
        [str(workspace / "reports/evaluations/*/*.parquet")],
    ).fetchall()
    assert sorted(rows) == sorted((run, split, 1) for run in runs for split in ("train", "test"))
