"""What takes how much of a workspace, since when, why it is kept, and what a rule of retention would delete."""

from typing import NamedTuple

from pipeline.maintenance.holdings import read_holdings
from pipeline.maintenance.owned_files import measure
from pipeline.maintenance.retention import choose_kept
from pipeline.maintenance.retention_config import Retention
from pipeline.registry.history import load_history
from pipeline.registry.policy import Policy
from pipeline.storage.places import Place
from pipeline.storage.records import now


class StoredItem(NamedTuple):
    """A run, a data set, a group or another part of a workspace."""

    name: str  # runs/ID, datasets/ID, groups/ID, or a description
    num_bytes: int
    when: str | None  # when it was finished, in the format of records; None if no record says so
    kept_because: str | None  # None if the rule would delete it, and for what no rule concerns
    would_go: bool  # whether `prune` by the rule would delete it


def list_usage(workspace: Place, rule: Retention, policy: Policy | None = None) -> list[StoredItem]:
    """Return all parts of a workspace, the largest first; raises CorruptArtefact if a record is corrupt."""
    holdings = read_holdings(workspace, load_history(workspace), policy)
    kept = choose_kept(holdings, rule, now())
    times = {name: run.finished for name, run in holdings.runs.items()}
    times |= {name: dataset.written for name, dataset in holdings.datasets.items()}
    names = {*holdings.names}
    sizes = measure(workspace, names)
    items = [
        StoredItem(
            name=name,
            num_bytes=sizes[name],
            when=times.get(name),
            kept_because=kept.get(name),
            would_go=name in names and name not in kept,
        )
        for name in {*names, *sizes}
    ]
    return sorted(items, key=lambda item: (-item.num_bytes, item.name))
