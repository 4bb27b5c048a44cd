"""The commands that look after what a workspace holds: verify."""

from contextlib import nullcontext
from os import W_OK, access
from pathlib import Path
from typing import Annotated, Any

import typer

from model.errors import CorruptArtefact
from pipeline.console import configure
from pipeline.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    IfLocked,
    LogFile,
    OnePlace,
    Quiet,
    Wait,
    WhenLocked,
    Workspace,
    existing,
    lock_of,
    refuse_beam_options,
)
from pipeline.places import Place, place_of
from pipeline.result import say_result


def verify(
    context: typer.Context,
    path: Annotated[
        OnePlace | None,
        typer.Argument(parser=place_of, metavar="PATH", help="A workspace, or the folder of a data set or run in one."),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Check every file of a workspace against its record; exit code 4 if one is not what it should be."""
    from pipeline import verification, verification_sheets

    configure(quiet, log_file)
    refuse_beam_options(context)
    scope = verification.find_scope(existing(path or workspace).absolute())
    with _undisturbed(scope.workspace, wait, if_locked):
        found = verification.verify(scope)
    say_result(as_json, verification_sheets.verified_json(found), verification_sheets.verified_parts(found))
    if found.faults:
        raise CorruptArtefact(f"{len(found.faults)} files are not what they should be, the first: {found.faults[0]}")


def _undisturbed(workspace: Place, wait: float, if_locked: IfLocked) -> Any:
    """Keep other processes out, since half of what one writes would pass for damage; a file system may not allow it."""
    if isinstance(workspace, Path) and not access(workspace, W_OK):
        return nullcontext()
    return lock_of(workspace, wait, if_locked)
