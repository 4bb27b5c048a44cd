"""The commands of maintenance: verify, reproduce and migrate. Heavy imports are lazy."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from model.errors import CorruptArtefact, StorageFailed
from pipeline.cli.command_setup import build_stage_context, open_workspace, refuse_beam_options
from pipeline.cli.config import resolve_evaluation
from pipeline.cli.options import DEFAULT_WORKSPACE, PlaceValue, RunArgument, Workers, Workspace, absolute_place
from pipeline.cli.process_options import OutputOptions, ProcessOptions
from pipeline.context import StageContext, capture_engine_messages, quiet_imports
from pipeline.preprocess.provenance import make_absolute
from pipeline.progress import show_message
from pipeline.storage.cleanup import refuse_links
from pipeline.storage.files import scratch_folder
from pipeline.storage.places import Place
from pipeline.storage.workspace import direct_temporary_files, existing_workspace

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings
    from pipeline.maintenance.findings import CheckedItem, ExpectedFile, Fault
    from pipeline.maintenance.inventory import VerifyScope
    from pipeline.maintenance.verify import CheckFunction

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
    *,
    path: Annotated[
        PlaceValue | None,
        typer.Argument(
            parser=absolute_place, metavar="PATH", help="A workspace, or the folder of a data set or run in one."
        ),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    repair: Annotated[bool, typer.Option("--repair", help="Make what is bad again, from its sources.")] = False,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="With --repair: where a source is now, if it was moved; may be given again."),
    ] = None,
    slices: TrustedSlices = None,
    workers: Workers = None,
    process: ProcessOptions,
) -> None:
    """Check every file of a workspace against its record; exit code 4 if one is not what it should be."""
    from pipeline.cli.maintenance_output import build_verify_output
    from pipeline.maintenance import verify

    process.configure_messages()
    scope = verify.find_scope(existing_workspace(path or workspace))
    check = _choose_check(build_stage_context(context, scope.workspace, workers=workers))
    refuse_links(scope.workspace)
    if dataset and not repair:
        raise typer.BadParameter("--dataset goes with --repair: nothing else of verify reads sources")
    if repair:
        sources = tuple(map(make_absolute, dataset or ()))
        _repair(scope, resolve_evaluation(None, slices), sources, check, process)
        return
    with _lock_if_allowed(scope.workspace, process):
        result = verify.verify(scope, check)
    process.print_result(*build_verify_output(result))
    if result.faults:
        raise CorruptArtefact(f"{len(result.faults)} files are not what they should be, the first: {result.faults[0]}")


def _choose_check(stage_context: StageContext) -> "CheckFunction | None":
    """Return None, or with options for Beam, a function that runs a job if these give workers and it pays."""
    if not stage_context.beam_arguments:
        return None

    def check(workspace: Place, files: "list[ExpectedFile]") -> "list[Fault | CheckedItem]":
        from pipeline.maintenance.verify import check_in_order
        from pipeline.preprocess.scan_runner import pays_workers

        num_bytes = sum(file.info.num_bytes for file in files)
        if not pays_workers(stage_context.beam_arguments, num_bytes):
            return check_in_order(workspace, files)
        with quiet_imports():
            from pipeline.maintenance.verify_job import check_by_workers
        # An engine leaves temporary files, which cannot be in a workspace on a read-only disk.
        with (
            capture_engine_messages(stage_context.engine_log),
            scratch_folder("verify") as folder,
            direct_temporary_files(folder),
        ):
            return check_by_workers(workspace, files, list(stage_context.beam_arguments))

    return check


@contextmanager
def _lock_if_allowed(workspace: Place, process: ProcessOptions) -> Iterator[None]:
    """Lock the workspace, since files that another process is writing look damaged, unless this user may only read."""
    with ExitStack() as stack:
        try:
            stack.enter_context(process.lock(workspace, clears=False))
        except StorageFailed as problem:
            if not problem.is_forbidden:
                raise
            show_message(
                f"verify: {workspace} is not locked, because this user may only read it: what another process is "
                "writing looks damaged"
            )
        yield


def _repair(
    scope: "VerifyScope",
    trusted: "Slicings",
    sources: tuple[str, ...],
    check: "CheckFunction | None",
    process: ProcessOptions,
) -> None:
    from pipeline.cli.maintenance_output import build_repair_output

    with process.lock(scope.workspace):
        with quiet_imports():
            from pipeline.maintenance import repair
        result = repair.repair(scope, trusted, sources, check)
    process.print_result(*build_repair_output(result))
    failure = repair.failure_of(result)
    if failure:
        raise failure


def reproduce(
    context: typer.Context,
    *,
    run: RunArgument = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="Where the sources are now, if they are not where they were; in their order."),
    ] = None,
    slices: TrustedSlices = None,
    output: OutputOptions,
) -> None:
    """Make a run again from its sources in a fresh place, and compare; exit code 1 if anything came out different."""
    from pipeline.cli.maintenance_output import build_reproduce_output
    from pipeline.registry.history import resolve_run

    output.configure_messages()
    refuse_beam_options(context)
    with quiet_imports():
        from pipeline.maintenance.reproduce import reproduce_run
    with scratch_folder("backbeam") as fresh:
        sources = tuple(map(make_absolute, dataset or ()))
        trusted = resolve_evaluation(None, slices)
        place = existing_workspace(workspace)
        result = reproduce_run(place, resolve_run(place, run), sources, fresh, trusted)
    output.print_result(*build_reproduce_output(result))
    if not result.is_equal:
        raise typer.Exit(DIFFERENT)


def migrate(
    context: typer.Context,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List them, and write nothing.")] = False,
    process: ProcessOptions,
) -> None:
    """Write the records that earlier versions wrote in earlier formats again, in the format of this version."""
    from pipeline.cli.maintenance_output import build_migrate_output
    from pipeline.maintenance import migrate

    process.configure_messages()
    place = open_workspace(context, workspace)
    with nullcontext() if dry_run else process.lock(place):
        result = migrate.migrate(place, dry_run)
    process.print_result(*build_migrate_output(place, result, dry_run))


COMMANDS = (verify, reproduce, migrate)
