"""What the commands of the registry tell a person, and programs."""

from typing import Any

from pipeline.cli.dataset_output import times
from pipeline.cli.output import OutputPart, Sheet, columns
from pipeline.cli.overview_output import points
from pipeline.context import StageLog
from pipeline.registry.decision import CriterionResult
from pipeline.registry.history import Champion, Entry, History
from pipeline.registry.retrain import RetrainResult
from pipeline.storage.places import Place


def champion_json(workspace: Place, champion: Champion) -> dict[str, Any]:
    """Return what `backbeam champion --json` prints."""
    return champion.model_dump(mode="json") | {"path": str(workspace / champion.folder / champion.parameters.name)}


def champion_parts(workspace: Place, champion: Champion) -> list[OutputPart]:
    """Show the champion."""
    return [
        f"champion    {champion.run_id}",
        f"version     {champion.version}, since {_minute(champion.since)} UTC (entry {champion.entry} of the history)",
        f"data set    {champion.dataset_id}",
        f"parameters  {workspace / champion.folder / champion.parameters.name}",
        f"            SHA-256 {champion.parameters.sha256}",
    ]


def history_json(history: History) -> dict[str, Any]:
    """Return what `backbeam history --json` prints."""
    return {"entries": [entry.model_dump(mode="json") for entry in history]}


def history_parts(history: History) -> list[OutputPart]:
    """List all entries, the newest first."""
    if not history:
        return ["nothing was decided yet: backbeam retrain"]
    heads = columns("#entry", "when (UTC)", "what", "run", "#accuracy", "who", "why")
    return [Sheet(heads, [_row(entry) for entry in reversed(history)])]


def _row(entry: Entry) -> tuple[str, ...]:
    what = f"{entry.action}: {_outcome(entry)}"
    accuracy = "" if entry.accuracy is None else f"{100 * entry.accuracy:.2f} %"
    said = "; ".join(filter(None, (entry.why, *_deciding(entry))))
    return str(entry.number), _minute(entry.when), what, entry.run_id or "no run", accuracy, entry.who, said


def _outcome(entry: Entry) -> str:
    if entry.action == "rollback" and entry.champion:
        return f"back to version {entry.champion.version}"
    if entry.outcome == "promoted":
        return "promoted by force" if entry.forced else "promoted"
    return "kept the champion" if entry.champion else "not promoted"


def _deciding(entry: Entry) -> tuple[str, ...]:
    """Return the reasons that a line has room for: of a promotion by the policy, how far it is ahead."""
    if entry.outcome == "promoted" and entry.findings:
        return tuple(filter(None, map(_in_short, entry.findings)))
    return entry.reasons


def _in_short(finding: CriterionResult) -> str:
    if finding.against is None:
        return ""
    short = {"minimum_gain": points(finding.value), "significance": f"p = {finding.value:.2g}"}
    return short.get(finding.test, "")


def entry_json(workspace: Place, entry: Entry) -> dict[str, Any]:
    """Return what `backbeam promote --json` and `rollback --json` print."""
    champion = champion_json(workspace, entry.champion) if entry.champion else None
    return entry.model_dump(mode="json") | {"champion": champion}


def entry_parts(workspace: Place, entry: Entry) -> list[OutputPart]:
    """Tell what was decided."""
    about = f"{entry.run_id or entry.dataset_id}: {_outcome(entry)} (entry {entry.number})"
    findings = [f"  {'+' if finding.passed else '-'} {finding.text}" for finding in entry.findings]
    reasons = [] if findings else [f"  {reason}" for reason in entry.reasons]
    return [about, *findings, *reasons, _champion_line(workspace, entry.champion)]


def retrained_json(workspace: Place, found: RetrainResult, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam retrain --json` prints."""
    entry, champion = found.entry, found.history.champion
    return {
        "outcome": found.outcome,
        "run_id": entry.run_id,
        "dataset_id": found.data.manifest.dataset_id,
        "entry": entry.number,
        "reasons": list(entry.reasons),
        "findings": [finding.model_dump(mode="json") for finding in entry.findings],
        "before": entry.before,
        "champion": champion_json(workspace, champion) if champion else None,
        "seconds": {name: round(seconds, 3) for name, seconds in log.seconds.items()},
        "skipped": log.skipped,
    }


def retrained_parts(workspace: Place, found: RetrainResult, log: StageLog) -> list[OutputPart]:
    """Tell what came of a retraining."""
    if found.outcome != "unchanged":
        return [*entry_parts(workspace, found.entry), times(log)]
    decided = f", decided by entry {found.entry.number}: {_outcome(found.entry)}"
    what = f"nothing changed: {found.data.manifest.dataset_id} and the configuration are as before{decided}"
    return [what, _champion_line(workspace, found.history.champion), times(log)]


def _champion_line(workspace: Place, champion: Champion | None) -> str:
    if champion is None:
        return "champion  none yet"
    return f"champion  version {champion.version}, {workspace / champion.folder}"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
