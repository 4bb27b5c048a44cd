"""Text of the results of the commands about runs and recipes: lines and tables."""

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.recipes import Recipe, TrainingConfig
from pipeline.cli.dataset_output import format_times
from pipeline.cli.output import OutputPart, Sheet, parse_columns
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.evaluation_record import EvaluationRecord, SplitResult
from pipeline.preprocess.manifest import Manifest
from pipeline.progress import format_percent
from pipeline.storage.places import Place
from pipeline.train.run_lookup import TrainedModel
from pipeline.train.run_record import RunRecord

if TYPE_CHECKING:
    from model.gradcheck import GradientCheck  # imports TensorFlow
    from pipeline.evaluate.predict import PredictedImage  # imports NumPy
    from pipeline.report.report import Report


def format_recipes(recipes: dict[str, Recipe]) -> list[OutputPart]:
    """Return what each recipe trains, its source and its accuracy."""
    return [
        f"{name}\n  {describe_training(recipe.config)}\n  source     {recipe.source}\n  published  {recipe.published}\n"
        f"  measured   {recipe.measured}\n"
        for name, recipe in recipes.items()
    ]


def format_gradient_checks(config: TrainingConfig, checks: "list[GradientCheck]") -> list[OutputPart]:
    """Return the largest differences of the manual gradients from the other two, for each parameter."""
    rows = [
        (
            str(check.layer),
            check.parameter,
            " x ".join(map(str, check.shape)),
            f"{check.from_autodiff:.1e}",
            f"{check.from_differences:.1e}",
            "agrees" if check.holds else "DIFFERS",
        )
        for check in checks
    ]
    num_checked = max(check.num_checked for check in checks)
    return [
        f"{config.recipe}, {describe_training(config)}",
        "largest difference of the manual gradient, over its largest value, in float64;",
        f"from autodiff for every number, from central differences for up to {num_checked} of each",
        Sheet(parse_columns("#layer", "parameter", "#shape", "#from autodiff", "#from differences", ""), rows),
    ]


def format_export(model: TrainedModel, target: Path) -> list[OutputPart]:
    """Return the exported run and the path of the export."""
    return [f"{model.run.run_id}: {describe_run(model.run)}", f"export  {target}"]


def format_predictions(predictions: "list[PredictedImage]") -> list[OutputPart]:
    """Return a line for each image: the predicted class and the runner-up, with their confidences."""
    return list(map(_format_prediction, predictions))


def _format_prediction(prediction: "PredictedImage") -> str:
    name = prediction.file.encode("utf-8", "replace").decode()  # a file name may hold bytes that are not UTF-8
    image = name if prediction.index is None else f"{name}[{prediction.index}]"
    line = f"{image}: {prediction.class_name} ({prediction.confidence:.3f})"
    if prediction.runner_up is None:
        return line
    return f"{line}, then {prediction.runner_up} ({prediction.runner_up_confidence:.3f})"


def format_report(report: "Report") -> list[OutputPart]:
    """Return the accuracy of each run in a report, and the path of the page."""
    lines = [
        f"{row['run_id']}: {row['num_correct']:,} of {row['num_examples']:,} test examples are right, "
        f"{format_percent(row['accuracy'])}"
        for row in report.figures
    ]
    return [*lines, f"page    {report.path} ({report.num_bytes / 1000:,.0f} kB; opens in any browser)"]


def format_runs(workspace: Place, runs: Sequence[RunRecord], log: StageLog) -> list[OutputPart]:
    """Return lines about trained runs."""
    lines = [line for run in runs for line in (f"{run.run_id}: {describe_run(run)}", *format_agreement(run))]
    return [*lines, format_times(log), *(f"model   {workspace / 'runs' / run.run_id}" for run in runs)]


def format_seeds(
    workspace: Place, manifest: Manifest, runs: Sequence[RunRecord], rows: list[dict[str, Any]], log: StageLog
) -> list[OutputPart]:
    """Return the test accuracies of a configuration over several seeds; rows are those of the table `seeds`."""
    test = next(row for row in rows if row["split"] == "test")
    config = runs[0].config
    return [
        _build_seeds_sheet(runs, test),
        f"median {format_percent(test['accuracy_median'])}, lowest {format_percent(test['accuracy_lowest'])}, "
        f"highest {format_percent(test['accuracy_highest'])} of the test examples are right; "
        f"median {test['first_1000_median']:g} of the first 1,000",
        *(f"seed {entry['seed']} never answers {entry['class_name']}" for entry in test["never_predicted"]),
        *(f"seed {run.config.seed}: {line}" for run in runs for line in format_agreement(run)),
        f"{manifest.name}, recipe {config.recipe}, {config.step} step: {describe_training(config)}",
        "",
        format_times(log),
        "",
        *_format_folders(workspace, runs[0].dataset_id, "models  ", "runs"),
    ]


def _build_seeds_sheet(runs: Sequence[RunRecord], test: dict[str, Any]) -> Sheet:
    results = zip(runs, test["accuracies"], test["first_1000_correct"], strict=True)
    rows = [(str(run.config.seed), format_percent(accuracy), f"{first:,}") for run, accuracy, first in results]
    return Sheet(parse_columns("#seed", "#test accuracy", "#right of the first 1,000"), rows)


def format_evaluation(
    workspace: Place, manifest: Manifest, run: RunRecord, evaluation: EvaluationRecord, log: StageLog
) -> list[OutputPart]:
    """Return the accuracies of a run, its training, the times of the stages and the folders."""
    return [
        *format_accuracies(evaluation),
        f"{manifest.name}, {describe_run(run)}",
        *format_agreement(run),
        "",
        format_times(log),
        "",
        *_format_folders(workspace, run.dataset_id, "model   ", f"runs/{run.run_id}"),
    ]


def format_accuracies(evaluation: EvaluationRecord) -> Iterator[OutputPart]:
    """Yield the test accuracy, the classes that are never predicted, and a table of all splits."""
    test = evaluation.test_result()
    yield f"{test.num_correct:,} of {test.num_examples:,} test examples are right: {format_accuracy(test)}"
    if test.num_examples > test.first_1000_examples:
        yield f"{test.first_1000_correct:,} of the first {test.first_1000_examples:,} are right"
    if test.never_predicted:
        yield f"never answered: {', '.join(test.never_predicted)}"
    yield build_splits_sheet(evaluation.results)


def build_splits_sheet(results: Sequence[SplitResult]) -> Sheet:
    """Return a table of the accuracy and loss of every split."""
    rows = [
        (
            result.split,
            f"{result.num_correct:,}",
            f"{result.num_examples:,}",
            format_percent(result.accuracy),
            format_interval(result),
            f"{result.loss:.4f}",
        )
        for result in results
    ]
    return Sheet(parse_columns("split", "#right", "#of", "#accuracy", "95 % interval", "#loss"), rows)


def format_agreement(run: RunRecord) -> list[str]:
    """Return how far manual and autodiff training differ, for a run of the step `compare`."""
    agreement = run.agreement
    if agreement is None:
        return []
    return [
        f"one manual step and one autodiff step differ by {agreement.largest_difference:.1e} at most, the two networks "
        f"by {agreement.drift:.1e} at the end, where the largest parameter is {agreement.largest_parameter:.1f}"
    ]


def format_task(run_id: str, settings: StageContext) -> list[OutputPart]:
    """Return a line for a worker of a cluster that is not the chief."""
    index = settings.cluster.task_index if settings.cluster else 0
    return [f"{run_id}: task {index} has done its share; the chief, task 0, writes the run"]


def format_accuracy(result: SplitResult) -> str:
    """Return the accuracy of a split and its interval."""
    return f"{format_percent(result.accuracy)} (95 % interval {format_interval(result)})"


def format_interval(result: SplitResult) -> str:
    """Return the 95 % interval of the accuracy of a split."""
    return f"{100 * result.accuracy_low:.2f} to {format_percent(result.accuracy_high)}"


def describe_run(run: RunRecord) -> str:
    """Return a line about the training of a run."""
    config = run.config
    return f"recipe {config.recipe}, {config.step} step, seed {config.seed}: {describe_training(config)}"


def describe_training(config: TrainingConfig) -> str:
    """Return a line with the network, its loss and the length of training."""
    layers = "-".join(map(str, config.layers))
    length = f"{config.num_steps:,} steps" if config.num_steps else f"{config.num_epochs:g} epochs in steps"
    return f"{layers}, {config.activation}, {config.output} with {config.loss}, {length} of {config.batch_size}"


def suggest_next_steps(arguments: list[str], run: RunRecord) -> list[OutputPart]:
    """Return commands to try after `backbeam run`: variations of it, and commands about its run.

    Args:
        arguments: those of the command line, without options for Beam.
        run: the run that was trained.
    """
    command = "backbeam" if shutil.which("backbeam") else sys.argv[0]
    same = [command, *_remove_options(arguments, "--step", "--seed", "--seeds")]
    workspace = _select_option(arguments, "--workspace")
    step = run.config.step
    seed = run.config.seed
    lines = [
        (
            shlex.join([*same, "--seed", str(seed), "--step", "compare"]),
            "the same descent by both ways to the gradients",
        ),
        (shlex.join([*same, "--step", step, "--seeds", f"{seed}-{seed + 4}"]), "from five starts: one run says little"),
        (shlex.join([command, "show", run.run_id, *workspace]), "more of this run"),
        (
            shlex.join([command, "report", run.run_id, *workspace]),
            "a page to look at, with back-propagation step by step",
        ),
        (shlex.join([command, "inspect", run.dataset_id, *workspace]), "what the data set holds, and a picture of it"),
        (shlex.join([command, "recipes"]), "what else can be trained"),
    ]
    if any(argument.startswith("--seeds") for argument in arguments):
        lines.pop(1)
    return ["", "what to try next:", *(f"  {line}    # {why}" for line, why in lines)]


def _format_folders(workspace: Place, dataset_id: str, what: str, models: str) -> list[OutputPart]:
    """Return the folders of shards, models and tables; what is the heading of the models."""
    return [
        f"shards  {workspace / 'datasets' / dataset_id}",
        f"{what}{workspace / models}",
        f"tables  {workspace / 'reports'}",
    ]


def _remove_options(arguments: list[str], *options: str) -> list[str]:
    """Return the arguments without some options and their values."""
    kept = []
    skip = False
    for argument in arguments:
        if not skip and argument not in options and not argument.startswith(tuple(f"{name}=" for name in options)):
            kept.append(argument)
        skip = argument in options
    return kept


def _select_option(arguments: list[str], option: str) -> list[str]:
    """Return an option and its value, given as one argument (--name=value) or two."""
    positions = [position for position, argument in enumerate(arguments) if argument == option]
    pairs = [word for position in positions for word in arguments[position : position + 2]]
    return pairs + [argument for argument in arguments if argument.startswith(f"{option}=")]
