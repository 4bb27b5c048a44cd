"""The commands that look after what a workspace holds: verify and reproduce."""

from contextlib import nullcontext
from os import W_OK, access
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.errors import CorruptArtefact
from pipeline.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    IfLocked,
    LogFile,
    OnePlace,
    Quiet,
    Wait,
    WantedRun,
    WhenLocked,
    Workspace,
    evaluation_slicings,
    existing_workspace,
    lock_for_command,
    refuse_beam_options,
    resolve_run,
)
from pipeline.cli.output import print_result
from pipeline.progress import configure
from pipeline.storage.cleanup import refuse_links
from pipeline.storage.files import scratch_folder
from pipeline.storage.places import Place, place_of

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings
    from pipeline.maintenance.inventory import VerifyScope

DIFFERENT = 1

TrustedSlices = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        metavar="NAME=MODULE:FUNCTION",
        help="A slice of your own whose function may be imported if a record names it; may be given again.",
    ),
]


def verify(
    context: typer.Context,
    path: Annotated[
        OnePlace | None,
        typer.Argument(parser=place_of, metavar="PATH", help="A workspace, or the folder of a data set or run in one."),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    repair: Annotated[bool, typer.Option("--repair", help="Make what is bad again, from its sources.")] = False,
    slices: TrustedSlices = None,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Check every file of a workspace against its record; exit code 4 if one is not what it should be."""
    from pipeline.cli import maintenance_output as verification_sheets
    from pipeline.maintenance import verify
    from pipeline.maintenance.verify import find_scope

    configure(quiet, log_file)
    refuse_beam_options(context)
    scope = find_scope(existing_workspace(path or workspace).absolute())
    refuse_links(scope.workspace)
    if repair:
        _repair(scope, evaluation_slicings(None, slices), wait, if_locked, as_json)
        return
    with _undisturbed(scope.workspace, wait, if_locked):
        found = verify.verify(scope)
    print_result(as_json, verification_sheets.verified_json(found), verification_sheets.verified_parts(found))
    if found.faults:
        raise CorruptArtefact(f"{len(found.faults)} files are not what they should be, the first: {found.faults[0]}")


def _repair(scope: "VerifyScope", trusted: "Slicings", wait: float, if_locked: IfLocked, as_json: bool) -> None:
    from pipeline.cli import maintenance_output as verification_sheets
    from pipeline.context import quiet_imports

    with lock_for_command(scope.workspace, wait, if_locked):
        with quiet_imports():
            from pipeline.maintenance import repair
        found = repair.repair(scope, trusted)
    print_result(as_json, verification_sheets.repaired_json(found), verification_sheets.repaired_parts(found))
    failure = repair.failure_of(found)
    if failure:
        raise failure


def reproduce(
    context: typer.Context,
    run: WantedRun = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="Where the sources are now, if they are not where they were; in their order."),
    ] = None,
    slices: TrustedSlices = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a run again from its sources in a fresh place, and compare; exit code 1 if anything came out different."""
    from pipeline.cli import maintenance_output as verification_sheets
    from pipeline.context import quiet_imports
    from pipeline.preprocess.provenance import make_absolute

    configure(quiet, log_file)
    refuse_beam_options(context)
    with quiet_imports():
        from pipeline.maintenance.reproduce import reproduce_run
    with scratch_folder("backbeam") as fresh:
        sources = tuple(map(make_absolute, dataset or ()))
        trusted = evaluation_slicings(None, slices)
        place = existing_workspace(workspace).absolute()
        found = reproduce_run(place, resolve_run(place, run), sources, fresh, trusted)
    print_result(as_json, verification_sheets.reproduced_json(found), verification_sheets.reproduced_parts(found))
    if not found.is_equal:
        raise typer.Exit(DIFFERENT)


def _undisturbed(workspace: Place, wait: float, if_locked: IfLocked) -> Any:
    """Keep other processes out, since half of what one writes would pass for damage; a file system may not allow it."""
    if isinstance(workspace, Path) and not access(workspace, W_OK):
        return nullcontext()
    return lock_for_command(workspace, wait, if_locked, clears=False)
