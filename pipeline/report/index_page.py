"""Collect the contents of the index page of a workspace: all runs, and the history of the champion."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.evaluate.evaluated_runs import RunList, RunSummary
from pipeline.train.run_settings import format_settings


class TimelineEntry(NamedTuple):
    """An entry of the registry's history as text; the caller makes it, as this room does not know the registry."""

    number: str
    when: str  # UTC
    what: str
    run: str
    accuracy: str  # empty if unknown
    who: str
    why: str


class Registry(NamedTuple):
    """What the index page tells of the registry."""

    champion: str | None  # the run's id
    entries: Sequence[TimelineEntry]  # the newest first


def build_index_page(workspace: str, listing: RunList, registry: Registry) -> dict[str, Any]:
    """Return the values for the template `index.html`."""
    results = [summary.test for summary in listing.runs if summary.evaluation]
    low = min((result.accuracy_low for result in results), default=0.0)
    high = max((result.accuracy_high for result in results), default=1.0)
    return {
        "workspace": workspace,
        "rows": [_build_row(summary, registry.champion) for summary in listing.runs],
        "num_datasets": len({summary.run.dataset_id for summary in listing.runs}),
        "num_problems": len(listing.problems),
        "low": low,
        "width": high - low or 1,
        "entries": registry.entries,
        "linked": {summary.run.run_id for summary in listing.runs if summary.evaluation},
    }


def _build_row(summary: RunSummary, champion: str | None) -> dict[str, Any]:
    return {
        "run": summary.run,
        "test": summary.test if summary.evaluation else None,
        "changed": format_settings(summary.changed),
        "is_champion": summary.run.run_id == champion,
    }
