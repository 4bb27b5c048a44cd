"""The text and JSON that `backbeam run`, `train` and `evaluate` print."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from model.recipes import TrainingConfig
from pipeline.cli.dataset_output import build_log_json, build_validation_json, format_times, format_validation_line
from pipeline.cli.options import DEFAULT_WORKSPACE
from pipeline.cli.output import CommandOutput, OutputPart, Sheet
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.evaluation_record import EvaluationRecord, SplitResult
from pipeline.evaluate.learning_problems import NEVER_ANSWERED, LearningProblem
from pipeline.preprocess.manifest import Manifest
from pipeline.progress import format_percent
from pipeline.stages import JobResult
from pipeline.storage.places import Place
from pipeline.train.run_record import RunRecord


def build_runs_output(workspace: Place, runs: Sequence[RunRecord], by_seed: bool, log: StageLog) -> CommandOutput:
    """Return the training and the folder of each run; the JSON is a list of them for --seeds, else one run."""
    results = [_build_run_json(workspace, run, log) for run in runs]
    lines = [line for run in runs for line in (f"{run.run_id}: {describe_run(run)}", *format_agreement(run))]
    folders = [f"model   {workspace / 'runs' / run.run_id}" for run in runs]
    return {"runs": results} if by_seed else results[0], [*lines, format_times(log), *folders]


def _build_run_json(workspace: Place, run: RunRecord, log: StageLog) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.name,
        "dataset_id": run.dataset_id,
        "recipe": run.config.recipe,
        "step": run.config.step,
        "seed": run.config.seed,
        "agreement": run.agreement.model_dump() if run.agreement else None,
        "finished": run.finished,
        **build_log_json(log),
        "paths": {
            "dataset": str(workspace / "datasets" / run.dataset_id),
            "run": str(workspace / "runs" / run.run_id),
            "reports": str(workspace / "reports"),
        },
    }


def build_task_output(run_id: str, context: StageContext, log: StageLog) -> CommandOutput:
    """Return the task of a worker of a cluster that is not the chief."""
    index = context.cluster.task_index if context.cluster else 0
    result = {"run_id": run_id, "task_index": index, **build_log_json(log)}
    return result, [f"{run_id}: task {index} has done its share; the chief, task 0, writes the run"]


def build_evaluation_output(
    workspace: Place,
    manifest: Manifest,
    run: RunRecord,
    evaluation: EvaluationRecord,
    problems: Sequence[LearningProblem],
    log: StageLog,
) -> CommandOutput:
    """Return the accuracies of a run, why it learned little, its training, the times of the stages and the folders."""
    parts = [
        *format_accuracies(evaluation, problems),
        f"{manifest.name}, {describe_run(run)}",
        *format_agreement(run),
        "",
        format_times(log),
        "",
        *_format_folders(workspace, run.dataset_id, "model   ", f"runs/{run.run_id}"),
        *([f"name    {run.name}"] if run.name else []),
    ]
    return _build_evaluation_json(workspace, run, evaluation, problems, log), parts


def _build_evaluation_json(
    workspace: Place, run: RunRecord, evaluation: EvaluationRecord, problems: Sequence[LearningProblem], log: StageLog
) -> dict[str, Any]:
    others = {"split", "loss", "ece", "brier", "first_1000_examples"}
    return _build_run_json(workspace, run, log) | {
        "test": evaluation.test_result().model_dump(exclude=others),
        "learning_problems": [problem._asdict() for problem in problems],
    }


def build_job_output(workspace: Place, job: JobResult, rows: list[dict[str, Any]], log: StageLog) -> CommandOutput:
    """Return the result of `backbeam run`; rows are those of the table `seeds`, none for a job of one seed."""
    if rows:
        result, parts = _build_seeds_output(workspace, job, rows, log)
    else:
        [of_run] = zip(job.runs, job.evaluations, job.problems, strict=True)
        result, parts = build_evaluation_output(workspace, job.dataset.manifest, *of_run, log)
    result |= build_validation_json(workspace, job.validation)
    return result, [*parts, format_validation_line(workspace, job.validation)]


def _build_seeds_output(workspace: Place, job: JobResult, rows: list[dict[str, Any]], log: StageLog) -> CommandOutput:
    config = job.runs[0].config
    result = {
        "runs": [
            _build_evaluation_json(workspace, *of_run, log)
            for of_run in zip(job.runs, job.evaluations, job.problems, strict=True)
        ],
        "seeds": {row["split"]: {name: value for name, value in row.items() if name != "split"} for row in rows},
        **build_log_json(log),
    }
    test = next(row for row in rows if row["split"] == "test")
    cells = [
        (str(run.config.seed), format_percent(accuracy), first)
        for run, accuracy, first in zip(job.runs, test["accuracies"], test["first_1000_correct"], strict=True)
    ]
    parts: list[OutputPart] = [
        Sheet(("#seed", "#test accuracy", "#right of the first 1,000"), cells),
        f"median {format_percent(test['accuracy_median'])}, lowest {format_percent(test['accuracy_lowest'])}, "
        f"highest {format_percent(test['accuracy_highest'])} of the test examples are right; "
        f"median {test['first_1000_median']:g} of the first 1,000",
        *(f"seed {entry['seed']} never answers {entry['class_name']}" for entry in test["never_predicted"]),
        *(
            f"seed {run.config.seed}: {problem.describe()}"
            for run, problems in zip(job.runs, job.problems, strict=True)
            for problem in problems
            if problem.kind != NEVER_ANSWERED
        ),
        *(f"seed {run.config.seed}: {line}" for run in job.runs for line in format_agreement(run)),
        f"{job.dataset.manifest.name}, recipe {config.recipe}, {config.step} step: {describe_training(config)}",
        "",
        format_times(log),
        "",
        *_format_folders(workspace, job.runs[0].dataset_id, "models  ", "runs"),
    ]
    return result, parts


def _format_folders(workspace: Place, dataset_id: str, heading: str, models: str) -> list[str]:
    return [
        f"shards  {workspace / 'datasets' / dataset_id}",
        f"{heading}{workspace / models}",
        f"tables  {workspace / 'reports'}",
    ]


def format_accuracies(evaluation: EvaluationRecord, problems: Sequence[LearningProblem]) -> list[OutputPart]:
    """Return the test accuracy, the learning problems and a table of all splits."""
    test = evaluation.test_result()
    accuracy, interval = format_accuracy(test)
    parts: list[OutputPart] = [
        f"{test.num_correct:,} of {test.num_examples:,} test examples are right: {accuracy} (95 % interval {interval})"
    ]
    if test.num_examples > test.first_1000_examples:
        parts.append(f"{test.first_1000_correct:,} of the first {test.first_1000_examples:,} are right")
    parts += [problem.describe() for problem in problems]
    rows = [
        (result.split, result.num_correct, result.num_examples, *format_accuracy(result), f"{result.loss:.4f}")
        for result in evaluation.results
    ]
    return [*parts, Sheet(("split", "#right", "#of", "#accuracy", "95 % interval", "#loss"), rows)]


def format_agreement(run: RunRecord) -> list[str]:
    """Return how far manual and autodiff training differ, for a run of the step `compare`."""
    agreement = run.agreement
    if agreement is None:
        return []
    return [
        f"one manual step and one autodiff step differ by {agreement.largest_difference:.1e} at most, the two networks "
        f"by {agreement.drift:.1e} at the end, where the largest parameter is {agreement.largest_parameter:.1f}"
    ]


def format_accuracy(result: SplitResult) -> tuple[str, str]:
    """Return the accuracy of a split and its 95 % interval."""
    interval = f"{100 * result.accuracy_low:.2f} to {format_percent(result.accuracy_high)}"
    return format_percent(result.accuracy), interval


def describe_run(run: RunRecord) -> str:
    """Return a line about the training of a run."""
    config = run.config
    return f"recipe {config.recipe}, {config.step} step, seed {config.seed}: {describe_training(config)}"


def describe_training(config: TrainingConfig) -> str:
    """Return a line with the network, its loss and the length of training."""
    layers = "-".join(map(str, config.layers))
    length = f"{config.num_steps:,} steps" if config.num_steps else f"{config.num_epochs:g} epochs in steps"
    return f"{layers}, {config.activation}, {config.output} with {config.loss}, {length} of {config.batch_size}"


def suggest_next_steps(arguments: list[str], workspace: Place, run: RunRecord) -> list[str]:
    """Return commands to try after `backbeam run` with these arguments: variations of it, and commands on its run."""
    command = "backbeam" if shutil.which("backbeam") else sys.argv[0]
    same = [command, *_remove_options(arguments, ("--step", "--seed", "--seeds", "--name"))]
    is_default = workspace == DEFAULT_WORKSPACE.absolute() and "BACKBEAM_WORKSPACE" not in os.environ
    place = [] if is_default else ["--workspace", str(workspace)]
    seed = run.config.seed
    steps = [
        ([*same, "--seed", str(seed), "--step", "compare"], "train by both steps, manual and autodiff, and compare"),
        (
            [*same, "--step", run.config.step, "--seeds", f"{seed}-{seed + 4}"],
            "five seeds: the result of one depends on chance",
        ),
        ([command, "show", run.run_id, *place], "all about this run"),
        ([command, "report", run.run_id, *place], "an HTML page, with back-propagation step by step"),
        ([command, "inspect", run.dataset_id, *place], "statistics of the data set, and a picture of it"),
        ([command, "recipes"], "other configurations to train"),
    ]
    if any(argument.startswith("--seeds") for argument in arguments):
        steps.pop(1)
    return ["", "what to try next:", *(f"  {shlex.join(words)}    # {why}" for words, why in steps)]


def _remove_options(arguments: list[str], options: tuple[str, ...]) -> list[str]:
    """Return the arguments without options and their values, which stand in the same argument or in the next."""
    with_value = tuple(f"{option}=" for option in options)
    return [
        argument
        for before, argument in pairwise(["", *arguments])
        if before not in options and argument not in options and not argument.startswith(with_value)
    ]
