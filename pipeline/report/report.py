"""Write the report of one run, or the comparison of several, as an HTML file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from model.errors import BadUsage
from pipeline.evaluate.evaluated_runs import EvaluatedRun, find_evaluated, list_runs
from pipeline.report.index_page import Registry
from pipeline.storage.files import write_without_lock
from pipeline.storage.places import Place

FIGURES = ("num_examples", "num_correct", "accuracy", "accuracy_low", "accuracy_high", "loss", "ece", "brier")


class Report(NamedTuple):
    """A written HTML file."""

    path: Place
    num_bytes: int
    figures: list[dict[str, Any]]  # of each run and, if there are several, its comparison with the first; JSON values


def write_report(workspace: Place, wanted: Sequence[str], target: Path | None) -> Report:
    """Write the page of one evaluated run, or the comparison of several, found as by `find_evaluated`.

    Raises as `find_evaluated`; BadUsage also if target, the path of the page if it is not the default, is no regular
    file, and BadInput if the test splits of several runs differ.
    """
    if target is not None:
        _check_target(target)
    evaluated = find_evaluated(workspace, wanted)
    html, figures = _render_run(evaluated[0]) if len(evaluated) == 1 else _render_comparison(evaluated)
    data = html.encode("utf-8", "replace")  # file names may contain lone surrogates
    path = target or workspace / "reports" / "pages" / f"{_page_name(evaluated)}.html"
    write_without_lock(path, data)
    return Report(path, len(data), figures)


def write_inspector(workspace: Place, wanted: Sequence[str], target: Path | None) -> Report:
    """Write the inspector of back-propagation of one evaluated run as a page; raises as `write_report`.

    Raises BadUsage also if the network is too large for the inspector.
    """
    from pipeline.report.html import SCRIPTS, render
    from pipeline.report.run_page import build_learn_page

    if target is not None:
        _check_target(target)
    [evaluated] = find_evaluated(workspace, wanted)
    page = build_learn_page(evaluated)
    left_out = page["inspector"]["left_out"]
    if left_out:
        raise BadUsage(f"{evaluated.run.run_id} has no inspector: {left_out}", hint="name a smaller run")
    data = render("learn.html", SCRIPTS, page=page).encode("utf-8", "replace")
    path = target or workspace / "reports" / "pages" / "learn.html"
    write_without_lock(path, data)
    return Report(path, len(data), [_figures(page | {"test": page["test"].model_dump()})])


def write_index(workspace: Place, registry: Registry) -> Report:
    """Write the index page of all runs, and the pages of evaluated runs that have none, which it links to.

    Raises CorruptArtefact if a file does not verify; if a run's record cannot be read, after the index is written.
    """
    from pipeline.report.html import INDEX_SCRIPTS, render
    from pipeline.report.index_page import build_index_page

    folder = workspace / "reports" / "pages"
    listing = list_runs(workspace)
    evaluated = [summary for summary in listing.runs if summary.evaluation]
    for summary in evaluated:
        if not (folder / f"{summary.run.run_id}.html").exists():
            write_report(workspace, [summary.run.run_id], None)
    page = build_index_page(workspace.name, listing, registry)
    data = render("index.html", INDEX_SCRIPTS, page=page).encode("utf-8", "replace")
    path = folder / "index.html"
    write_without_lock(path, data)
    if listing.problems:
        raise listing.problems[0]
    figures = [{"run": summary.run, "test": summary.test.model_dump()} for summary in evaluated]
    return Report(path, len(data), list(map(_figures, figures)))


def _check_target(target: Path) -> None:
    """Raise BadUsage if a page cannot replace what is at its path."""
    if target.is_dir():
        raise BadUsage(f"--to takes a file, and {target} is a folder: name a file in it")
    if target.exists() and not target.is_file():
        raise BadUsage(f"--to takes a file, and {target} is not a regular file: name another path")


def _render_run(evaluated: EvaluatedRun) -> tuple[str, list[dict[str, Any]]]:
    from pipeline.report.html import CURVE_SCRIPTS, SCRIPTS, render
    from pipeline.report.run_page import build_run_page

    page = build_run_page(evaluated)
    inspector = SCRIPTS if page["inspector"]["data"] else ()
    return render("run.html", tuple(dict.fromkeys((*inspector, *CURVE_SCRIPTS))), page=page), [_figures(page)]


def _render_comparison(evaluated: Sequence[EvaluatedRun]) -> tuple[str, list[dict[str, Any]]]:
    from pipeline.report.comparison_page import build_comparison_page
    from pipeline.report.html import CURVE_SCRIPTS, render

    page = build_comparison_page(evaluated)
    figures = [
        _figures(each) | {"against_first": each["against_first"]._asdict() if each["against_first"] else None}
        for each in page["runs"]
    ]
    return render("comparison.html", CURVE_SCRIPTS, page=page), figures


def _figures(page: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": page["run"].run_id} | {name: page["test"][name] for name in FIGURES}


def _page_name(evaluated: Sequence[EvaluatedRun]) -> str:
    """Return the id of the run, or for several runs their number and a digest of their ids in order."""
    ids = [one.run.run_id for one in evaluated]
    if len(ids) == 1:
        return ids[0]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    return f"comparison-{len(ids)}-{digest[:12]}"
