"""The command learn. Heavy imports are lazy."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import options
from pipeline.cli.command_setup import open_workspace, set_up_training
from pipeline.cli.config import resolve_evaluation, resolve_validation
from pipeline.cli.process_options import ProcessOptions
from pipeline.cli.stage_options import CheckpointOptions, DatasetOptions, ImageOptions, RecipeOptions, TrainingOptions
from pipeline.context import StageLog
from pipeline.storage.places import Place


def learn(
    context: typer.Context,
    *,
    run: Annotated[
        str | None,
        typer.Argument(
            help=f"{options.RUN_HELP}; by default the evaluated run trained last, and if there is none, a small one is "
            "trained first."
        ),
    ] = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    to: Annotated[
        Path | None, options.local_option("FILE", "Where the page goes; by default reports/pages/learn.html.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    process: ProcessOptions,
) -> None:
    """Write the inspector of back-propagation as one HTML page; a small network is trained first if there is none."""
    from pipeline.cli.open_page import check_can_open, open_page
    from pipeline.cli.overview_output import build_report_output
    from pipeline.evaluate.evaluated_runs import has_evaluated_run
    from pipeline.registry.history import resolve_run
    from pipeline.report.report import write_inspector

    process.configure_messages()
    if open_it:
        check_can_open(to or workspace)
    if run is None and not has_evaluated_run(workspace):
        _train_small_run(context, workspace, process)
    place = open_workspace(context, workspace)
    written = write_inspector(place, [resolve_run(place, run)] if run else [], to)
    process.print_result(*build_report_output(written))
    if open_it:
        open_page(written.path)


def _train_small_run(context: typer.Context, workspace: Place, process: ProcessOptions) -> None:
    """Train and evaluate the default recipe on the embedded digits, as `backbeam run` without options."""
    from pipeline.stages import JobConfig, run_job

    configs = TrainingOptions().to_configs(RecipeOptions(), None)
    config = JobConfig(
        dataset=DatasetOptions().to_config(ImageOptions()),
        training=configs,
        checks=resolve_validation(None),
        baseline=None,
        tensorboard=False,
        checkpoints=CheckpointOptions().to_policy(),
        slicings=resolve_evaluation(None, None),
    )
    stage_context = set_up_training(context, workspace, configs[0], False, "auto", None)
    with process.lock(workspace):
        run_job(stage_context, config, StageLog())
