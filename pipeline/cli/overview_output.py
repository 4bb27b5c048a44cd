"""What `backbeam runs`, `show` and `compare` tell a person."""

from collections.abc import Iterator
from typing import Any

from pipeline.cli.output import OutputPart, Sheet, columns
from pipeline.cli.run_output import about, agreement_lines, evaluation_head, interval
from pipeline.evaluate.records import SplitResult
from pipeline.evaluate.run_overview import RunComparison, RunDetails, RunList, RunSummary, changed_settings
from pipeline.evaluate.significance import PairedComparison
from pipeline.progress import format_percent


def listing_parts(listing: RunList) -> list[OutputPart]:
    """Show all runs of a workspace, the newest first, those of each data set together."""
    if not listing.runs:
        return ["no runs yet: backbeam run"]
    by_dataset: dict[str, list[RunSummary]] = {}
    for listed in listing.runs:
        by_dataset.setdefault(listed.run.dataset_id, []).append(listed)
    heads = columns("run", "#accuracy", "95 % interval", "finished (UTC)")
    return [
        Sheet(heads, list(map(_listed_row, runs)), f"test examples of {dataset}")
        for dataset, runs in by_dataset.items()
    ]


def _listed_row(listed: RunSummary) -> tuple[str, ...]:
    run = listed.run
    test = listed.evaluation.test_result() if listed.evaluation else None
    figures = (format_percent(test.accuracy), interval(test)) if test else ("not evaluated", "")
    return run.run_id, *figures, run.finished[:16].replace("T", " ")


def shown_parts(shown: RunDetails) -> list[OutputPart]:
    """Show a run in full."""
    run = shown.run
    return [
        run.run_id,
        *evaluation_head(shown.evaluation),
        about(run),
        *agreement_lines(run),
        "",
        *_class_sheets(shown),
        "",
        _settings_sheet(changed_settings(run.config)),
        "",
        f"trained on   {run.device}, in {run.seconds:.1f} s, finished {run.finished}",
        f"with         {', '.join(f'{name} {version}' for name, version in run.versions.items())}",
        f"data set     {run.dataset_id}, SHA-256 of its manifest {run.dataset_digest}",
        f"parameters   {run.parameters.num_bytes:,} bytes, SHA-256 {run.parameters.sha256}",
    ]


def _class_sheets(shown: RunDetails) -> Iterator[Sheet]:
    heads = columns("#label", "class", "#precision", "#recall", "#F1", "#examples", "#answered")
    rows = [_class_row(row) for row in shown.classes if row["split"] == "test"]
    yield Sheet(heads, rows, "classes of the test split")


def _class_row(row: dict[str, Any]) -> tuple[str, ...]:
    shares = (format_percent(row[name]) for name in ("precision", "recall", "f1"))
    return str(row["label"]), row["class_name"], *shares, f"{row['support']:,}", f"{row['num_predicted']:,}"


def _settings_sheet(settings: dict[str, tuple[Any, Any]]) -> Sheet:
    given = {name: pair for name, pair in settings.items() if pair[0] is not None}
    rows = [(name, _value(own), "" if own == recipe else _value(recipe)) for name, (own, recipe) in given.items()]
    return Sheet(columns("setting", "value", "recipe's"), rows, "configuration")


def compared_parts(compared: RunComparison) -> list[OutputPart]:
    """Show how two runs differ, in their answers and in their settings."""
    names = ["A", "B"]
    runs = [f"{name}  {shown.run.run_id}" for name, shown in zip(names, (compared.first, compared.second), strict=True)]
    return [
        *runs,
        "",
        _splits_sheet(compared),
        *_comparison_lines(compared.comparison),
        "",
        _recalls_sheet(compared),
        "",
        *_differences(compared),
    ]


def _splits_sheet(compared: RunComparison) -> Sheet:
    pairs = zip(compared.first.evaluation.results, compared.second.evaluation.results, strict=True)
    heads = columns("split", "#A", "95 % interval", "#B", "95 % interval", "#B - A", "#loss A", "#loss B")
    return Sheet(heads, [_split_row(*pair) for pair in pairs])


def _split_row(first: SplitResult, second: SplitResult) -> tuple[str, ...]:
    return (
        first.split,
        format_percent(first.accuracy),
        interval(first),
        format_percent(second.accuracy),
        interval(second),
        points(second.accuracy - first.accuracy),
        f"{first.loss:.4f}",
        f"{second.loss:.4f}",
    )


def _comparison_lines(found: PairedComparison) -> list[str]:
    """Say in words what the test split shows of two runs."""
    verdict = "a difference beyond chance" if found.p_value < 0.05 else "no difference beyond chance"
    return [
        f"of {found.num_examples:,} test examples only A gets {found.only_first:,} right, only B "
        f"{found.only_second:,}: {verdict} (exact McNemar test, p = {found.p_value:.2g})",
        f"B - A is {points(found.difference)}, 95 % bootstrap interval {points(found.difference_low)} to "
        f"{points(found.difference_high)}",
    ]


def _recalls_sheet(compared: RunComparison) -> Sheet:
    first, second = (
        [row for row in shown.classes if row["split"] == "test"] for shown in (compared.first, compared.second)
    )
    rows = [
        (
            str(one["label"]),
            one["class_name"],
            format_percent(one["recall"]),
            format_percent(other["recall"]),
            points(other["recall"] - one["recall"]),
        )
        for one, other in zip(first, second, strict=True)
    ]
    return Sheet(columns("#label", "class", "#recall A", "#recall B", "#B - A"), rows, "classes of the test split")


def _differences(compared: RunComparison) -> list[OutputPart]:
    settings = compared.differing_settings()
    if not settings:
        return ["both have the same settings"]
    rows = [(name, *map(_value, pair)) for name, pair in settings.items()]
    return [Sheet(columns("setting", "A", "B"), rows, "settings that differ")]


def points(difference: float) -> str:
    """Write a difference of proportions in percentage points, with its sign."""
    return f"{100 * difference:+.2f} points"


def _value(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
