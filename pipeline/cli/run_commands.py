"""The commands of the stages: run, preprocess, validate, train and evaluate. Heavy imports are lazy."""

import sys
from typing import TYPE_CHECKING, Any

import typer

from pipeline.cli.arguments import split_arguments
from pipeline.cli.command_setup import (
    build_stage_context,
    existing_workspace,
    read_cluster_config,
    refuse_beam_options,
    refuse_cluster,
    refuse_remote_logs,
)
from pipeline.cli.config import resolve_evaluation, resolve_validation
from pipeline.cli.dataset_options import DatasetOptions, ImageOptions
from pipeline.cli.option_types import (
    DEFAULT_WORKSPACE,
    Baseline,
    ConfigFile,
    DatasetArgument,
    Device,
    RunArgument,
    Seeds,
    Slices,
    TensorBoard,
    Workers,
    Workspace,
)
from pipeline.cli.process_options import LockOptions, OutputOptions
from pipeline.cli.training_options import CheckpointOptions, RecipeOptions, TrainingOptions
from pipeline.context import StageLog
from pipeline.storage.places import Place

if TYPE_CHECKING:
    from pipeline.cli.output import CommandOutput
    from pipeline.stages import JobResult


def run(
    context: typer.Context,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dataset: DatasetOptions,
    baseline: Baseline = None,
    images: ImageOptions,
    recipe: RecipeOptions,
    seeds: Seeds = None,
    training: TrainingOptions,
    device: Device = "auto",
    tensorboard: TensorBoard = False,
    checkpoints: CheckpointOptions,
    workers: Workers = None,
    slices: Slices = None,
    lock: LockOptions,
    output: OutputOptions,
) -> None:
    """Preprocess, validate, train and evaluate; what is done already is checked and skipped."""
    from pipeline.evaluate.seeds import write_seeds
    from pipeline.stages import JobConfig, run_job
    from pipeline.train.stage import check_machine

    output.configure_messages()
    job = JobConfig(
        dataset=dataset.to_config(images),
        training=training.to_configs(recipe, seeds),
        checks=resolve_validation(recipe.config),
        baseline=baseline,
        tensorboard=tensorboard,
        checkpoints=checkpoints.to_policy(),
        slicings=resolve_evaluation(recipe.config, slices),
    )
    settings = build_stage_context(context, workspace, device, workers=workers)
    refuse_cluster()
    refuse_remote_logs(workspace, tensorboard)
    check_machine(settings, job.training[0])
    log = StageLog()
    with lock.acquire(workspace):
        result = run_job(settings, job, log)
        rows = write_seeds(workspace, result.runs, result.evaluations) if seeds else []
    output.print_result(*_build_job_output(workspace, result, rows, log, output.quiet))


def _build_job_output(
    workspace: Place, job: "JobResult", rows: list[dict[str, Any]], log: StageLog, quiet: bool
) -> "CommandOutput":
    """Return the result of a job; rows are those of the table `seeds`, none for a job of one seed."""
    from pipeline.cli.dataset_output import build_validation_json, format_validation_line
    from pipeline.cli.run_output import build_evaluation_output, build_seeds_output, suggest_next_steps

    manifest = job.dataset.manifest
    if rows:
        result, parts = build_seeds_output(workspace, manifest, job.runs, job.evaluations, rows, log)
    else:
        result, parts = build_evaluation_output(workspace, manifest, job.runs[0], job.evaluations[0], log)
    result |= build_validation_json(workspace, job.validation)
    parts.append(format_validation_line(workspace, job.validation))
    if not quiet:
        parts += suggest_next_steps(split_arguments(sys.argv[1:])[0], workspace, job.runs[0])
    return result, parts


def preprocess(
    context: typer.Context,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    dataset: DatasetOptions,
    baseline: Baseline = None,
    config: ConfigFile = None,
    workers: Workers = None,
    images: ImageOptions,
    lock: LockOptions,
    output: OutputOptions,
) -> None:
    """Turn IDX files, Parquet files or folders of images into TFRecord shards, and validate what came out."""
    from pipeline.cli.dataset_output import build_dataset_output, build_validation_json, format_validation_line
    from pipeline.preprocess.dataset import find_baseline
    from pipeline.preprocess.stage import preprocess_stage, validate_stage

    output.configure_messages()
    dataset_config = dataset.to_config(images)
    checks = resolve_validation(config)
    settings = build_stage_context(context, workspace, workers=workers)
    log = StageLog()
    with lock.acquire(workspace):
        earlier = find_baseline(settings.workspace, baseline)
        data = preprocess_stage(settings, dataset_config, log)
        validation = validate_stage(settings, data, checks, earlier, log)
    result, parts = build_dataset_output(workspace, data, log)
    result |= build_validation_json(workspace, validation)
    output.print_result(result, [*parts, format_validation_line(workspace, validation)])


def validate(
    context: typer.Context,
    *,
    dataset: DatasetArgument = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    baseline: Baseline = None,
    config: ConfigFile = None,
    lock: LockOptions,
    output: OutputOptions,
) -> None:
    """Check a data set that `preprocess` built; exit code 3 if a check of severity error fails."""
    from pipeline.cli.dataset_output import build_dataset_output, build_validation_json, format_validation
    from pipeline.preprocess.dataset import find_baseline, find_dataset
    from pipeline.preprocess.stage import validate_stage

    output.configure_messages()
    refuse_beam_options(context)
    checks = resolve_validation(config)
    settings = build_stage_context(context, existing_workspace(workspace))
    log = StageLog()
    with lock.acquire(workspace):
        earlier = find_baseline(settings.workspace, baseline)
        data = find_dataset(settings.workspace, dataset)
        validation = validate_stage(settings, data, checks, earlier, log)
    result = build_dataset_output(workspace, data, log)[0] | build_validation_json(workspace, validation)
    output.print_result(result, format_validation(workspace, validation))


def train(
    context: typer.Context,
    *,
    dataset: DatasetArgument = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    recipe: RecipeOptions,
    seeds: Seeds = None,
    training: TrainingOptions,
    device: Device = "auto",
    tensorboard: TensorBoard = False,
    checkpoints: CheckpointOptions,
    lock: LockOptions,
    output: OutputOptions,
) -> None:
    """Train on a data set that `preprocess` built."""
    from pipeline.cli.run_output import build_runs_output, build_task_output
    from pipeline.preprocess.dataset import find_dataset
    from pipeline.train.stage import assist_stage, check_machine, train_stage

    output.configure_messages()
    refuse_beam_options(context)
    configs = training.to_configs(recipe, seeds)
    refuse_remote_logs(workspace, tensorboard)
    settings = build_stage_context(context, workspace, device, read_cluster_config(configs[0]))
    log = StageLog()
    if settings.cluster and not settings.cluster.is_chief:  # the chief alone locks and writes the workspace
        run_id = assist_stage(settings, find_dataset(existing_workspace(workspace), dataset), configs[0], log)
        output.print_result(*build_task_output(run_id, settings, log))
        return
    if not settings.cluster:
        check_machine(settings, configs[0])
    with lock.acquire(existing_workspace(workspace)):
        data = find_dataset(workspace, dataset)
        trained = train_stage(settings, data, configs, tensorboard, checkpoints.to_policy(), log)
    output.print_result(*build_runs_output(workspace, trained, seeds is not None, log))


def evaluate(
    context: typer.Context,
    *,
    run: RunArgument = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    config: ConfigFile = None,
    slices: Slices = None,
    workers: Workers = None,
    lock: LockOptions,
    output: OutputOptions,
) -> None:
    """Evaluate a run that `train` made on every split of its data set."""
    from pipeline.cli.run_output import build_evaluation_output
    from pipeline.evaluate.stage import evaluate_stage
    from pipeline.registry.history import resolve_run
    from pipeline.train.run_lookup import find_run

    output.configure_messages()
    slicings = resolve_evaluation(config, slices)
    settings = build_stage_context(context, workspace, workers=workers)
    log = StageLog()
    with lock.acquire(existing_workspace(workspace)):
        trained, data = find_run(workspace, resolve_run(workspace, run))
        [evaluation] = evaluate_stage(settings, data, [trained], slicings, log)
    output.print_result(*build_evaluation_output(workspace, data.manifest, trained, evaluation, log))


COMMANDS = (run, preprocess, validate, train, evaluate)
