"""The text and JSON that `backbeam preprocess`, `validate` and `inspect` print."""

from typing import TYPE_CHECKING, Any

from pipeline.cli.output import CommandOutput, OutputPart, Sheet
from pipeline.context import StageLog
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.validation_config import ValidationRecord, table_folder
from pipeline.progress import format_percent
from pipeline.storage.places import Place

if TYPE_CHECKING:
    from pipeline.report.dataset_inspection import Inspection  # imports Pillow


def build_dataset_output(
    workspace: Place, dataset: Dataset, validation: ValidationRecord, log: StageLog
) -> CommandOutput:
    """Return the size, the times and the folder of a preprocessed data set, and the summary of its validation."""
    manifest = dataset.manifest
    result = {
        "dataset_id": manifest.dataset_id,
        "dataset_digest": dataset.digest,
        "num_examples": {name: split.num_examples for name, split in manifest.splits.items()},
        "num_rejected": manifest.num_rejected,
        "parts": [part.dataset_id for part in manifest.parts],
        **build_log_json(log),
        "paths": {"workspace": str(workspace), "dataset": str(dataset.folder)},
    }
    splits = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
    rejected = f", {_format_rejected(manifest)}" if manifest.num_rejected else ""
    size = f"{manifest.height} x {manifest.width} pixels, {len(manifest.class_names)} classes"
    head = f"{manifest.dataset_id}: {splits} examples of {size}{rejected}"
    result |= build_validation_json(workspace, validation)
    lines = [head, format_times(log), f"shards  {dataset.folder}", format_validation_line(workspace, validation)]
    return result, [*lines]


def _format_rejected(manifest: Manifest) -> str:
    num_source = manifest.num_rejected + sum(split.num_examples for split in manifest.splits.values())
    share = f" ({format_percent(manifest.num_rejected / num_source)})" if manifest.num_rejected else ""
    return f"{manifest.num_rejected:,} rejected{share}"


def build_inspection_output(workspace: Place, inspection: "Inspection") -> CommandOutput:
    """Return the statistics of a data set, its validation (null if there is none), and the path of the sheet."""
    manifest = inspection.dataset.manifest
    record = inspection.validation
    result = {
        "dataset_id": manifest.dataset_id,
        "dataset_digest": inspection.dataset.digest,
        "image_size": [manifest.height, manifest.width],
        "num_rejected": manifest.num_rejected,
        "splits": inspection.statistics,
        "examples": [
            {"split": example.split, "index": example.index, "label": example.label} for example in inspection.named
        ],
        "sheet": str(inspection.sheet),
    }
    result |= build_validation_json(workspace, record) if record else {"validation": None}
    head = f"{manifest.dataset_id}: {manifest.height} x {manifest.width} pixels, {_format_rejected(manifest)}"
    validated = format_validation(workspace, record) if record else ["not validated yet: backbeam validate"]
    sheets = ["", _build_splits_sheet(inspection.statistics), "", _build_classes_sheet(inspection), ""]
    return result, [head, *sheets, *validated, f"sheet   {inspection.sheet}"]


def _build_splits_sheet(statistics: dict[str, Any]) -> Sheet:
    rows = [
        (name, split["num_examples"], split["num_shards"], f"{split['pixel_mean']:.2f}", f"{split['pixel_std']:.2f}")
        for name, split in statistics.items()
    ]
    return Sheet(("split", "#examples", "#shards", "#pixel mean", "#pixel std"), rows)


def _build_classes_sheet(inspection: "Inspection") -> Sheet:
    splits = inspection.statistics
    rows = []
    for label, name in enumerate(inspection.dataset.manifest.class_names):
        counts = [split["classes"][label] for split in splits.values()]
        cells = [cell for count in counts for cell in (count["num_examples"], format_percent(count["share"]))]
        rows.append((str(label), name, *cells))
    return Sheet(("#label", "class", *(heading for split in splits for heading in (f"#{split}", "#share"))), rows)


def build_validation_json(workspace: Place, record: ValidationRecord) -> dict[str, Any]:
    """Return the JSON of a validation, which is a part of several commands' results."""
    validation = {
        "passed": not record.with_outcome("error"),
        "num_warnings": len(record.with_outcome("warning")),
        "results": [result.model_dump(mode="json") for result in record.results],
        "table": str(table_folder(workspace, record.dataset_id) / record.table.name),
    }
    return {"validation": validation}


def format_validation(workspace: Place, record: ValidationRecord) -> list[OutputPart]:
    """Return a table of the result of every check, and a summary."""
    rows = [
        (
            result.check,
            result.split,
            f"{result.value:.4g}",
            f"{result.threshold:.4g}",
            result.severity,
            result.outcome + (f", {result.num_examples:,} examples" if result.num_examples else ""),
        )
        for result in record.results
    ]
    sheet = Sheet(("check", "split", "#value", "#threshold", "severity", "outcome"), rows)
    return [sheet, format_validation_line(workspace, record)]


def format_validation_line(workspace: Place, record: ValidationRecord) -> str:
    """Return a line with the number of checks of each outcome, and the folder of the table."""
    counts = {outcome: len(record.with_outcome(outcome)) for outcome in ("passed", "warning", "error")}
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"checks  {summary or 'none'}: {table_folder(workspace, record.dataset_id)}"


def build_log_json(log: StageLog) -> dict[str, Any]:
    """Return the seconds of each stage, rounded to milliseconds, and the stages that were skipped."""
    return {"seconds": {stage: round(seconds, 3) for stage, seconds in log.seconds.items()}, "skipped": log.skipped}


def format_times(log: StageLog) -> str:
    """Return a line with the duration of each stage."""
    parts = [
        f"{stage} {seconds:.1f} s" + (" (already done)" if stage in log.skipped else "")
        for stage, seconds in log.seconds.items()
    ]
    return f"time    {', '.join(parts)}"
