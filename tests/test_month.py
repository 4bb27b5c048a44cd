"""A month of scheduled retraining: the clock is made up, the scheduler, its runs and their stages are real.

New data arrive on some days, a broken batch on one, a drifted one on another, and on a third the machine is killed.
"""

import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline.care.verification import find_scope, verify
from pipeline.registry.history import find_champion, load_history
from pipeline.scheduling import state as states
from pipeline.scheduling.child import COMMAND_LINE, Child
from pipeline.scheduling.decisions import Plan
from pipeline.scheduling.health import Health
from pipeline.scheduling.scheduler import Scheduler, World
from pipeline.scheduling.timetable import Timetable
from tests.helpers import Digits, images_bytes, labels_bytes, write_files
from tests.pipeline.scheduling.world import PowerCut

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
    """The world that a scheduler acts on.

    Attributes:
        folder: holds `incoming` and `ws`.
        clock: what it shows.
        codes: how each run ended, and the day.
        answers: what each run said came of it.
        written: when each file of a data set was written, as it was seen first.
    """

    folder: Path
    clock: datetime = FIRST_DAY
    codes: list[tuple[int, int]] = field(default_factory=list)
    written: dict[Path, int] = field(default_factory=dict)
    answers: list[tuple[int, str | None]] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    child: Child | None = None
    arrived: int = 0
    cut: bool = False

    @property
    def workspace(self) -> Path:
        return self.folder / "ws"

    @property
    def day(self) -> int:
        return (self.clock - FIRST_DAY).days + 1

    def begin_days(self) -> None:
        """Have happen what happens at midnight."""
        while self.arrived < self.day:
            self.arrived += 1
            incoming = self.folder / "incoming"
            if self.arrived in ARRIVALS:
                write_files(incoming / f"day-{self.arrived:02d}", batch(self.arrived))
            for day, files in ((BROKEN, batch(BROKEN)), (DRIFTED, batch(DRIFTED, drift=100))):
                place = incoming / f"day-{day:02d}"
                if self.arrived == day:
                    write_files(place, files)
                if self.arrived == day == BROKEN:
                    data = (place / "train-images-idx3-ubyte").read_bytes()
                    (place / "train-images-idx3-ubyte").write_bytes(data[:-100])
                if self.arrived == day + 2:  # somebody has looked
                    place.rename(self.folder / f"put-aside-{day}")

    def launch(self) -> Child:
        options = ("--dataset", "incoming/*", "--workspace", "ws", "--num-steps", "3000", "--checkpoint-every", "1000")
        more = ("--config", "policy.toml", "--quiet", "--json")
        self.child = Child([*COMMAND_LINE, "retrain", *options, *more])
        tell = self.child.answer

        def answer() -> dict[str, Any]:
            found = tell()
            self.answers.append((self.day, found.get("outcome")))
            return found

        self.child.answer = answer
        return self.child

    def pause(self, seconds: float) -> None:
        if self.child:
            if (code := self.child.poll()) is None:
                time.sleep(0.02)
                self._perhaps_cut()
                return
            self._look_back(code)
            return
        self.clock += timedelta(seconds=seconds)
        self.begin_days()
        if self.day > NUM_DAYS:
            self.received.append(signal.SIGTERM)

    def _look_back(self, code: int) -> None:
        """Check, once a run has ended, that it wrote no file anew that was there."""
        self.codes.append((self.day, code))
        self.child = None
        patterns = (
            "datasets/*/*",
            "runs/*/*.safetensors",
            "runs/*/*.json",
            "reports/*/*/*.parquet",
            "registry/history/*",
        )
        for path in chain.from_iterable(map(self.workspace.glob, patterns)):
            assert self.written.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns, path

    def _perhaps_cut(self) -> None:
        """Kill the machine on the day for that, once training has left a checkpoint."""
        if self.day == KILLED and not self.cut and list(self.workspace.glob("runs/*/checkpoints/*.safetensors")):
            self.cut = True
            self.child.kill()
            while self.child.poll() is None:
                time.sleep(0.02)
            self.child.answer()  # closes what it holds
            self.child = None
            raise PowerCut

    def show(self, health: Health) -> None:
        assert health.consecutive_failures <= 2

    def scheduler(self) -> Scheduler:
        kept = states.state_file(self.workspace)
        world = World(lambda: self.clock, self.pause, self.received, self.launch, partial(states.save, kept), self.show)
        return Scheduler(Plan(Timetable("0 3 * * *", "UTC")), world, states.load(kept), piece=timedelta(hours=1))


@pytest.mark.slow
def test_a_month(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.toml").write_text(POLICY)
    month = Month(tmp_path)
    month.begin_days()
    with pytest.raises(PowerCut):
        month.scheduler().run()
    month.clock += timedelta(hours=2)  # until the machine is there again
    assert month.scheduler().run() == 128 + signal.SIGTERM
    check_runs(month)
    check_history(month)
    check_tables(month.workspace)
    found = verify(find_scope(month.workspace))
    assert (found.faults, found.leftovers) == ((), ())


def check_runs(month: Month) -> None:
    """Each day has its run, and the one that was cut off came again."""
    days = [day for day, _ in month.codes]
    assert days == list(range(1, NUM_DAYS + 1))
    refused = [day for day, code in month.codes if code]
    assert refused == [BROKEN, BROKEN + 1, DRIFTED, DRIFTED + 1]
    assert {code for _, code in month.codes} == {0, 3}
    told = [day for day, outcome in month.answers if outcome in ("promoted", "kept")]
    assert told == list(ARRIVALS)
    quiet = [day for day, outcome in month.answers if outcome == "unchanged"]
    assert sorted([*told, *refused, *quiet]) == days


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
    """Every run that was decided about is evaluated, once."""
    runs = {entry.run_id for entry in load_history(workspace)} - {None}
    rows = duckdb.execute(
        "SELECT run_id, split, count(*) FROM read_parquet(?) GROUP BY ALL",
        [str(workspace / "reports/evaluations/*/*.parquet")],
    ).fetchall()
    assert sorted(rows) == sorted((run, split, 1) for run in runs for split in ("train", "test"))
