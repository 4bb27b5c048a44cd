"""Text of the results of `backbeam runs`, `show` and `compare`; their JSON is in `run_json`."""

from typing import Any

from pipeline.cli.output import OutputPart, Sheet, parse_columns
from pipeline.cli.run_output import describe_run, format_accuracies, format_agreement, format_interval
from pipeline.evaluate.evaluated_runs import EvaluatedRun, RunComparison, RunList, RunSummary, changed_settings
from pipeline.evaluate.evaluation_record import SplitResult
from pipeline.evaluate.significance import PairedComparison
from pipeline.progress import format_percent


def format_run_list(listing: RunList) -> list[OutputPart]:
    """Return a table of runs for each data set, the newest first."""
    if not listing.runs:
        return ["no runs yet: backbeam run"]
    by_dataset: dict[str, list[RunSummary]] = {}
    for summary in listing.runs:
        by_dataset.setdefault(summary.run.dataset_id, []).append(summary)
    headings = parse_columns("run", "#accuracy", "95 % interval", "finished (UTC)")
    return [
        Sheet(headings, list(map(_build_run_row, runs)), f"test examples of {dataset}")
        for dataset, runs in by_dataset.items()
    ]


def _build_run_row(summary: RunSummary) -> tuple[str, ...]:
    run = summary.run
    test = summary.evaluation.test_result() if summary.evaluation else None
    figures = (format_percent(test.accuracy), format_interval(test)) if test else ("not evaluated", "")
    return run.run_id, *figures, run.finished[:16].replace("T", " ")


def format_run_details(details: EvaluatedRun) -> list[OutputPart]:
    """Return figures, classes, configuration, digests and versions of a run."""
    run = details.run
    return [
        run.run_id,
        *format_accuracies(details.evaluation),
        describe_run(run),
        *format_agreement(run),
        "",
        _build_classes_sheet(details),
        "",
        _build_settings_sheet(changed_settings(run.config)),
        "",
        f"trained on   {run.device}, in {run.seconds:.1f} s, finished {run.finished}",
        f"with         {', '.join(f'{name} {version}' for name, version in run.versions.items())}",
        f"data set     {run.dataset_id}, SHA-256 of its manifest {run.dataset_digest}",
        f"parameters   {run.parameters.num_bytes:,} bytes, SHA-256 {run.parameters.sha256}",
    ]


def _build_classes_sheet(details: EvaluatedRun) -> Sheet:
    headings = parse_columns("#label", "class", "#precision", "#recall", "#F1", "#examples", "#answered")
    rows = [_build_class_row(row) for row in details.rows("classes", "test")]
    return Sheet(headings, rows, "classes of the test split")


def _build_class_row(row: dict[str, Any]) -> tuple[str, ...]:
    shares = (format_percent(row[name]) for name in ("precision", "recall", "f1"))
    return str(row["label"]), row["class_name"], *shares, f"{row['support']:,}", f"{row['num_predicted']:,}"


def _build_settings_sheet(settings: dict[str, tuple[Any, Any]]) -> Sheet:
    given = {name: pair for name, pair in settings.items() if pair[0] is not None}
    rows = [
        (name, _format_setting(own), "" if own == recipe else _format_setting(recipe))
        for name, (own, recipe) in given.items()
    ]
    return Sheet(parse_columns("setting", "value", "recipe's"), rows, "configuration")


def format_comparison(comparison: RunComparison) -> list[OutputPart]:
    """Return the differences of two runs in predictions, recalls and settings."""
    return [
        f"A  {comparison.first.run.run_id}",
        f"B  {comparison.second.run.run_id}",
        "",
        _build_splits_sheet(comparison),
        *_format_test_result(comparison.comparison),
        "",
        _build_recalls_sheet(comparison),
        "",
        *_format_settings(comparison),
    ]


def _build_splits_sheet(comparison: RunComparison) -> Sheet:
    pairs = zip(comparison.first.evaluation.results, comparison.second.evaluation.results, strict=True)
    headings = parse_columns("split", "#A", "95 % interval", "#B", "95 % interval", "#B - A", "#loss A", "#loss B")
    return Sheet(headings, [_build_split_row(*pair) for pair in pairs])


def _build_split_row(first: SplitResult, second: SplitResult) -> tuple[str, ...]:
    return (
        first.split,
        format_percent(first.accuracy),
        format_interval(first),
        format_percent(second.accuracy),
        format_interval(second),
        format_points(second.accuracy - first.accuracy),
        f"{first.loss:.4f}",
        f"{second.loss:.4f}",
    )


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
    first = comparison.first.rows("classes", "test")
    second = comparison.second.rows("classes", "test")
    rows = [
        (
            str(row_a["label"]),
            row_a["class_name"],
            format_percent(row_a["recall"]),
            format_percent(row_b["recall"]),
            format_points(row_b["recall"] - row_a["recall"]),
        )
        for row_a, row_b in zip(first, second, strict=True)
    ]
    return Sheet(
        parse_columns("#label", "class", "#recall A", "#recall B", "#B - A"), rows, "classes of the test split"
    )


def _format_settings(comparison: RunComparison) -> list[OutputPart]:
    settings = comparison.differing_settings()
    if not settings:
        return ["both have the same settings"]
    rows = [(name, *map(_format_setting, pair)) for name, pair in settings.items()]
    return [Sheet(parse_columns("setting", "A", "B"), rows, "settings that differ")]


def format_points(difference: float) -> str:
    """Return a difference of proportions in percentage points, with its sign."""
    return f"{100 * difference:+.2f} points"


def _format_setting(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
