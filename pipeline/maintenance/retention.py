"""Which runs, data sets and groups of runs are kept, and why: pure functions of what the records say.

Each is named as its folder is, relative to the workspace: runs/ID, datasets/ID, groups/ID.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from pipeline.maintenance.retention_config import Retention


class StoredRun(NamedTuple):
    """What retention has to know of a complete run."""

    dataset: str  # the name of its data set
    finished: str  # in the format of records
    start: str | None = None  # the name of the run whose parameters it began with


class StoredDataset(NamedTuple):
    """What retention has to know of a complete data set."""

    written: str  # when, in the format of records
    parts: tuple[str, ...] = ()  # the names of those that a joint data set consists of


class Holdings(NamedTuple):
    """The complete runs, data sets and groups of a workspace by name, and those that it needs in any case."""

    runs: Mapping[str, StoredRun]
    datasets: Mapping[str, StoredDataset]
    groups: Mapping[str, tuple[str, ...]]  # the names of the runs of each
    required: Mapping[str, str]  # the reason for each run and data set that any rule keeps, if only a part is left too

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in an order in which no reader finds one without what it needs while they are deleted."""
        joint_first = sorted(self.datasets, key=lambda name: not self.datasets[name].parts)
        return (*self.groups, *self.runs, *joint_first)

    def without(self, names: Collection[str]) -> "Holdings":
        """Return the holdings without some of them."""
        return Holdings(
            {name: run for name, run in self.runs.items() if name not in names},
            {name: dataset for name, dataset in self.datasets.items() if name not in names},
            {name: members for name, members in self.groups.items() if name not in names},
            {name: reason for name, reason in self.required.items() if name not in names},
        )


def explain_kept(holdings: Holdings, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the reason for each name that is kept if those wanted, with reasons, and those required are.

    The run that a kept run began with is kept, because a repair or a reproduction reads its parameters, but not the
    run that this one began with: else the chain of warm starts would keep every run.
    """
    kept = {**wanted, **holdings.required}  # a champion without a record too: its group and its data set are kept
    _add_groups(holdings, kept)
    for name in [name for name in kept if name in holdings.runs]:
        start = holdings.runs[name].start
        if start is not None and start in holdings.runs:
            kept.setdefault(start, f"{name} began with its parameters")
    _add_groups(holdings, kept)
    for name in [name for name in kept if name in holdings.runs]:
        kept.setdefault(holdings.runs[name].dataset, f"data set of {name}")
    for name in [name for name in kept if name in holdings.datasets]:
        for part in holdings.datasets[name].parts:
            kept.setdefault(part, f"part of {name}")
    return kept


def _add_groups(holdings: Holdings, kept: dict[str, str]) -> None:
    """Add each group of which a run is kept, and its other runs, until there are no more."""
    pending = True
    while pending:
        found = [
            (group, member)
            for group, members in holdings.groups.items()
            if group not in kept
            for member in members
            if member in kept
        ]
        for group, member in found:
            kept.setdefault(group, f"group of {member}")
            for other in holdings.groups[group]:
                kept.setdefault(other, f"in one group of seeds with {member}")
        pending = bool(found)


def choose_kept(holdings: Holdings, rule: Retention, now: str) -> dict[str, str]:
    """Return the reason for each name that a rule keeps at a time, which is in the format of records."""
    finished = {name: run.finished for name, run in holdings.runs.items()}
    used = {run.dataset for run in holdings.runs.values()}
    used |= {part for dataset in holdings.datasets.values() for part in dataset.parts}
    unused = {name: dataset.written for name, dataset in holdings.datasets.items() if name not in used}
    wanted: dict[str, str] = {}
    for what, times in (("runs", finished), ("data sets without a run", unused)):
        if rule.keep_days is not None:
            first = datetime.fromisoformat(now) - timedelta(days=rule.keep_days)
            reason = f"of the last {rule.keep_days} days"
            wanted |= {name: reason for name, time in times.items() if datetime.fromisoformat(time) >= first}
        newest = sorted(times, key=lambda name: (times[name], name), reverse=True)[: rule.keep or 0]
        wanted |= dict.fromkeys(newest, f"of the newest {rule.keep} {what}")
    return explain_kept(holdings, wanted)


def find_obstacles(holdings: Holdings, names: Iterable[str]) -> dict[str, str]:
    """Return the names, out of those to delete, that the rest of the workspace needs, each with the reason."""
    chosen = set(names)
    others = dict.fromkeys((*holdings.runs, *holdings.datasets), "")
    kept = explain_kept(holdings, {name: reason for name, reason in others.items() if name not in chosen})
    return {name: kept[name] for name in (*holdings.names, *sorted(chosen)) if name in chosen and name in kept}
