"""The report as a file: the page of a run, or of several and how they compare."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from model.errors import BadUsage
from pipeline.evaluate.results import EvaluatedRun, find_evaluated
from pipeline.storage.files import write_without_lock
from pipeline.storage.places import Place

FIGURES = ("num_examples", "num_correct", "accuracy", "accuracy_low", "accuracy_high", "loss", "ece", "brier")


class Report(NamedTuple):
    """A report that was written.

    Attributes:
        path: of the page.
        num_bytes: its length.
        figures: of each run, and how it compares with the first, as JSON values.
    """

    path: Place
    num_bytes: int
    figures: list[dict[str, Any]]


def write_report(workspace: Place, wanted: Sequence[str], target: Path | None) -> Report:
    """Write the page of one evaluated run, or of several.

    Args:
        workspace: that holds them.
        wanted: ids or their beginnings; none for the evaluated run that was trained last.
        target: the file; None for the workspace's own place.

    Raises:
        BadUsage: see `find_evaluated`; target is a folder.
        BadInput: the test splits of several runs differ.
        CorruptArtefact: a file is not what its record says.
    """
    if target is not None:
        _check_target(target)
    found = find_evaluated(workspace, wanted)
    html, figures = _one(found[0]) if len(found) == 1 else _several(found)
    data = html.encode("utf-8", "replace")  # a name out of a file system may hold what is no text
    path = target or workspace / "reports" / "pages" / f"{_name(found)}.html"
    write_without_lock(path, data)
    return Report(path, len(data), figures)


def _check_target(target: Path) -> None:
    """Refuse what a page cannot be put in the place of; raises BadUsage."""
    if target.is_dir():
        raise BadUsage(f"--to takes a file, and {target} is a folder: name a file in it")
    if target.exists() and not target.is_file():
        raise BadUsage(f"--to takes a file, and {target} is none, but a device or a pipe")


def _one(found: EvaluatedRun) -> tuple[str, list[dict[str, Any]]]:
    from pipeline.report.html import render
    from pipeline.report.run_page import gather

    page = gather(found)
    return render("run.html", page=page), [_figures(found.run.run_id, page.test)]


def _several(found: Sequence[EvaluatedRun]) -> tuple[str, list[dict[str, Any]]]:
    from pipeline.report.comparison_page import build_comparison_page
    from pipeline.report.html import render

    page = build_comparison_page(found)
    figures = [
        _figures(each.run.run_id, each.test)
        | {"against_first": each.against_first._asdict() if each.against_first else None}
        for each in page.runs
    ]
    return render("comparison.html", page=page), figures


def _figures(run_id: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": run_id} | {name: row[name] for name in FIGURES}


def _name(found: Sequence[EvaluatedRun]) -> str:
    """Name a page: by its run, or by how many there are and a digest of their ids in order."""
    ids = [each.run.run_id for each in found]
    if len(ids) == 1:
        return ids[0]
    return f"comparison-{len(ids)}-{hashlib.sha256(chr(10).join(ids).encode()).hexdigest()[:12]}"
