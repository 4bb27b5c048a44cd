"""What commands print about data sets, as text and as JSON."""

from typing import TYPE_CHECKING, Any

from pipeline.context import StageLog
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.validation_config import ValidationRecord, table_folder
from pipeline.report.inspect import Inspection
from pipeline.storage.places import Place

if TYPE_CHECKING:
    pass  # which imports NumPy

from typing import TYPE_CHECKING

from pipeline.cli.output import OutputPart, Sheet, columns
from pipeline.preprocess.validation_config import CheckResult
from pipeline.progress import format_percent

if TYPE_CHECKING:
    pass  # which imports NumPy


def dataset_json(workspace: Place, dataset: Dataset, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam preprocess --json` prints."""
    manifest = dataset.manifest
    return {
        "dataset_id": manifest.dataset_id,
        "dataset_digest": dataset.digest,
        "num_examples": {name: split.num_examples for name, split in manifest.splits.items()},
        "num_rejected": manifest.num_rejected,
        "parts": [part.dataset_id for part in manifest.parts],
        "seconds": rounded(log),
        "skipped": log.skipped,
        "paths": {"workspace": str(workspace), "dataset": str(dataset.folder)},
    }


def validation_json(workspace: Place, record: ValidationRecord) -> dict[str, Any]:
    """Return what the commands that validate print of it with --json."""
    results = [result.model_dump(mode="json") for result in record.results]
    table = str(table_folder(workspace, record.dataset_id) / record.table.name)
    found = {
        "passed": not record.with_outcome("error"),
        "num_warnings": len(record.with_outcome("warning")),
        "results": results,
        "table": table,
    }
    return {"validation": found}


def inspection_json(workspace: Place, found: Inspection) -> dict[str, Any]:
    """Return what `backbeam inspect --json` prints; validation is null if there was none."""
    manifest, record = found.dataset.manifest, found.validation
    named = [{"split": each.split, "index": each.index, "label": each.label} for each in found.named]
    about = {
        "dataset_id": manifest.dataset_id,
        "dataset_digest": found.dataset.digest,
        "image_size": [manifest.height, manifest.width],
        "num_rejected": manifest.num_rejected,
        "splits": found.statistics,
        "examples": named,
        "sheet": str(found.sheet),
    }
    return about | (validation_json(workspace, record) if record else {"validation": None})


def rounded(log: StageLog) -> dict[str, float]:
    """Return the seconds of each stage, to the millisecond."""
    return {stage: round(seconds, 3) for stage, seconds in log.seconds.items()}


def dataset_parts(dataset: Dataset, log: StageLog) -> list[OutputPart]:
    """Tell what data set there is now."""
    manifest = dataset.manifest
    splits = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
    rejected = f", {manifest.num_rejected:,} rejected" if manifest.num_rejected else ""
    size = f"{manifest.height} x {manifest.width} pixels, {len(manifest.class_names)} classes"
    return [
        f"{manifest.dataset_id}: {splits} examples of {size}{rejected}",
        times(log),
        f"shards  {dataset.folder}",
    ]


def inspection_parts(workspace: Place, found: Inspection) -> list[OutputPart]:
    """Show a data set's statistics, what its validation found, and where the contact sheet is."""
    manifest, record = found.dataset.manifest, found.validation
    head = f"{manifest.dataset_id}: {manifest.height} x {manifest.width} pixels, {manifest.num_rejected:,} rejected"
    validated = validation_sheet(workspace, record) if record else ["not validated yet: backbeam validate"]
    sheets = ["", _split_sheet(found.statistics), "", _class_sheet(found), ""]
    return [head, *sheets, *validated, f"sheet   {found.sheet}"]


def _split_sheet(statistics: dict[str, Any]) -> Sheet:
    rows = [
        (
            name,
            f"{split['num_examples']:,}",
            f"{split['num_shards']:,}",
            f"{split['pixel_mean']:.2f}",
            f"{split['pixel_std']:.2f}",
        )
        for name, split in statistics.items()
    ]
    return Sheet(columns("split", "#examples", "#shards", "#pixel mean", "#pixel std"), rows)


def _class_sheet(found: Inspection) -> Sheet:
    """Say how many examples of each class there are in each split."""
    splits = found.statistics
    rows = []
    for label, name in enumerate(found.dataset.manifest.class_names):
        counts = [split["classes"][label] for split in splits.values()]
        cells = [cell for count in counts for cell in (f"{count['num_examples']:,}", format_percent(count["share"]))]
        rows.append((str(label), name, *cells))
    heads = [head for split in splits for head in (f"#{split}", "#share")]
    return Sheet(columns("#label", "class", *heads), rows)


def validation_sheet(workspace: Place, record: ValidationRecord) -> list[OutputPart]:
    """Show what every check found."""
    heads = columns("check", "split", "#value", "#threshold", "severity", "outcome")
    return [Sheet(heads, list(map(_check_row, record.results))), validation_line(workspace, record)]


def _check_row(result: CheckResult) -> tuple[str, ...]:
    concerned = f", {result.num_examples:,} examples" if result.num_examples else ""
    figures = f"{result.value:.4g}", f"{result.threshold:.4g}"
    return result.check, result.split, *figures, result.severity, f"{result.outcome}{concerned}"


def validation_line(workspace: Place, record: ValidationRecord) -> str:
    """Tell in a line how validation went, and where the table is."""
    counts = {outcome: len(record.with_outcome(outcome)) for outcome in ("passed", "warning", "error")}
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"checks  {said or 'none'}: {table_folder(workspace, record.dataset_id)}"


def times(log: StageLog) -> str:
    """Tell how long each stage took."""
    parts = [
        f"{stage} {seconds:.1f} s" + (" (already done)" if stage in log.skipped else "")
        for stage, seconds in log.seconds.items()
    ]
    return f"time    {', '.join(parts)}"
