"""The commands of the registry: retrain, champion, history, promote, rollback. Heavy imports are lazy."""

from typing import Annotated, Any

import typer

from pipeline.cli.options import (
    DEFAULT_DATASETS,
    DEFAULT_WORKSPACE,
    AsJson,
    Baseline,
    CacheDir,
    CheckpointEvery,
    ConfigFile,
    DataDir,
    DatasetNames,
    Device,
    IfLocked,
    ImageColumn,
    ImageSize,
    KeepCheckpoints,
    LabelColumn,
    Layers,
    LogFile,
    MaxRejected,
    NumClasses,
    NumShards,
    NumSteps,
    Quiet,
    RecipeName,
    Replicas,
    Seed,
    ShuffleSeed,
    SliceOptions,
    StepName,
    Wait,
    WantedRun,
    WarmStart,
    WhenLocked,
    Why,
    WindowMib,
    Workers,
    Workspace,
    dataset_options,
    evaluation_slicings,
    existing_workspace,
    lock_for_command,
    picture_options,
    refuse_beam_options,
    refuse_cluster,
    resolve_run,
    stage_settings,
    training_config,
)
from pipeline.cli.output import print_result
from pipeline.progress import configure

REFUSED = 1


def retrain(
    context: typer.Context,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dataset: DatasetNames = DEFAULT_DATASETS,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    num_classes: NumClasses = None,
    num_shards: NumShards = None,
    shuffle_seed: ShuffleSeed = 1,
    max_rejected: MaxRejected = 0,
    baseline: Baseline = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    image_size: ImageSize = None,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    layers: Layers = None,
    step: StepName = None,
    seed: Seed = None,
    num_steps: NumSteps = None,
    window_mib: WindowMib = None,
    replicas: Replicas = None,
    warm_start: WarmStart = False,
    device: Device = "auto",
    checkpoint_every: CheckpointEvery = None,
    keep_checkpoints: KeepCheckpoints = 2,
    workers: Workers = None,
    slices: SliceOptions = None,
    why: Why = "",
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Train a challenger on what the sources hold now; it becomes the champion if the policy says so.

    Nothing is done where the sources, the configuration and the policy are as they were. A --dataset may be a pattern
    of local places in quotes, such as 'incoming/*': what fits it now is joined.
    """
    from pipeline.cli.config import resolve_promotion, resolve_validation
    from pipeline.cli.registry_output import (
        retrained_json,
        retrained_parts,
    )
    from pipeline.context import StageLog
    from pipeline.registry import retrain
    from pipeline.train.checkpoint_policy import CheckpointPolicy
    from pipeline.train.stage import check_machine

    configure(quiet, log_file)
    refuse_cluster()
    pictures = picture_options(image_column, label_column, image_size)
    options = dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    wanted = retrain.RetrainConfig(
        options=options,
        config=training_config(config, seed=seed, layers=layers, **flags),
        warm_start=warm_start,
        policy=resolve_promotion(config),
        checks=resolve_validation(config),
        baseline=baseline,
        slicings=evaluation_slicings(config, slices),
        saving=CheckpointPolicy(checkpoint_every, keep_checkpoints),
        why=why,
    )
    settings, log = stage_settings(context, workspace, device, workers=workers), StageLog()
    check_machine(settings, wanted.config)
    with lock_for_command(workspace, wait, if_locked):
        found = retrain.retrain(settings, wanted, log)
    print_result(as_json, retrained_json(workspace, found, log), retrained_parts(workspace, found, log))


def champion(context: typer.Context, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Show the champion: its run, version and files, which are checked."""
    from pipeline.cli.registry_output import (
        champion_json,
        champion_parts,
    )
    from pipeline.registry import history

    refuse_beam_options(context)
    found = history.find_champion(existing_workspace(workspace))
    found.parameters.check(workspace / found.folder)
    print_result(as_json, champion_json(workspace, found), champion_parts(workspace, found))


def history(context: typer.Context, workspace: Workspace = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """List what was decided about the champion: when, by whom, and why."""
    from pipeline.cli.registry_output import (
        history_json,
        history_parts,
    )
    from pipeline.registry import history

    refuse_beam_options(context)
    entries = history.load_history(existing_workspace(workspace))
    print_result(as_json, history_json(entries), history_parts(entries))


def promote(
    context: typer.Context,
    run: WantedRun = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    config: ConfigFile = None,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever the policy says; the history marks it, and --why is needed.")
    ] = False,
    why: Why = "",
    workers: Workers = None,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a run the champion if it passes the policy; exit code 1 if it does not."""
    from pipeline.cli.config import resolve_promotion
    from pipeline.registry import promotion

    configure(quiet, log_file)
    if force and not why:
        raise typer.BadParameter("--force needs --why: who reads the history wants to know")
    settings = stage_settings(context, existing_workspace(workspace), workers=workers)
    policy = resolve_promotion(config)
    with lock_for_command(workspace, wait, if_locked):
        entry = promotion.promote(settings, resolve_run(settings.workspace, run), policy, force, why)
    _say_entry(workspace, entry, as_json)
    if entry.outcome == "kept":
        raise typer.Exit(REFUSED)


def rollback(
    context: typer.Context,
    workspace: Workspace = DEFAULT_WORKSPACE,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, max=2**31 - 1, metavar="VERSION", help="By default the champion before this one."),
    ] = None,
    why: Why = "",
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an earlier champion the champion again, one step back or to a version that `history` lists."""
    from pipeline.registry import promotion

    configure(quiet, log_file)
    refuse_beam_options(context)
    with lock_for_command(existing_workspace(workspace), wait, if_locked):
        entry = promotion.rollback(workspace.absolute(), to, why)
    _say_entry(workspace, entry, as_json)


def _say_entry(workspace: Any, entry: Any, as_json: bool) -> None:
    from pipeline.cli.registry_output import (
        entry_json,
        entry_parts,
    )

    print_result(as_json, entry_json(workspace, entry), entry_parts(workspace, entry))
