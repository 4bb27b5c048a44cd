"""The text and JSON that `backbeam prune`, `rm` and `du` print."""

from pipeline.cli.output import CommandOutput, Sheet
from pipeline.cli.overview_output import format_minute
from pipeline.maintenance.deletion import DeletionResult
from pipeline.maintenance.disk_usage import StoredItem
from pipeline.maintenance.retention_config import Retention


def build_deletion_output(result: DeletionResult, dry_run: bool) -> CommandOutput:
    """Return the names that were deleted, or would be in a dry run, with their bytes."""
    total = sum(result.deleted.values())
    deleted = [{"name": name, "num_bytes": num_bytes} for name, num_bytes in result.deleted.items()]
    content = {"dry_run": dry_run, "deleted": deleted, "num_bytes": total, "entry": result.entry}
    if not deleted:
        return content, ["nothing to delete"]
    rows = [(name, num_bytes) for name, num_bytes in result.deleted.items()]
    entry = "" if result.entry is None else f" (entry {result.entry} of the history)"
    verb = "would be deleted" if dry_run else "deleted"
    return content, [Sheet(("name", "#bytes"), rows), "", f"{verb}: {total:,} bytes{entry}"]


def build_usage_output(items: list[StoredItem], rule: Retention) -> CommandOutput:
    """Return each part of a workspace with its bytes, its time and why it is kept."""
    total = sum(item.num_bytes for item in items)
    would_go = sum(item.num_bytes for item in items if item.would_go)
    content = {
        "items": [item._asdict() for item in items],
        "num_bytes": total,
        "rule": rule.model_dump(mode="json"),
        "num_bytes_to_delete": would_go,
    }
    rows = [(item.name, item.num_bytes, _format_time(item), _describe(item, rule)) for item in items]
    verdict = f"{total:,} bytes, of which `backbeam prune {rule}` would delete {would_go:,}"
    return content, [Sheet(("name", "#bytes", "when (UTC)", "kept because"), rows), "", verdict]


def _format_time(item: StoredItem) -> str:
    return format_minute(item.when) if item.when else ""


def _describe(item: StoredItem, rule: Retention) -> str:
    if item.would_go:
        return f"`prune {rule}` would delete it"
    if item.kept_because is None and item.name.startswith(("runs/", "datasets/")):
        return "unfinished: it has no record"
    return item.kept_because or ""
