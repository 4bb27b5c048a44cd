"""What a command says to a person at its end: lines and tables."""

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.recipes import Recipe, TrainingConfig
from pipeline.cli.output import OutputPart, Sheet, columns
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.records import EvaluationRecord, SplitResult
from pipeline.preprocess.manifest import Manifest
from pipeline.progress import format_percent
from pipeline.storage.places import Place
from pipeline.train.run_lookup import Model
from pipeline.train.run_record import RunRecord

if TYPE_CHECKING:
    from model.gradcheck import GradientCheck  # which imports TensorFlow
    from pipeline.evaluate.predict import PredictedImage  # which imports NumPy
    from pipeline.report.report import Report
from pipeline.cli.dataset_output import times


def recipes_parts(recipes: dict[str, Recipe]) -> list[OutputPart]:
    """List the recipes."""
    return [
        f"{name}\n  {shape(recipe.config)}\n  source     {recipe.source}\n  published  {recipe.published}\n"
        f"  measured   {recipe.measured}\n"
        for name, recipe in recipes.items()
    ]


def agreement_parts(config: TrainingConfig, found: "list[GradientCheck]") -> list[OutputPart]:
    """Show how far the manual gradients are from the others, parameter by parameter."""
    rows = [
        (
            str(each.layer),
            each.parameter,
            " x ".join(map(str, each.shape)),
            f"{each.from_autodiff:.1e}",
            f"{each.from_differences:.1e}",
            "agrees" if each.holds else "DIFFERS",
        )
        for each in found
    ]
    num_checked = max(each.num_checked for each in found)
    return [
        f"{config.recipe}, {shape(config)}",
        "largest difference of the manual gradient, over its largest value, in float64;",
        f"from autodiff for every number, from central differences for up to {num_checked} of each",
        Sheet(columns("#layer", "parameter", "#shape", "#from autodiff", "#from differences", ""), rows),
    ]


def export_parts(model: Model, target: Path) -> list[OutputPart]:
    """Tell what was exported."""
    return [f"{model.run.run_id}: {about(model.run)}", f"export  {target}"]


def answers_parts(answers: "list[PredictedImage]") -> list[OutputPart]:
    """Tell what each image was taken for: a line an image."""
    return [
        f"{_place(answer)}: {answer.class_name} ({answer.confidence:.3f})"
        + (f", then {answer.runner_up} ({answer.runner_up_confidence:.3f})" if answer.runner_up is not None else "")
        for answer in answers
    ]


def _place(answer: "PredictedImage") -> str:
    """Name an image; of a file name that is no text, what can be printed."""
    name = answer.file.encode("utf-8", "replace").decode()
    return name if answer.index is None else f"{name}[{answer.index}]"


def report_parts(report: "Report") -> list[OutputPart]:
    """Tell where the page is."""
    lines = [
        f"{row['run_id']}: {row['num_correct']:,} of {row['num_examples']:,} test examples are right, "
        f"{format_percent(row['accuracy'])}"
        for row in report.figures
    ]
    return [*lines, f"page    {report.path} ({report.num_bytes / 1000:,.0f} kB; opens in any browser)"]


def runs_parts(workspace: Place, runs: Sequence[RunRecord], log: StageLog) -> list[OutputPart]:
    """Tell what runs were trained."""
    said = [line for run in runs for line in (f"{run.run_id}: {about(run)}", *agreement_lines(run))]
    return [*said, times(log), *(f"model   {workspace / 'runs' / run.run_id}" for run in runs)]


def seeds_parts(
    workspace: Place, manifest: Manifest, runs: Sequence[RunRecord], rows: list[dict[str, Any]], log: StageLog
) -> list[OutputPart]:
    """Tell how good a configuration is over several seeds."""
    test = next(row for row in rows if row["split"] == "test")
    return [
        _seeds_sheet(runs, test),
        f"median {format_percent(test['accuracy_median'])}, lowest {format_percent(test['accuracy_lowest'])}, "
        f"highest {format_percent(test['accuracy_highest'])} of the test examples are right; "
        f"median {test['first_1000_median']:g} of the first 1,000",
        *(f"seed {each['seed']} never answers {each['class_name']}" for each in test["never_predicted"]),
        *(f"seed {run.config.seed}: {line}" for run in runs for line in agreement_lines(run)),
        f"{manifest.name}, recipe {runs[0].config.recipe}, {runs[0].config.step} step: {shape(runs[0].config)}",
        "",
        times(log),
        "",
        *_places(workspace, runs[0].dataset_id, "models  ", "runs"),
    ]


def _seeds_sheet(runs: Sequence[RunRecord], test: dict[str, Any]) -> Sheet:
    found = zip(runs, test["accuracies"], test["first_1000_correct"], strict=True)
    rows = [(str(run.config.seed), format_percent(accuracy), f"{first:,}") for run, accuracy, first in found]
    return Sheet(columns("#seed", "#test accuracy", "#right of the first 1,000"), rows)


def evaluation_parts(
    workspace: Place, manifest: Manifest, run: RunRecord, evaluation: EvaluationRecord, log: StageLog
) -> list[OutputPart]:
    """Tell how good the model is, what it took and where everything is."""
    return [
        *evaluation_head(evaluation),
        f"{manifest.name}, {about(run)}",
        *agreement_lines(run),
        "",
        times(log),
        "",
        *_places(workspace, run.dataset_id, "model   ", f"runs/{run.run_id}"),
    ]


def evaluation_head(evaluation: EvaluationRecord) -> Iterator[OutputPart]:
    """Say how good a model is: the test split in words, every split in a table, what it never answers."""
    test = evaluation.test_result()
    yield f"{test.num_correct:,} of {test.num_examples:,} test examples are right: {accuracy(test)}"
    if test.num_examples > test.first_1000_examples:
        yield f"{test.first_1000_correct:,} of the first {test.first_1000_examples:,} are right"
    if test.never_predicted:
        yield f"never answered: {', '.join(test.never_predicted)}"
    yield splits_sheet(evaluation.results)


def splits_sheet(results: Sequence[SplitResult]) -> Sheet:
    """Show every split's figures."""
    rows = [
        (
            result.split,
            f"{result.num_correct:,}",
            f"{result.num_examples:,}",
            format_percent(result.accuracy),
            interval(result),
            f"{result.loss:.4f}",
        )
        for result in results
    ]
    return Sheet(columns("split", "#right", "#of", "#accuracy", "95 % interval", "#loss"), rows)


def agreement_lines(run: RunRecord) -> list[str]:
    """Say how the two ways to the gradients agreed, if both were taken."""
    if run.agreement is None:
        return []
    found = run.agreement
    return [
        f"one manual step and one autodiff step differ by {found.largest_difference:.1e} at most, the two networks by "
        f"{found.drift:.1e} at the end, where the largest parameter is {found.largest_parameter:.1f}"
    ]


def assistance_parts(run_id: str, settings: StageContext) -> list[OutputPart]:
    """Tell what a worker that is not the chief did."""
    index = settings.cluster.task_index if settings.cluster else 0
    return [f"{run_id}: task {index} has done its share; the chief, task 0, writes the run"]


def accuracy(result: SplitResult) -> str:
    """Write a split's accuracy with its interval."""
    return f"{format_percent(result.accuracy)} (95 % interval {interval(result)})"


def interval(result: SplitResult) -> str:
    """Write the interval of a split's accuracy."""
    return f"{100 * result.accuracy_low:.2f} to {format_percent(result.accuracy_high)}"


def about(run: RunRecord) -> str:
    """Say in a line how a run was trained."""
    config = run.config
    return f"recipe {config.recipe}, {config.step} step, seed {config.seed}: {shape(config)}"


def shape(config: TrainingConfig) -> str:
    """Say in a line what is trained for how long."""
    layers = "-".join(map(str, config.layers))
    length = f"{config.num_steps:,} steps" if config.num_steps else f"{config.num_epochs:g} epochs in steps"
    return f"{layers}, {config.activation}, {config.output} with {config.loss}, {length} of {config.batch_size}"


def next_steps(arguments: list[str], run: RunRecord) -> list[OutputPart]:
    """Tell what to try after `backbeam run`: the same command with one thing changed, and other commands.

    Args:
        arguments: as the command was called, without its name and without options for Beam.
        run: what it made.
    """
    command = "backbeam" if shutil.which("backbeam") else sys.argv[0]
    same = [command, *_without(arguments, "--step", "--seed", "--seeds")]
    there = _only(arguments, "--workspace")
    step, seed = run.config.step, run.config.seed
    lines = [
        (
            shlex.join([*same, "--seed", str(seed), "--step", "compare"]),
            "the same descent by both ways to the gradients",
        ),
        (shlex.join([*same, "--step", step, "--seeds", f"{seed}-{seed + 4}"]), "from five starts: one run says little"),
        (shlex.join([command, "show", run.run_id, *there]), "more of this run"),
        (shlex.join([command, "report", run.run_id, *there]), "a page to look at, with back-propagation step by step"),
        (shlex.join([command, "inspect", run.dataset_id, *there]), "what the data set holds, and a picture of it"),
        (shlex.join([command, "recipes"]), "what else can be trained"),
    ]
    if any(argument.startswith("--seeds") for argument in arguments):
        lines.pop(1)
    return ["", "what to try next:", *(f"  {line}    # {why}" for line, why in lines)]


def _places(workspace: Place, dataset_id: str, what: str, models: str) -> list[OutputPart]:
    """Say where shards, models and tables are."""
    return [
        f"shards  {workspace / 'datasets' / dataset_id}",
        f"{what}{workspace / models}",
        f"tables  {workspace / 'reports'}",
    ]


def _without(arguments: list[str], *options: str) -> list[str]:
    """Leave out options and their values."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument not in options and not argument.startswith(tuple(f"{name}=" for name in options)):
            kept.append(argument)
        skip = argument in options
    return kept


def _only(arguments: list[str], option: str) -> list[str]:
    """Keep an option and its value, in the one word or two that it was given in."""
    places = [place for place, argument in enumerate(arguments) if argument == option]
    pairs = [word for place in places for word in arguments[place : place + 2]]
    return pairs + [argument for argument in arguments if argument.startswith(f"{option}=")]
