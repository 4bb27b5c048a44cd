"""The commands of the stages: run, preprocess, validate, train and evaluate. Heavy imports are lazy."""

import sys
from functools import partial

import typer

from pipeline.cli import command_setup, options
from pipeline.cli.arguments import split_arguments
from pipeline.cli.config import resolve_evaluation, resolve_validation
from pipeline.cli.process_options import ProcessOptions
from pipeline.cli.stage_options import (
    CheckpointOptions,
    DatasetChoice,
    DatasetOptions,
    ImageOptions,
    RecipeOptions,
    TrainingOptions,
)
from pipeline.context import StageLog
from pipeline.storage.workspace import existing_workspace


def run(
    context: typer.Context,
    *,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    dataset: DatasetOptions,
    images: ImageOptions,
    recipe: RecipeOptions,
    seeds: options.Seeds = None,
    training: TrainingOptions,
    device: options.Device = "auto",
    tensorboard: options.TensorBoard = False,
    checkpoints: CheckpointOptions,
    workers: options.Workers = None,
    slices: options.Slices = None,
    metrics_file: options.MetricsPath = None,
    process: ProcessOptions,
) -> None:
    """Preprocess, validate, train and evaluate; what is done already is checked and skipped."""
    from pipeline.cli.run_output import build_job_output, suggest_next_steps
    from pipeline.schedule.metrics_file import MetricsFile, describe_job
    from pipeline.stages import JobConfig, run_job
    from pipeline.train.training_process import open_training_process

    process.configure_messages()
    log = StageLog()
    metrics = MetricsFile(metrics_file, workspace)
    with metrics.records_failures():
        configs = training.to_configs(recipe, seeds)
        config = JobConfig(
            dataset=dataset.to_config(images),
            training=configs,
            checks=resolve_validation(recipe.config),
            baseline=dataset.baseline,
            tensorboard=tensorboard,
            checkpoints=checkpoints.to_policy(),
            slicings=resolve_evaluation(recipe.config, slices),
            names=recipe.name_runs(configs, seeds),
            writes_seeds=seeds is not None,
        )
        stage_context = command_setup.set_up_training(context, workspace, configs[0], tensorboard, device, workers)
        with process.lock(workspace), open_training_process(workspace) as trainer:
            job = run_job(stage_context, config, log, trainer)
            samples = describe_job(workspace, job, log) if metrics_file else []
    metrics.record_success(samples)
    result, parts = build_job_output(workspace, job, job.seeds, log)
    steps = [] if process.quiet else suggest_next_steps(split_arguments(sys.argv[1:])[0], workspace, job.runs[0])
    process.print_result(result, [*parts, *steps])


def preprocess(
    context: typer.Context,
    *,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    dataset: DatasetOptions,
    config: options.ConfigFile = None,
    workers: options.Workers = None,
    images: ImageOptions,
    process: ProcessOptions,
) -> None:
    """Turn the files of a source into TFRecord shards, and validate the data set."""
    from pipeline.cli.dataset_output import build_dataset_output
    from pipeline.stages import preprocess_and_validate

    process.configure_messages()
    dataset_config = dataset.to_config(images)
    checks = resolve_validation(config)
    stage_context = command_setup.build_stage_context(context, workspace, workers=workers)
    log = StageLog()
    with process.lock(workspace):
        found = preprocess_and_validate(stage_context, dataset_config, checks, dataset.baseline, log)
    process.print_result(*build_dataset_output(workspace, found.dataset, found.validation, log))


def validate(
    context: typer.Context,
    *,
    dataset: DatasetChoice,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    baseline: options.Baseline = None,
    config: options.ConfigFile = None,
    workers: options.Workers = None,
    process: ProcessOptions,
) -> None:
    """Check a data set that `preprocess` built; exit code 3 if a check of severity error fails."""
    from pipeline.cli.dataset_output import build_dataset_output, format_validation
    from pipeline.stages import validate_again

    process.configure_messages()
    checks = resolve_validation(config)
    name = dataset.name
    stage_context = command_setup.build_stage_context(context, existing_workspace(workspace), workers=workers)
    log = StageLog()
    with process.lock(workspace):
        found = validate_again(stage_context, name, checks, baseline, log)
    result, _ = build_dataset_output(workspace, found.dataset, found.validation, log)
    process.print_result(result, format_validation(workspace, found.validation))


def train(
    context: typer.Context,
    *,
    dataset: DatasetChoice,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    recipe: RecipeOptions,
    seeds: options.Seeds = None,
    training: TrainingOptions,
    device: options.Device = "auto",
    tensorboard: options.TensorBoard = False,
    checkpoints: CheckpointOptions,
    process: ProcessOptions,
) -> None:
    """Train on a data set that `preprocess` built."""
    from pipeline.cli.run_output import build_runs_output, build_task_output
    from pipeline.preprocess.dataset import check_dataset, find_dataset, load_dataset
    from pipeline.train.stage import check_machine, refuse_remote_logs, train_as_worker_stage, train_stage

    process.configure_messages()
    command_setup.refuse_beam_options(context)
    configs = training.to_configs(recipe, seeds)
    names = recipe.name_runs(configs, seeds)
    name = dataset.name
    refuse_remote_logs(workspace, tensorboard)
    cluster = command_setup.read_cluster_config(configs[0])
    stage_context = command_setup.build_stage_context(context, workspace, device, cluster)
    workspace = existing_workspace(workspace)
    log = StageLog()
    if cluster and not cluster.is_chief:  # the chief alone locks and writes the workspace
        data = find_dataset(workspace, name, load_dataset)
        run_id = train_as_worker_stage(stage_context, data, configs[0], log)
        process.print_result(*build_task_output(run_id, stage_context, log))
        return
    if not cluster:
        check_machine(stage_context, configs[0])
    with process.lock(workspace):
        data = find_dataset(workspace, name, load_dataset if cluster else check_dataset)
        trained = train_stage(stage_context, data, configs, tensorboard, checkpoints.to_policy(), log, names)
    process.print_result(*build_runs_output(workspace, trained, seeds is not None, log))


def evaluate(
    context: typer.Context,
    *,
    run: options.RunArgument = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    config: options.ConfigFile = None,
    slices: options.Slices = None,
    workers: options.Workers = None,
    process: ProcessOptions,
) -> None:
    """Evaluate a run that `train` made on every split of its data set."""
    from pipeline.cli.run_output import build_evaluation_output
    from pipeline.evaluate.learning_evidence import find_learning_problems
    from pipeline.evaluate.stage import evaluate_stage
    from pipeline.preprocess.scan_runner import check_by_workers
    from pipeline.registry.history import resolve_run
    from pipeline.train.run_lookup import find_run

    process.configure_messages()
    slicings = resolve_evaluation(config, slices)
    stage_context = command_setup.build_stage_context(context, workspace, workers=workers)
    log = StageLog()
    with process.lock(existing_workspace(workspace)):
        check = partial(check_by_workers, stage_context)
        trained, data = find_run(workspace, resolve_run(workspace, run), check)
        [evaluation] = evaluate_stage(stage_context, data, [trained], slicings, log)
    problems = find_learning_problems(workspace, trained, evaluation)
    process.print_result(*build_evaluation_output(workspace, data.manifest, trained, evaluation, problems, log))


COMMANDS = (run, preprocess, validate, train, evaluate)
