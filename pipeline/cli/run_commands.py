"""The commands that make something in a workspace. Heavy imports are lazy."""

import sys

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
    Seeds,
    ShuffleSeed,
    SliceOptions,
    StepName,
    TensorBoard,
    Wait,
    WantedDataset,
    WantedRun,
    WhenLocked,
    WindowMib,
    Workers,
    Workspace,
    dataset_options,
    evaluation_slicings,
    existing_workspace,
    lock_for_command,
    picture_options,
    read_cluster_config,
    refuse_beam_options,
    refuse_cluster,
    refuse_remote_logs,
    resolve_run,
    split_arguments,
    stage_settings,
    training_configs,
)
from pipeline.cli.output import print_result
from pipeline.progress import configure
from pipeline.train.checkpoint_policy import CheckpointPolicy


def run(
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
    seeds: Seeds = None,
    num_steps: NumSteps = None,
    window_mib: WindowMib = None,
    replicas: Replicas = None,
    device: Device = "auto",
    tensorboard: TensorBoard = False,
    checkpoint_every: CheckpointEvery = None,
    keep_checkpoints: KeepCheckpoints = 2,
    workers: Workers = None,
    slices: SliceOptions = None,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Preprocess, validate, train and evaluate; what is done already is checked and skipped."""
    from pipeline.cli.config import resolve_validation
    from pipeline.cli.dataset_output import validation_json, validation_line
    from pipeline.cli.run_json import evaluation_json, seeds_json
    from pipeline.cli.run_output import evaluation_parts, next_steps, seeds_parts
    from pipeline.context import StageLog
    from pipeline.evaluate.seeds import write_seeds
    from pipeline.stages import JobConfig, run_job
    from pipeline.train.stage import check_machine

    configure(quiet, log_file)
    pictures = picture_options(image_column, label_column, image_size)
    options = dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = training_configs(config, seeds, seed=seed, layers=layers, **flags)
    job = JobConfig(
        dataset=options,
        checks=resolve_validation(config),
        baseline=baseline,
        training=configs,
        tensorboard=tensorboard,
        checkpoints=CheckpointPolicy(checkpoint_every, keep_checkpoints),
        slicings=evaluation_slicings(config, slices),
    )
    settings = stage_settings(context, workspace, device, workers=workers)
    log = StageLog()
    refuse_cluster()
    refuse_remote_logs(workspace, tensorboard)
    check_machine(settings, configs[0])
    with lock_for_command(workspace, wait, if_locked):
        made = run_job(settings, job, log)
        rows = write_seeds(workspace, made.runs, made.evaluations) if seeds else []
    if seeds:
        result = seeds_json(workspace, made.runs, made.evaluations, rows, log)
        parts = seeds_parts(workspace, made.dataset.manifest, made.runs, rows, log)
    else:
        result = evaluation_json(workspace, made.runs[0], made.evaluations[0], log)
        parts = evaluation_parts(workspace, made.dataset.manifest, made.runs[0], made.evaluations[0], log)
    result |= validation_json(workspace, made.validation)
    steps = [] if quiet else next_steps(split_arguments(sys.argv[1:])[0], made.runs[0])
    print_result(as_json, result, [*parts, validation_line(workspace, made.validation), *steps])


def preprocess(
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
    config: ConfigFile = None,
    workers: Workers = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    image_size: ImageSize = None,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Turn IDX files, Parquet files or folders of images into TFRecord shards, and validate what came out."""
    from pipeline.cli.config import resolve_validation
    from pipeline.cli.dataset_output import dataset_json, dataset_parts, validation_json, validation_line
    from pipeline.context import StageLog
    from pipeline.preprocess.dataset import find_baseline
    from pipeline.preprocess.stage import preprocess_stage, validate_stage

    configure(quiet, log_file)
    pictures = picture_options(image_column, label_column, image_size)
    options = dataset_options(
        dataset, data_dir, cache_dir, num_classes, num_shards, shuffle_seed, max_rejected, pictures
    )
    checks = resolve_validation(config)
    settings, log = stage_settings(context, workspace, workers=workers), StageLog()
    with lock_for_command(workspace, wait, if_locked):
        earlier = find_baseline(settings.workspace, baseline)
        data = preprocess_stage(settings, options, log)
        validation = validate_stage(settings, data, checks, earlier, log)
    result = dataset_json(workspace, data, log) | validation_json(workspace, validation)
    print_result(as_json, result, [*dataset_parts(data, log), validation_line(workspace, validation)])


def validate(
    context: typer.Context,
    dataset: WantedDataset = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    baseline: Baseline = None,
    config: ConfigFile = None,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Check a data set that `preprocess` built; exit code 3 if a check of severity error fails."""
    from pipeline.cli.config import resolve_validation
    from pipeline.cli.dataset_output import dataset_json, validation_json, validation_sheet
    from pipeline.context import StageLog
    from pipeline.preprocess.dataset import find_baseline, find_dataset
    from pipeline.preprocess.stage import validate_stage

    configure(quiet, log_file)
    refuse_beam_options(context)
    checks = resolve_validation(config)
    settings, log = stage_settings(context, existing_workspace(workspace)), StageLog()
    with lock_for_command(workspace, wait, if_locked):
        earlier = find_baseline(settings.workspace, baseline)
        data = find_dataset(settings.workspace, dataset)
        validation = validate_stage(settings, data, checks, earlier, log)
    result = dataset_json(workspace, data, log) | validation_json(workspace, validation)
    print_result(as_json, result, validation_sheet(workspace, validation))


def train(
    context: typer.Context,
    dataset: WantedDataset = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    layers: Layers = None,
    step: StepName = None,
    seed: Seed = None,
    seeds: Seeds = None,
    num_steps: NumSteps = None,
    window_mib: WindowMib = None,
    replicas: Replicas = None,
    device: Device = "auto",
    tensorboard: TensorBoard = False,
    checkpoint_every: CheckpointEvery = None,
    keep_checkpoints: KeepCheckpoints = 2,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Train on a data set that `preprocess` built."""
    from pipeline.cli.run_json import assistance_json, run_json, runs_json
    from pipeline.cli.run_output import assistance_parts, runs_parts
    from pipeline.context import StageLog
    from pipeline.preprocess.dataset import find_dataset
    from pipeline.train.stage import assist_stage, check_machine, train_stage

    configure(quiet, log_file)
    if context.obj:
        raise typer.BadParameter(
            f"train runs no Beam pipeline, so it takes no options after --: {' '.join(context.obj)}"
        )
    flags = {"recipe": recipe, "step": step, "num_steps": num_steps, "window_mib": window_mib, "num_replicas": replicas}
    configs = training_configs(config, seeds, seed=seed, layers=layers, **flags)
    refuse_remote_logs(workspace, tensorboard)
    settings, log = stage_settings(context, workspace, device, read_cluster_config(configs)), StageLog()
    if settings.cluster and not settings.cluster.is_chief:  # the workspace and its lock are the chief's
        assisted = assist_stage(settings, find_dataset(existing_workspace(workspace), dataset), configs[0], log)
        print_result(as_json, assistance_json(assisted, settings, log), assistance_parts(assisted, settings))
        return
    if not settings.cluster:
        check_machine(settings, configs[0])
    with lock_for_command(existing_workspace(workspace), wait, if_locked):
        data, saving = find_dataset(workspace, dataset), CheckpointPolicy(checkpoint_every, keep_checkpoints)
        trained = train_stage(settings, data, configs, tensorboard, saving, log)
    result = runs_json(workspace, trained, log) if seeds else run_json(workspace, trained[0], log)
    print_result(as_json, result, runs_parts(workspace, trained, log))


def evaluate(
    context: typer.Context,
    run: WantedRun = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    config: ConfigFile = None,
    slices: SliceOptions = None,
    workers: Workers = None,
    wait: Wait = 0,
    if_locked: WhenLocked = IfLocked.fail,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run that `train` made on every split of its data set."""
    from pipeline.cli.run_json import evaluation_json
    from pipeline.cli.run_output import evaluation_parts
    from pipeline.context import StageLog
    from pipeline.evaluate.stage import evaluate_stage
    from pipeline.train.run_lookup import find_run

    configure(quiet, log_file)
    slicings = evaluation_slicings(config, slices)
    settings, log = stage_settings(context, workspace, workers=workers), StageLog()
    with lock_for_command(existing_workspace(workspace), wait, if_locked):
        trained, data = find_run(workspace, resolve_run(workspace, run))
        (evaluation,) = evaluate_stage(settings, data, [trained], slicings, log)
    result = evaluation_json(workspace, trained, evaluation, log)
    print_result(as_json, result, evaluation_parts(workspace, data.manifest, trained, evaluation, log))
