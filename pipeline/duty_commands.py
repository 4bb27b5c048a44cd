"""The commands that stay at work without anybody asking again. Heavy imports are lazy."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.console import configure
from pipeline.options import (
    DEFAULT_WORKSPACE,
    MOST_SECONDS,
    LogFile,
    Quiet,
    Workspace,
    local_folder,
    refuse_nan,
)
from pipeline.places import Place

RUNS = "retrain"  # the command that is run when it is due
WITH_OPTIONS_OF_RUNS = {"allow_extra_args": True, "ignore_unknown_options": True}
UNHEALTHY = 1


CronExpression = Annotated[
    str | None,
    typer.Option(
        "--cron",
        metavar="EXPR",
        help='When to run: minute, hour, day of month, month, day of week, such as "0 3 * * *"; or such as @daily.',
    ),
]


Timezone = Annotated[
    str, typer.Option(metavar="ZONE", help="The zone whose clock --cron is about, such as Europe/Berlin.")
]


Jitter = Annotated[
    float,
    typer.Option(
        min=0,
        max=MOST_SECONDS,
        callback=refuse_nan,
        metavar="SECONDS",
        help="Begin up to that much later than due, by workspace, host and due time: spreads several machines.",
    ),
]


Once = Annotated[
    bool,
    typer.Option("--once", help="Run what is due by now, or was missed, or nothing, and end: for another scheduler."),
]


HealthFile = Annotated[
    Path | None,
    typer.Option(
        parser=local_folder,
        metavar="FILE",
        help="Where to show signs of life; by default schedule-health.json of the workspace.",
    ),
]


Check = Annotated[
    bool,
    typer.Option("--check", help="Look at the health file: code 0 if the scheduler that writes it lives, else 1."),
]


def schedule(
    context: typer.Context,
    cron: CronExpression = None,
    timezone: Timezone = "UTC",
    jitter: Jitter = 0,
    once: Once = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    health_file: HealthFile = None,
    check: Check = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Run when it is due, by a cron expression, until SIGTERM; further options, and Beam's after --, go to each run."""
    if check:
        _check_health(workspace, health_file)
        return
    if cron is None:
        raise typer.BadParameter('--cron is missing: say when to run, such as --cron "0 3 * * *"')
    if once and jitter:
        raise typer.BadParameter("--once runs at once: leave out --jitter, and spread whatever calls it")
    from datetime import timedelta

    from pipeline.scheduling.timetable import Timetable

    timetable, arguments = Timetable(cron, timezone), _arguments_of_runs(context, workspace, quiet, log_file)
    configure(quiet, log_file)
    raise typer.Exit(_serve(timetable, timedelta(seconds=jitter), workspace, health_file, arguments, once))


def _check_health(workspace: Place, file: Path | None) -> None:
    from datetime import UTC, datetime

    from pipeline.scheduling.health import health_file, why_unhealthy

    problem = why_unhealthy(health_file(workspace, file), datetime.now(UTC))
    if problem:
        typer.echo(f"backbeam: {problem}", err=True)
        raise typer.Exit(UNHEALTHY)


def _arguments_of_runs(context: typer.Context, workspace: Place, quiet: bool, log_file: Path | None) -> list[str]:
    """Put together the command line of every run; raises what that command would raise for options that it lacks."""
    ours = [*context.args, "--workspace", str(workspace), "--json"]
    ours += ["--quiet"] if quiet else []
    ours += ["--log-file", str(log_file)] if log_file else []
    backbeam: Any = context.parent
    backbeam.command.commands[RUNS].make_context(RUNS, list(ours), parent=backbeam).close()  # parses, runs nothing
    return [RUNS, *ours, *(["--", *context.obj] if context.obj else [])]


def _serve(timetable: Any, jitter: Any, workspace: Place, named: Path | None, arguments: list[str], once: bool) -> int:
    """Be the scheduler of a workspace; return the code to exit with."""
    import socket
    from datetime import UTC, datetime
    from functools import partial

    from pipeline.locks import scheduling
    from pipeline.scheduling import child, health, state
    from pipeline.scheduling.decisions import Plan
    from pipeline.scheduling.interrupts import listening
    from pipeline.scheduling.scheduler import Scheduler, World

    kept, shown = state.state_file(workspace), health.health_file(workspace, named)
    plan = Plan(timetable, jitter, f"{workspace.absolute()} {socket.gethostname()}")
    with scheduling(workspace), listening() as interrupts:
        world = World(
            now=partial(datetime.now, UTC),
            pause=interrupts.pause,
            received=interrupts.received,
            launch=partial(child.Child, [*child.COMMAND_LINE, *arguments]),
            keep=partial(state.save, kept),
            show=partial(health.write_health, shown),
        )
        scheduler = Scheduler(plan, world, state.load(kept))
        return scheduler.run_once() if once else scheduler.run()
