"""The commands of the registry: retrain, champion, history, promote and rollback. Heavy imports are lazy."""

from typing import Annotated

import typer

from pipeline.cli import command_setup, options
from pipeline.cli.config import resolve_evaluation, resolve_kept, resolve_promotion, resolve_validation
from pipeline.cli.output import print_result
from pipeline.cli.process_options import ProcessOptions
from pipeline.cli.stage_options import CheckpointOptions, DatasetOptions, ImageOptions, RecipeOptions, TrainingOptions
from pipeline.context import StageLog
from pipeline.storage.workspace import existing_workspace

REFUSED = 1

WarmStartOption = Annotated[
    bool, typer.Option("--warm-start", help="Begin with the champion's parameters; by default they are drawn anew.")
]


def retrain(
    context: typer.Context,
    *,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    dataset: DatasetOptions,
    images: ImageOptions,
    recipe: RecipeOptions,
    training: TrainingOptions,
    warm_start: WarmStartOption = False,
    device: options.Device = "auto",
    tensorboard: options.TensorBoard = False,
    checkpoints: CheckpointOptions,
    workers: options.Workers = None,
    slices: options.Slices = None,
    why: options.Why = "",
    metrics_file: options.MetricsPath = None,
    process: ProcessOptions,
) -> None:
    """Train a challenger on what the sources hold now; it becomes the champion if the policy says so.

    Unchanged inputs change nothing. A --dataset may be a pattern of places in quotes, such as 'incoming/*'.
    """
    from pipeline.cli.registry_output import build_retrain_output
    from pipeline.maintenance.deletion import prune_after_retrain
    from pipeline.registry import retrain
    from pipeline.schedule.metrics_file import MetricsFile, describe_retraining

    process.configure_messages()
    log = StageLog()
    metrics = MetricsFile(metrics_file, workspace)
    with metrics.records_failures():
        config = retrain.RetrainConfig(
            dataset=dataset.to_config(images),
            training=training.to_config(recipe),
            warm_start=warm_start,
            policy=resolve_promotion(recipe.config),
            checks=resolve_validation(recipe.config),
            baseline=dataset.baseline,
            slicings=resolve_evaluation(recipe.config, slices),
            checkpoints=checkpoints.to_policy(),
            why=why,
            name=recipe.check_name(),
            tensorboard=tensorboard,
        )
        rule = resolve_kept(recipe.config)
        stage_context = command_setup.set_up_training(context, workspace, config.training, tensorboard, device, workers)
        with process.lock(workspace):
            result = retrain.retrain(stage_context, config, log)
            pruned = prune_after_retrain(workspace, rule, config, result)
            samples = describe_retraining(workspace, result, log, pruned) if metrics_file else []
    metrics.record_success(samples)
    process.print_result(*build_retrain_output(workspace, result, log, pruned))


def champion(
    context: typer.Context, workspace: options.Workspace = options.DEFAULT_WORKSPACE, as_json: options.AsJson = False
) -> None:
    """Show the champion: its run, version and files, which are checked."""
    from pipeline.cli.registry_output import build_champion_output
    from pipeline.registry import history

    current = history.find_champion(command_setup.open_workspace(context, workspace))
    current.parameters.check(workspace / current.folder)
    print_result(as_json, *build_champion_output(workspace, current))


def history(
    context: typer.Context, workspace: options.Workspace = options.DEFAULT_WORKSPACE, as_json: options.AsJson = False
) -> None:
    """List the decisions about the champion, with their times, authors and reasons."""
    from pipeline.cli.registry_output import build_history_output
    from pipeline.registry import history

    print_result(as_json, *build_history_output(history.load_history(command_setup.open_workspace(context, workspace))))


def promote(
    context: typer.Context,
    *,
    run: options.RunArgument = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    config: options.ConfigFile = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Promote even if the policy refuses it; the history marks this. Needs --why."),
    ] = False,
    why: options.Why = "",
    workers: options.Workers = None,
    process: ProcessOptions,
) -> None:
    """Make a run the champion if it passes the policy; exit code 1 if it does not."""
    from pipeline.cli.registry_output import build_entry_output
    from pipeline.registry import promotion
    from pipeline.registry.history import resolve_run

    process.configure_messages()
    if force and not why:
        raise typer.BadParameter("--force needs --why: who reads the history wants to know")
    stage_context = command_setup.build_stage_context(context, existing_workspace(workspace), workers=workers)
    policy = resolve_promotion(config)
    with process.lock(workspace):
        entry = promotion.promote(stage_context, resolve_run(stage_context.workspace, run), policy, force, why)
    process.print_result(*build_entry_output(workspace, entry))
    if entry.outcome == "kept":
        raise typer.Exit(REFUSED)


def rollback(
    context: typer.Context,
    *,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, max=2**31 - 1, metavar="VERSION", help="By default the champion before this one."),
    ] = None,
    why: options.Why = "",
    process: ProcessOptions,
) -> None:
    """Make an earlier champion the champion again, one step back or to a version that `history` lists."""
    from pipeline.cli.registry_output import build_entry_output
    from pipeline.registry import promotion

    process.configure_messages()
    command_setup.refuse_beam_options(context)
    with process.lock(existing_workspace(workspace)):
        entry = promotion.rollback(workspace, to, why)
    process.print_result(*build_entry_output(workspace, entry))


COMMANDS = (retrain, champion, history, promote, rollback)
