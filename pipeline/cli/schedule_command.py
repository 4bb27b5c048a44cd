"""The command `schedule`. Heavy imports are lazy."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperGroup

from pipeline.cli.option_types import DEFAULT_WORKSPACE, Workspace
from pipeline.cli.option_values import MOST_SECONDS, local_folder, refuse_nan
from pipeline.cli.process_options import MessageOptions
from pipeline.storage.places import Place

if TYPE_CHECKING:
    from pipeline.schedule.scheduler import ScheduleConfig

SCHEDULED_COMMAND = "retrain"
COMMAND = (sys.executable, "-m", "pipeline.cli.scheduled_run")
PASSES_OPTIONS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
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
    *,
    cron: CronExpression = None,
    timezone: Timezone = "UTC",
    jitter: Jitter = 0,
    once: Once = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    health_file: HealthFile = None,
    check: Check = False,
    messages: MessageOptions,
) -> None:
    """Run when it is due, by a cron expression, until SIGTERM; further options, and Beam's after --, go to each run."""
    import socket
    from datetime import timedelta

    from pipeline.schedule.scheduler import ScheduleConfig
    from pipeline.schedule.state import HEALTH_NAME, STATE_NAME
    from pipeline.schedule.timetable import Timetable
    from pipeline.storage.workspace import local_folder_of

    health_file = health_file or local_folder_of(workspace) / HEALTH_NAME
    if check:
        _check_health(health_file)
        return
    if cron is None:
        raise typer.BadParameter('--cron is missing: say when to run, such as --cron "0 3 * * *"')
    if once and jitter:
        raise typer.BadParameter("--once runs at once: leave out --jitter, and spread whatever calls it")
    config = ScheduleConfig(
        timetable=Timetable(cron, timezone),
        command=(*COMMAND, *_build_arguments(context, workspace, messages)),
        state_file=local_folder_of(workspace) / STATE_NAME,
        health_file=health_file,
        jitter=timedelta(seconds=jitter),
        salt=f"{workspace.absolute()} {socket.gethostname()}",
    )
    messages.configure_messages()
    raise typer.Exit(_run_scheduler(config, workspace, once))


def _check_health(health_file: Path) -> None:
    from datetime import UTC, datetime

    from pipeline.schedule.state import find_health_problem

    problem = find_health_problem(health_file, datetime.now(UTC))
    if problem:
        typer.echo(f"backbeam: {problem}", err=True)
        raise typer.Exit(UNHEALTHY)


def _build_arguments(context: typer.Context, workspace: Place, messages: MessageOptions) -> list[str]:
    """Return the arguments of every run; raises the errors of the scheduled command for unknown or invalid options."""
    options = [*context.args, "--workspace", str(workspace), "--json", *messages.to_arguments()]
    backbeam = context.find_root()
    command = cast(TyperGroup, backbeam.command).commands[SCHEDULED_COMMAND]
    # parses the options without running the command, so that a mistake is reported now and not at the first run
    command.make_context(SCHEDULED_COMMAND, list(options), parent=backbeam).close()
    return [SCHEDULED_COMMAND, *options, *(["--", *context.obj] if context.obj else [])]


def _run_scheduler(config: "ScheduleConfig", workspace: Place, once: bool) -> int:
    """Run the scheduler, holding the lock that allows one for each workspace and machine; return the exit code."""
    import signal

    from pipeline.schedule.scheduler import Scheduler
    from pipeline.schedule.state import load_state
    from pipeline.storage.lock import lock_scheduler

    with lock_scheduler(workspace):
        scheduler = Scheduler(config, load_state(config.state_file))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: scheduler.signals.append(received))
        return scheduler.run_once() if once else scheduler.run()
