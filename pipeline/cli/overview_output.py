"""The text and JSON that `backbeam runs`, `show`, `compare` and `report` print."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

from model.errors import CorruptArtefact
from pipeline.cli.output import EDGES, GAP, CommandOutput, OutputPart, Sheet
from pipeline.cli.run_output import describe_run, format_accuracies, format_accuracy, format_agreement
from pipeline.evaluate.evaluated_runs import EvaluatedRun, RunComparison, RunList, RunSummary
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.evaluate.learning_evidence import find_learning_problems
from pipeline.evaluate.learning_problems import NEVER_ANSWERED, LearningProblem
from pipeline.evaluate.significance import PairedComparison
from pipeline.progress import format_percent, warn
from pipeline.report.report import Report
from pipeline.storage.schemas import ORIGIN
from pipeline.train.run_record import RunRecord
from pipeline.train.run_settings import compare_with_recipe, format_settings

_HEADINGS = {
    "run": "run",
    "accuracy": "#accuracy",
    "interval": "95 % interval",
    "finished": "finished (UTC)",
    "changed": "differs from the recipe",
}
_UNEVALUATED = "not evaluated"
_LEAST_SETTINGS = 20  # characters: of fewer, hardly a setting is left

RunRow: TypeAlias = dict[str, str]  # cells by the names in _HEADINGS


def terminal_columns() -> int | None:
    """Return the width of the terminal that standard output is; None if it is none, where lines may have any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def build_run_list_output(listing: RunList, num_columns: int | None) -> CommandOutput:
    """Return a table of runs for each data set, the newest first, that fits num_columns, as `fit_run_sheet`."""
    result = {
        "runs": [_build_run_json(*summary) for summary in listing.runs],
        "problems": list(map(str, listing.problems)),
    }
    by_dataset: dict[str, list[RunRow]] = {}
    for summary in listing.runs:
        by_dataset.setdefault(summary.run.dataset_id, []).append(_build_run_row(summary))
    sheets = [fit_run_sheet(rows, f"test examples of {name}", num_columns) for name, rows in by_dataset.items()]
    whole = [fit_run_sheet(rows, f"test examples of {name}", None) for name, rows in by_dataset.items()]
    hint = ["a wider terminal, a pipe and --json show more"] if sheets != whole else []
    return result, [*sheets, *hint] or ["no runs yet: backbeam run"]


def fit_run_sheet(rows: Sequence[RunRow], title: str, num_columns: int | None) -> Sheet:
    """Return a table with one line for each run, on a terminal of num_columns or, if it is None, of any width.

    What does not fit is left out, as little as suffices: the interval, the end of the settings, the time, all settings.
    """
    has_changes = any(row["changed"] for row in rows)
    headings = {key: heading for key, heading in _HEADINGS.items() if key != "changed" or has_changes}
    widths = {key: max(len(heading.lstrip("#")), *(len(row[key]) for row in rows)) for key, heading in headings.items()}
    for left_out in ((), ("interval",), ("interval", "finished"), ("interval", "finished", "changed")):
        kept = [key for key in headings if key not in left_out]
        missing = sum(widths[key] + GAP for key in kept) - GAP + EDGES - (num_columns or sys.maxsize)
        room = widths.get("changed", 0) - max(0, missing)  # for settings
        if missing <= 0 or (left_out and "changed" in kept and room >= _LEAST_SETTINGS):
            break
    cut = {"changed": "settings"} if room < len(_HEADINGS["changed"]) else {}
    cells = [[shorten(row[key], room) if key == "changed" else row[key] for key in kept] for row in rows]
    return Sheet([cut.get(key, headings[key]) for key in kept], cells, title, row_is_line=True)


def shorten(text: str, most: int) -> str:
    """Return a text of at most that many characters; one that is cut ends in three dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _build_run_json(run: RunRecord, evaluation: EvaluationRecord | None, changed: dict[str, Any]) -> dict[str, Any]:
    results = {result.split: result.model_dump(mode="json") for result in evaluation.results} if evaluation else None
    return {
        "run_id": run.run_id,
        "name": run.name,
        "dataset_id": run.dataset_id,
        "finished": run.finished,
        "config": run.config.model_dump(mode="json"),
        "changed_settings": changed,
        "evaluation": results,
    }


def _build_run_row(summary: RunSummary) -> RunRow:
    run = summary.run
    accuracy, interval = format_accuracy(summary.evaluation.test_result()) if summary.evaluation else (_UNEVALUATED, "")
    return {
        "run": run.name or run.run_id,
        "accuracy": accuracy,
        "interval": interval,
        "finished": format_minute(run.finished),
        "changed": format_settings(summary.changed),
    }


def build_run_details_output(details: EvaluatedRun) -> CommandOutput:
    """Return figures, classes, configuration, digests and versions of a run."""
    run = details.run
    classes = [{name: row[name] for name in row if name not in ORIGIN} for row in details.rows("classes")]
    results = details.evaluation.model_dump(mode="json")["results"]
    settings = [
        (name, _format_setting(own), "" if own == recipe else _format_setting(recipe))
        for name, (own, recipe) in compare_with_recipe(run.config).items()
        if own is not None
    ]
    problems = _find_problems(details)
    more = {
        "name": run.name,
        "changed_settings": details.changed,
        "learning_problems": [problem._asdict() for problem in problems],
    }
    return run.model_dump(mode="json") | more | {"evaluation": results, "classes": classes}, [
        describe_identity(details),
        *format_accuracies(details.evaluation, problems),
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


def _find_problems(details: EvaluatedRun) -> list[LearningProblem]:
    """Return the learning problems of a run; only the classes never answered if its data set is missing or corrupt."""
    try:
        return find_learning_problems(details.workspace, details.run, details.evaluation)
    except CorruptArtefact as problem:
        warn(f"warning: why a run learned little cannot be told without its data set: {problem}")
    missing = details.evaluation.test_result().never_predicted
    return [LearningProblem(NEVER_ANSWERED, f"never answered: {', '.join(missing)}", "")] if missing else []


def describe_identity(evaluated: EvaluatedRun) -> str:
    """Return the id of a run, with its name and the settings that differ from its recipe."""
    run = evaluated.run
    name = f" ({run.name})" if run.name else ""
    changed = format_settings(evaluated.changed)
    return f"{run.run_id}{name}{': ' if changed else ''}{changed}"


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
        "first": _build_run_json(first.run, first.evaluation, first.changed),
        "second": _build_run_json(second.run, second.evaluation, second.changed),
        "test": comparison.comparison._asdict(),
        "settings": comparison.settings,
    }
    rows = [(name, *map(_format_setting, pair)) for name, pair in comparison.settings.items()]
    parts: list[OutputPart] = [f"A  {describe_identity(first)}", f"B  {describe_identity(second)}", ""]
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
    result = {"path": str(report.path), "num_bytes": report.num_bytes, "runs": report.figures}
    return result, [*lines, _describe_page(report)]


def build_index_output(index: Report) -> CommandOutput:
    """Return the number of evaluated runs, and the path of the index page."""
    result = {"path": str(index.path), "num_bytes": index.num_bytes, "runs": index.figures}
    return result, [f"{len(index.figures):,} evaluated runs", _describe_page(index)]


def _describe_page(report: Report) -> str:
    return f"page    {report.path} ({report.num_bytes / 1000:,.0f} kB; opens in any browser)"


def format_points(difference: float) -> str:
    """Return a difference of proportions in percentage points, with its sign."""
    return f"{100 * difference:+.2f} points"


def format_minute(time: str) -> str:
    """Return a time of ISO 8601 without its seconds and zone."""
    return time[:16].replace("T", " ")
