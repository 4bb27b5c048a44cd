"""Text and JSON about data sets and their validation, for the commands to print."""

from typing import Any

from pipeline.cli.output import OutputPart, Sheet, parse_columns
from pipeline.context import StageLog
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.validation_config import CheckResult, ValidationRecord, table_folder
from pipeline.progress import format_percent
from pipeline.report.dataset_inspection import Inspection
from pipeline.storage.places import Place


def build_dataset_json(workspace: Place, dataset: Dataset, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam preprocess --json` prints."""
    manifest = dataset.manifest
    return {
        "dataset_id": manifest.dataset_id,
        "dataset_digest": dataset.digest,
        "num_examples": {name: split.num_examples for name, split in manifest.splits.items()},
        "num_rejected": manifest.num_rejected,
        "parts": [part.dataset_id for part in manifest.parts],
        "seconds": round_seconds(log),
        "skipped": log.skipped,
        "paths": {"workspace": str(workspace), "dataset": str(dataset.folder)},
    }


def build_validation_json(workspace: Place, record: ValidationRecord) -> dict[str, Any]:
    """Return the JSON object of a validation, which is a part of several commands' results."""
    results = [result.model_dump(mode="json") for result in record.results]
    table = str(table_folder(workspace, record.dataset_id) / record.table.name)
    validation = {
        "passed": not record.with_outcome("error"),
        "num_warnings": len(record.with_outcome("warning")),
        "results": results,
        "table": table,
    }
    return {"validation": validation}


def build_inspection_json(workspace: Place, inspection: Inspection) -> dict[str, Any]:
    """Return what `backbeam inspect --json` prints; validation is null if the data set was not validated."""
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
    return result | (build_validation_json(workspace, record) if record else {"validation": None})


def round_seconds(log: StageLog) -> dict[str, float]:
    """Return the seconds of each stage, rounded to milliseconds."""
    return {stage: round(seconds, 3) for stage, seconds in log.seconds.items()}


def format_dataset(dataset: Dataset, log: StageLog) -> list[OutputPart]:
    """Return lines about a preprocessed data set."""
    manifest = dataset.manifest
    splits = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
    rejected = f", {manifest.num_rejected:,} rejected" if manifest.num_rejected else ""
    size = f"{manifest.height} x {manifest.width} pixels, {len(manifest.class_names)} classes"
    return [
        f"{manifest.dataset_id}: {splits} examples of {size}{rejected}",
        format_times(log),
        f"shards  {dataset.folder}",
    ]


def format_inspection(workspace: Place, inspection: Inspection) -> list[OutputPart]:
    """Return a data set's statistics, the results of its validation, and the path of the contact sheet."""
    manifest = inspection.dataset.manifest
    record = inspection.validation
    head = f"{manifest.dataset_id}: {manifest.height} x {manifest.width} pixels, {manifest.num_rejected:,} rejected"
    validated = format_validation(workspace, record) if record else ["not validated yet: backbeam validate"]
    sheets = ["", _build_splits_sheet(inspection.statistics), "", _build_classes_sheet(inspection), ""]
    return [head, *sheets, *validated, f"sheet   {inspection.sheet}"]


def _build_splits_sheet(statistics: dict[str, Any]) -> Sheet:
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
    return Sheet(parse_columns("split", "#examples", "#shards", "#pixel mean", "#pixel std"), rows)


def _build_classes_sheet(inspection: Inspection) -> Sheet:
    """Return a table of the examples of each class in each split."""
    splits = inspection.statistics
    rows = []
    for label, name in enumerate(inspection.dataset.manifest.class_names):
        counts = [split["classes"][label] for split in splits.values()]
        cells = [cell for count in counts for cell in (f"{count['num_examples']:,}", format_percent(count["share"]))]
        rows.append((str(label), name, *cells))
    headings = [heading for split in splits for heading in (f"#{split}", "#share")]
    return Sheet(parse_columns("#label", "class", *headings), rows)


def format_validation(workspace: Place, record: ValidationRecord) -> list[OutputPart]:
    """Return a table of the result of every check."""
    headings = parse_columns("check", "split", "#value", "#threshold", "severity", "outcome")
    return [Sheet(headings, list(map(_build_check_row, record.results))), format_validation_line(workspace, record)]


def _build_check_row(result: CheckResult) -> tuple[str, ...]:
    num_examples = f", {result.num_examples:,} examples" if result.num_examples else ""
    return (
        result.check,
        result.split,
        f"{result.value:.4g}",
        f"{result.threshold:.4g}",
        result.severity,
        f"{result.outcome}{num_examples}",
    )


def format_validation_line(workspace: Place, record: ValidationRecord) -> str:
    """Return a line with the number of checks of each outcome, and the folder of the table."""
    counts = {outcome: len(record.with_outcome(outcome)) for outcome in ("passed", "warning", "error")}
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"checks  {summary or 'none'}: {table_folder(workspace, record.dataset_id)}"


def format_times(log: StageLog) -> str:
    """Return a line with the duration of each stage."""
    parts = [
        f"{stage} {seconds:.1f} s" + (" (already done)" if stage in log.skipped else "")
        for stage, seconds in log.seconds.items()
    ]
    return f"time    {', '.join(parts)}"
