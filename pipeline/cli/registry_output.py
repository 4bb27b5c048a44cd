"""Text and JSON of the results of the registry's commands."""

from typing import Any

from pipeline.cli.dataset_output import format_times, round_seconds
from pipeline.cli.output import OutputPart, Sheet, parse_columns
from pipeline.cli.overview_output import format_points
from pipeline.context import StageLog
from pipeline.registry.decision import CriterionResult
from pipeline.registry.history import Champion, Entry, History
from pipeline.registry.retrain import RetrainResult
from pipeline.storage.places import Place


def build_champion_json(workspace: Place, champion: Champion) -> dict[str, Any]:
    """Return what `backbeam champion --json` prints."""
    return champion.model_dump(mode="json") | {"path": str(workspace / champion.folder / champion.parameters.name)}


def format_champion(workspace: Place, champion: Champion) -> list[OutputPart]:
    """Return lines about the champion and its files."""
    since = _format_minute(champion.since)
    return [
        f"champion    {champion.run_id}",
        f"version     {champion.version}, since {since} UTC (entry {champion.entry} of the history)",
        f"data set    {champion.dataset_id}",
        f"parameters  {workspace / champion.folder / champion.parameters.name}",
        f"            SHA-256 {champion.parameters.sha256}",
    ]


def build_history_json(history: History) -> dict[str, Any]:
    """Return what `backbeam history --json` prints."""
    return {"entries": [entry.model_dump(mode="json") for entry in history]}


def format_history(history: History) -> list[OutputPart]:
    """Return a table of all entries, the newest first."""
    if not history:
        return ["nothing was decided yet: backbeam retrain"]
    headings = parse_columns("#entry", "when (UTC)", "what", "run", "#accuracy", "who", "why")
    return [Sheet(headings, [_build_entry_row(entry) for entry in reversed(history)])]


def _build_entry_row(entry: Entry) -> tuple[str, ...]:
    what = f"{entry.action}: {_format_outcome(entry)}"
    accuracy = "" if entry.accuracy is None else f"{100 * entry.accuracy:.2f} %"
    reasons = "; ".join(filter(None, (entry.why, *_find_reasons(entry))))
    return str(entry.number), _format_minute(entry.when), what, entry.run_id or "no run", accuracy, entry.who, reasons


def _format_outcome(entry: Entry) -> str:
    if entry.action == "rollback" and entry.champion:
        return f"back to version {entry.champion.version}"
    if entry.outcome == "promoted":
        return "promoted by force" if entry.forced else "promoted"
    return "kept the champion" if entry.champion else "not promoted"


def _find_reasons(entry: Entry) -> tuple[str, ...]:
    """Return the reasons in a form that fits a cell; of a promotion by the policy, its gain and p-value only."""
    if entry.outcome == "promoted" and entry.findings:
        return tuple(filter(None, map(_format_criterion, entry.findings)))
    return entry.reasons


def _format_criterion(finding: CriterionResult) -> str:
    if finding.against is None:
        return ""
    texts = {"minimum_gain": format_points(finding.value), "significance": f"p = {finding.value:.2g}"}
    return texts.get(finding.test, "")


def build_entry_json(workspace: Place, entry: Entry) -> dict[str, Any]:
    """Return what `backbeam promote --json` and `rollback --json` print."""
    champion = build_champion_json(workspace, entry.champion) if entry.champion else None
    return entry.model_dump(mode="json") | {"champion": champion}


def format_entry(workspace: Place, entry: Entry) -> list[OutputPart]:
    """Return the decision, its reasons and the champion after it."""
    decision = f"{entry.run_id or entry.dataset_id}: {_format_outcome(entry)} (entry {entry.number})"
    findings = [f"  {'+' if finding.passed else '-'} {finding.text}" for finding in entry.findings]
    reasons = [] if findings else [f"  {reason}" for reason in entry.reasons]
    return [decision, *findings, *reasons, _format_champion_line(workspace, entry.champion)]


def build_retrain_json(workspace: Place, result: RetrainResult, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam retrain --json` prints."""
    entry = result.entry
    champion = result.history.champion
    return {
        "outcome": result.outcome,
        "run_id": entry.run_id,
        "dataset_id": result.data.manifest.dataset_id,
        "entry": entry.number,
        "reasons": list(entry.reasons),
        "findings": [finding.model_dump(mode="json") for finding in entry.findings],
        "before": entry.before,
        "champion": build_champion_json(workspace, champion) if champion else None,
        "seconds": round_seconds(log),
        "skipped": log.skipped,
    }


def format_retrain_result(workspace: Place, result: RetrainResult, log: StageLog) -> list[OutputPart]:
    """Return the decision of a retraining; if nothing changed, the entry that decided before."""
    if result.outcome != "unchanged":
        return [*format_entry(workspace, result.entry), format_times(log)]
    unchanged = (
        f"nothing changed: {result.data.manifest.dataset_id} and the configuration are as before, decided by entry "
        f"{result.entry.number}: {_format_outcome(result.entry)}"
    )
    return [unchanged, _format_champion_line(workspace, result.history.champion), format_times(log)]


def _format_champion_line(workspace: Place, champion: Champion | None) -> str:
    if champion is None:
        return "champion  none yet"
    return f"champion  version {champion.version}, {workspace / champion.folder}"


def _format_minute(time: str) -> str:
    return time[:16].replace("T", " ")
