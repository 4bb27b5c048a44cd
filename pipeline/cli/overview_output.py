"""The text and JSON that `backbeam runs`, `show`, `compare` and `report` print."""

from typing import Any

from pipeline.cli.output import CommandOutput, OutputPart, Sheet
from pipeline.cli.run_output import describe_run, format_accuracies, format_accuracy, format_agreement
from pipeline.evaluate.evaluated_runs import EvaluatedRun, RunComparison, RunList, RunSummary, changed_settings
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.evaluate.significance import PairedComparison
from pipeline.progress import format_percent
from pipeline.report.report import Report
from pipeline.storage.schemas import ORIGIN
from pipeline.train.run_record import RunRecord


def build_run_list_output(listing: RunList) -> CommandOutput:
    """Return a table of runs for each data set, the newest first."""
    result = {
        "runs": [_build_run_json(*summary) for summary in listing.runs],
        "problems": list(map(str, listing.problems)),
    }
    by_dataset: dict[str, list[tuple[str, ...]]] = {}
    for summary in listing.runs:
        by_dataset.setdefault(summary.run.dataset_id, []).append(_build_run_row(summary))
    headings = ("run", "#accuracy", "95 % interval", "finished (UTC)")
    sheets = [
        Sheet(headings, rows, f"test examples of {dataset}", row_is_line=True) for dataset, rows in by_dataset.items()
    ]
    return result, [*sheets] or ["no runs yet: backbeam run"]


def _build_run_json(run: RunRecord, evaluation: EvaluationRecord | None) -> dict[str, Any]:
    results = {result.split: result.model_dump(mode="json") for result in evaluation.results} if evaluation else None
    return {
        "run_id": run.run_id,
        "dataset_id": run.dataset_id,
        "finished": run.finished,
        "config": run.config.model_dump(mode="json"),
        "evaluation": results,
    }


def _build_run_row(summary: RunSummary) -> tuple[str, ...]:
    run = summary.run
    evaluation = summary.evaluation
    figures = format_accuracy(evaluation.test_result()) if evaluation else ("not evaluated", "")
    return run.run_id, *figures, format_minute(run.finished)


def build_run_details_output(details: EvaluatedRun) -> CommandOutput:
    """Return figures, classes, configuration, digests and versions of a run."""
    run = details.run
    classes = [{name: row[name] for name in row if name not in ORIGIN} for row in details.rows("classes")]
    results = details.evaluation.model_dump(mode="json")["results"]
    settings = [
        (name, _format_setting(own), "" if own == recipe else _format_setting(recipe))
        for name, (own, recipe) in changed_settings(run.config).items()
        if own is not None
    ]
    return run.model_dump(mode="json") | {"evaluation": results, "classes": classes}, [
        run.run_id,
        *format_accuracies(details.evaluation),
        describe_run(run),
        *format_agreement(run),
        "",
        _build_classes_sheet(details),
        "",
        Sheet(("setting", "value", "recipe's"), settings, "configuration"),
        "",
        f"trained on   {run.device}, in {run.seconds:.1f} s, finished {run.finished}",
        f"with         {', '.join(f'{name} {version}' for name, version in run.versions.items())}",
        f"data set     {run.dataset_id}, SHA-256 of its manifest {run.dataset_digest}",
        f"parameters   {run.parameters.num_bytes:,} bytes, SHA-256 {run.parameters.sha256}",
    ]


def _build_classes_sheet(details: EvaluatedRun) -> Sheet:
    headings = ("#label", "class", "#precision", "#recall", "#F1", "#examples", "#answered")
    rows = [
        (
            str(row["label"]),
            row["class_name"],
            *(format_percent(row[name]) for name in ("precision", "recall", "f1")),
            row["support"],
            row["num_predicted"],
        )
        for row in details.rows("classes", "test")
    ]
    return Sheet(headings, rows, "classes of the test split")


def _format_setting(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def build_comparison_output(comparison: RunComparison) -> CommandOutput:
    """Return the differences of two runs in predictions, recalls and settings; differences are B minus A."""
    first = comparison.first
    second = comparison.second
    result = {
        "first": _build_run_json(first.run, first.evaluation),
        "second": _build_run_json(second.run, second.evaluation),
        "test": comparison.comparison._asdict(),
        "settings": comparison.settings,
    }
    rows = [(name, *map(_format_setting, pair)) for name, pair in comparison.settings.items()]
    parts: list[OutputPart] = [f"A  {first.run.run_id}", f"B  {second.run.run_id}", ""]
    parts += [_build_splits_sheet(comparison), *_format_test_result(comparison.comparison), ""]
    parts += [_build_recalls_sheet(comparison), ""]
    parts.append(Sheet(("setting", "A", "B"), rows, "settings that differ") if rows else "both have the same settings")
    return result, parts


def _build_splits_sheet(comparison: RunComparison) -> Sheet:
    pairs = zip(comparison.first.evaluation.results, comparison.second.evaluation.results, strict=True)
    rows = [
        (
            first.split,
            *format_accuracy(first),
            *format_accuracy(second),
            format_points(second.accuracy - first.accuracy),
            f"{first.loss:.4f}",
            f"{second.loss:.4f}",
        )
        for first, second in pairs
    ]
    return Sheet(("split", "#A", "95 % interval", "#B", "95 % interval", "#B - A", "#loss A", "#loss B"), rows)


def _format_test_result(paired: PairedComparison) -> list[str]:
    """Return the result of McNemar's test on the test split, and the interval of the difference."""
    verdict = "a difference beyond chance" if paired.p_value < 0.05 else "no difference beyond chance"
    return [
        f"of {paired.num_examples:,} test examples only A gets {paired.only_first:,} right, only B "
        f"{paired.only_second:,}: {verdict} (exact McNemar test, p = {paired.p_value:.2g})",
        f"B - A is {format_points(paired.difference)}, 95 % bootstrap interval "
        f"{format_points(paired.difference_low)} to {format_points(paired.difference_high)}",
    ]


def _build_recalls_sheet(comparison: RunComparison) -> Sheet:
    pairs = zip(*(one.rows("classes", "test") for one in (comparison.first, comparison.second)), strict=True)
    rows = [
        (
            str(first["label"]),
            first["class_name"],
            format_percent(first["recall"]),
            format_percent(second["recall"]),
            format_points(second["recall"] - first["recall"]),
        )
        for first, second in pairs
    ]
    return Sheet(("#label", "class", "#recall A", "#recall B", "#B - A"), rows, "classes of the test split")


def build_report_output(report: Report) -> CommandOutput:
    """Return the accuracy of each run in a report, and the path of the page."""
    lines = [
        f"{row['run_id']}: {row['num_correct']:,} of {row['num_examples']:,} test examples are right, "
        f"{format_percent(row['accuracy'])}"
        for row in report.figures
    ]
    page = f"page    {report.path} ({report.num_bytes / 1000:,.0f} kB; opens in any browser)"
    return {"path": str(report.path), "num_bytes": report.num_bytes, "runs": report.figures}, [*lines, page]


def format_points(difference: float) -> str:
    """Return a difference of proportions in percentage points, with its sign."""
    return f"{100 * difference:+.2f} points"


def format_minute(time: str) -> str:
    """Return a time of ISO 8601 without its seconds and zone."""
    return time[:16].replace("T", " ")
