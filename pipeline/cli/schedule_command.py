"""The command `schedule`."""

import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from pipeline.beam_options import read_beam_options
from pipeline.cli.log_format import log_format_arguments
from pipeline.cli.options import DEFAULT_WORKSPACE, MetricsPath, Workspace, local_option, seconds_option
from pipeline.cli.process_options import MessageOptions
from pipeline.progress import print_error
from pipeline.schedule.scheduler import ScheduleConfig, Scheduler
from pipeline.schedule.state import HEALTH_NAME, STATE_NAME, find_health_problem, load_state
from pipeline.schedule.timetable import Timetable
from pipeline.storage.lock import lock_scheduler
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of

SCHEDULED_COMMAND = "retrain"
COMMAND = (sys.executable, "-m", "pipeline.cli.scheduled_run")
PASSES_OPTIONS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
UNHEALTHY = 1

CronExpression = Annotated[
    str | None,
    typer.Option(
        metavar="EXPR",
        help='When to run: minute, hour, day of month, month, day of week, such as "0 3 * * *"; or such as @daily.',
    ),
]
Jitter = Annotated[
    float,
    seconds_option("Begin up to that much later than due, by workspace, host and due time: spreads several machines."),
]
HealthFile = Annotated[
    Path | None, local_option("FILE", "Where to show signs of life; by default schedule-health.json of the workspace.")
]


def schedule(
    context: typer.Context,
    *,
    cron: CronExpression = None,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="The zone whose clock --cron is about, such as Europe/Berlin.")
    ] = "UTC",
    jitter: Jitter = 0,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Run what is due by now, or was missed, or nothing, and end: for another scheduler."
        ),
    ] = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    health_file: HealthFile = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Look at the health file: code 0 if the scheduler that writes it lives, else 1."),
    ] = False,
    metrics_file: MetricsPath = None,
    messages: MessageOptions,
) -> None:
    """Run when it is due, by a cron expression, until SIGTERM; further options, and Beam's after --, go to each run."""
    from pipeline.schedule.metrics_file import MetricsFile

    health_file = health_file or local_folder_of(workspace) / HEALTH_NAME
    if check:
        _check_health(health_file)
        return
    expression = _require_cron(cron)
    if once and jitter:
        raise typer.BadParameter("--once runs at once: leave out --jitter, and spread whatever calls it")
    metrics = ["--metrics-file", str(metrics_file)] if metrics_file else []
    passed_on = [*metrics, *messages.to_arguments(), *log_format_arguments()]
    arguments = _build_arguments(context, workspace, passed_on, once)
    config = ScheduleConfig(
        timetable=Timetable(expression, timezone),
        command=(*COMMAND, *arguments),
        state_file=local_folder_of(workspace) / STATE_NAME,
        health_file=health_file,
        jitter=timedelta(seconds=jitter),
        salt=f"{workspace} {socket.gethostname()}",
        record_failure=MetricsFile(metrics_file, workspace).record_failure,
    )
    messages.configure_messages()
    raise typer.Exit(_run_scheduler(config, workspace, once))


def _require_cron(cron: str | None) -> str:
    if cron is None:
        raise typer.BadParameter('--cron is missing: say when to run, such as --cron "0 3 * * *"')
    return cron


def _check_health(health_file: Path) -> None:
    problem = find_health_problem(health_file, datetime.now(UTC))
    if problem:
        print_error(problem)
        raise typer.Exit(UNHEALTHY)


def _build_arguments(context: typer.Context, workspace: Place, passed_on: list[str], once: bool) -> list[str]:
    """Return the arguments of every run; raises the errors of the scheduled command for unknown or invalid options.

    Raises BadUsage for options for Beam, as `read_beam_options`.
    """
    options = [*context.args, "--workspace", str(workspace), "--json", *passed_on]
    command = cast(TyperGroup, context.find_root().command).commands[SCHEDULED_COMMAND]
    # parses the options without running the command, so that a mistake is reported now and not at the first run
    parsed = command.make_context(SCHEDULED_COMMAND, list(options), parent=context)
    parsed.close()
    if parsed.params["name"] is not None and not once:
        raise typer.BadParameter("--name is the name of one run, and a schedule trains several: leave it out")
    read_beam_options(context.obj or (), parsed.params["workers"])
    return [SCHEDULED_COMMAND, *options, *(["--", *context.obj] if context.obj else [])]


def _run_scheduler(config: ScheduleConfig, workspace: Place, once: bool) -> int:
    """Run the scheduler, holding the lock that allows one for each workspace and machine; return the exit code."""
    with lock_scheduler(workspace):
        scheduler = Scheduler(config, load_state(config.state_file))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: scheduler.signals.append(received))
        return scheduler.run_once() if once else scheduler.run()
