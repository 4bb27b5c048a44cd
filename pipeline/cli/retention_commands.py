"""The commands of retention: prune, rm and du. Heavy imports are lazy."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import options
from pipeline.cli.command_setup import open_workspace
from pipeline.cli.config import resolve_kept, resolve_promotion
from pipeline.cli.output import print_result
from pipeline.cli.process_options import ProcessOptions
from pipeline.maintenance.retention_config import MOST_DAYS, MOST_KEPT, Retention

Keep = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MOST_KEPT,
        metavar="N",
        help="Keep the newest N runs, of the whole workspace and not of each data set, and their data sets.",
    ),
]
KeepDays = Annotated[
    int | None,
    typer.Option(
        min=0, max=MOST_DAYS, metavar="D", help="Keep runs of the last D days. With --keep, what either keeps is kept."
    ),
]
RetentionFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A TOML file: its table `retention` has keep and keep_days, unless an option gives one; `promotion` may "
        "name a reference, which is kept.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")]


def prune(
    context: typer.Context,
    *,
    keep: Keep = None,
    keep_days: KeepDays = None,
    config: RetentionFile = None,
    dry_run: DryRun = False,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    why: options.Why = "",
    process: ProcessOptions,
) -> None:
    """Delete old runs and data sets that nothing needs: neither the champion nor one to roll back to or compare with.

    docs/operations.md lists what is kept in any case. --keep or --keep-days is required, here or in --config.
    """
    from pipeline.cli.retention_output import build_deletion_output
    from pipeline.maintenance import deletion

    process.configure_messages()
    rule = resolve_kept(config, keep, keep_days)
    policy = resolve_promotion(config) if config else None
    if rule is None:
        raise typer.BadParameter("say how much to keep, by --keep N or --keep-days D: nothing was deleted")
    place = open_workspace(context, workspace)
    with nullcontext() if dry_run else process.lock(place):
        result = deletion.prune(place, rule, policy, why=why, dry_run=dry_run)
    process.print_result(*build_deletion_output(result, dry_run))


def rm(
    context: typer.Context,
    *,
    names: Annotated[
        list[str],
        typer.Argument(metavar="RUN|DATASET", help=f"{options.RUN_HELP}; or a data set's id or its beginning."),
    ],
    dry_run: DryRun = False,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    why: options.Why = "",
    process: ProcessOptions,
) -> None:
    """Delete runs and data sets with all that belongs to them, unless something else needs one of them.

    The runs of a group of seeds are deleted together: name each.
    """
    from pipeline.cli.retention_output import build_deletion_output
    from pipeline.maintenance.deletion import remove
    from pipeline.maintenance.stored_names import find_stored

    process.configure_messages()
    place = open_workspace(context, workspace)
    with nullcontext() if dry_run else process.lock(place):
        result = remove(place, [find_stored(place, name) for name in names], why, dry_run)
    process.print_result(*build_deletion_output(result, dry_run))


def du(
    context: typer.Context,
    keep: Keep = None,
    keep_days: KeepDays = None,
    config: RetentionFile = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Show the bytes of each run and data set, why it is kept, and whether `prune` with these options would delete it.

    Without options that is what --keep 0 would delete.
    """
    from pipeline.cli.retention_output import build_usage_output
    from pipeline.maintenance.disk_usage import list_usage

    rule = resolve_kept(config, keep, keep_days) or Retention(keep=0)
    policy = resolve_promotion(config) if config else None
    print_result(as_json, *build_usage_output(list_usage(open_workspace(context, workspace), rule, policy), rule))


COMMANDS = (prune, rm, du)
