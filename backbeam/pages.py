"""The commands that write HTML pages as functions. Heavy imports are lazy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from backbeam.calls import as_list, as_path, called_from_python, check_keywords
from backbeam.jobs import DEFAULT_WORKSPACE
from backbeam.jobs import run as run_job
from backbeam.settings import CallSettings, PathOrUri
from backbeam.workspace import open_workspace
from model.errors import BadUsage

if TYPE_CHECKING:
    from pipeline.report.report import Report


def report(
    runs: str | Sequence[str] = (),
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    to: PathOrUri | None = None,
    all: bool = False,
) -> "Report":
    """Write the page of one run, by default of the evaluated run trained last, or the comparison of several.

    With all, write the index of all runs and of the champion's history instead, and the pages of runs that have none.
    Raises BadUsage if all is given with runs or to.
    """
    with called_from_python(False, workspace, to):
        from pipeline.cli.registry_output import describe_registry
        from pipeline.registry.history import resolve_run
        from pipeline.report.report import write_index, write_report

        place = open_workspace(workspace).path
        if not all:
            return write_report(place, [resolve_run(place, name) for name in as_list(runs)], as_path(to))
        if runs or to is not None:
            raise BadUsage("report: all is of all runs, beside whose pages its page is: leave out runs and to")
        return write_index(place, describe_registry(place))


def learn(
    run: str | None = None,
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    to: PathOrUri | None = None,
    **settings: Unpack[CallSettings],
) -> "Report":
    """Write the inspector of back-propagation as a page, by default of the evaluated run trained last.

    If there is no evaluated run, the default recipe is trained on the embedded digits first, as `run` does without
    arguments. Raises BadUsage also if the network is too large for the inspector.
    """
    check_keywords(learn, settings, CallSettings)
    with called_from_python(settings.get("verbose", False), workspace, to):
        from pipeline.evaluate.evaluated_runs import has_evaluated_run
        from pipeline.registry.history import resolve_run
        from pipeline.report.report import write_inspector
        from pipeline.storage.places import place_of

        target = as_path(to)  # before a network is trained
        if run is None and not has_evaluated_run(place_of(str(workspace)).absolute()):
            run_job(workspace=workspace, **settings)
        place = open_workspace(workspace).path
        return write_inspector(place, [resolve_run(place, run)] if run else [], target)
