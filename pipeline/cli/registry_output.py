"""The text and JSON that the registry's commands print."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cli.dataset_output import build_log_json, format_times
from pipeline.cli.output import CommandOutput, Sheet
from pipeline.cli.overview_output import format_minute, format_points
from pipeline.context import StageLog
from pipeline.progress import format_percent
from pipeline.registry.history import Champion, Entry, History, load_history
from pipeline.registry.retrain import RetrainResult
from pipeline.report.index_page import Registry, TimelineEntry
from pipeline.storage.places import Place

if TYPE_CHECKING:
    from pipeline.maintenance.deletion import DeletionResult  # which imports NumPy


def build_champion_output(workspace: Place, champion: Champion) -> CommandOutput:
    """Return the champion and its files."""
    since = f"since {format_minute(champion.since)} UTC (entry {champion.entry} of the history)"
    return _build_champion_json(workspace, champion), [
        f"champion    {champion.run_id}",
        f"version     {champion.version}, {since}",
        f"data set    {champion.dataset_id}",
        f"parameters  {workspace / champion.folder / champion.parameters.name}",
        f"            SHA-256 {champion.parameters.sha256}",
    ]


def _build_champion_json(workspace: Place, champion: Champion) -> dict[str, Any]:
    return champion.model_dump(mode="json") | {"path": str(workspace / champion.folder / champion.parameters.name)}


def build_history_output(history: History) -> CommandOutput:
    """Return a table of all entries, the newest first."""
    result = {"entries": [entry.model_dump(mode="json") for entry in history]}
    if not history:
        return result, ["nothing was decided yet: backbeam retrain"]
    headings = ("#entry", "when (UTC)", "what", "run", "#accuracy", "who", "why")
    return result, [Sheet(headings, [build_entry_row(entry) for entry in reversed(history)])]


def build_entry_row(entry: Entry) -> tuple[str, str, str, str, str, str, str]:
    """Return the cells of an entry: number, time, action, run, accuracy, author and reasons."""
    what = f"{entry.action}: {_format_outcome(entry)}"
    about = entry.run_id or (format_deleted(entry.deleted) if entry.deleted else "no run")
    accuracy = "" if entry.accuracy is None else format_percent(entry.accuracy)
    reasons = "; ".join(filter(None, (entry.why, *_find_reasons(entry))))
    return str(entry.number), format_minute(entry.when), what, about, accuracy, entry.who, reasons


def describe_registry(workspace: Place) -> Registry:
    """Return the champion and the history for the index page of a workspace; raises CorruptArtefact."""
    history = load_history(workspace)
    entries = [TimelineEntry(*build_entry_row(entry)) for entry in reversed(history)]
    return Registry(history.champion.run_id if history.champion else None, entries)


def format_deleted(names: Sequence[str]) -> str:
    """Return how many runs, data sets and groups a deletion names; of one alone, its name."""
    counts = Counter(name.partition("/")[0] for name in names)
    if counts.total() == 1:
        return names[0]
    titles = {"runs": "run", "datasets": "data set", "groups": "group"}
    found = [(counts[kind], title) for kind, title in titles.items() if counts[kind]]
    return ", ".join(f"{count:,} {title}{'' if count == 1 else 's'}" for count, title in found)


def _format_outcome(entry: Entry) -> str:
    if entry.deleted:
        return "deleted"
    if entry.action == "rollback" and entry.champion:
        return f"back to version {entry.champion.version}"
    if entry.outcome == "promoted":
        return "promoted by force" if entry.forced else "promoted"
    return "kept the champion" if entry.champion else "not promoted"


def _find_reasons(entry: Entry) -> list[str]:
    """Return the reasons in a form that fits a cell; of a promotion by the policy, its gain and p-value only."""
    if entry.outcome != "promoted" or not entry.findings:
        return list(entry.reasons)
    texts = {"minimum_gain": format_points, "significance": "p = {:.2g}".format}
    return [
        texts[finding.test](finding.value)
        for finding in entry.findings
        if finding.against is not None and finding.test in texts
    ]


def build_entry_output(workspace: Place, entry: Entry) -> CommandOutput:
    """Return the decision of `promote`, `rollback` or `retrain`, its reasons and the champion after it."""
    champion = _build_champion_json(workspace, entry.champion) if entry.champion else None
    decision = f"{entry.run_id or entry.dataset_id}: {_format_outcome(entry)} (entry {entry.number})"
    findings = [f"  {'+' if finding.passed else '-'} {finding.text}" for finding in entry.findings]
    reasons = findings or [f"  {reason}" for reason in entry.reasons]
    result = entry.model_dump(mode="json") | {"champion": champion}
    return result, [decision, *reasons, _format_champion_line(workspace, entry.champion)]


def build_retrain_output(
    workspace: Place, retrained: RetrainResult, log: StageLog, pruned: "DeletionResult"
) -> CommandOutput:
    """Return the result of a retraining: the entry with its decision, the champion, and the names that were deleted."""
    entry = retrained.entry
    champion = retrained.history.champion
    dataset_id = retrained.data.manifest.dataset_id
    result = {
        "outcome": retrained.outcome,
        "run_id": entry.run_id,
        "dataset_id": dataset_id,
        "entry": entry.number,
        "reasons": list(entry.reasons),
        "findings": [finding.model_dump(mode="json") for finding in entry.findings],
        "before": entry.before,
        "champion": _build_champion_json(workspace, champion) if champion else None,
        "deleted": list(pruned.deleted),
        "retention_failure": pruned.failure,
        **build_log_json(log),
    }
    num_bytes = sum(pruned.deleted.values())
    freed = [f"deleted   {format_deleted(list(pruned.deleted))}: {num_bytes:,} bytes"] if pruned.deleted else []
    if retrained.outcome != "unchanged":
        return result, [*build_entry_output(workspace, entry)[1], *freed, format_times(log)]
    unchanged = (
        f"nothing changed: {dataset_id} and the configuration are as before, decided by entry "
        f"{entry.number}: {_format_outcome(entry)}"
    )
    return result, [unchanged, _format_champion_line(workspace, champion), *freed, format_times(log)]


def _format_champion_line(workspace: Place, champion: Champion | None) -> str:
    if champion is None:
        return "champion  none yet"
    return f"champion  version {champion.version}, {workspace / champion.folder}"
