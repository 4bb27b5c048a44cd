"""What a command says at its end: one JSON object for programs, a few lines for people."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.recipes import Recipe, TrainingConfig
from pipeline.lookup import Dataset, Model
from pipeline.manifest import Manifest
from pipeline.runs import EvaluationRecord, RunRecord, SplitResult
from pipeline.uses import Inspection
from pipeline.validation import CheckResult, ValidationRecord, table_folder
from pipeline.work import Log, Settings

if TYPE_CHECKING:
    from model.gradcheck import Agreement  # which imports TensorFlow
    from pipeline.predict import Answer  # which imports NumPy
    from pipeline.report import Report


def describe_dataset(workspace: Path, dataset: Dataset, log: Log) -> dict[str, Any]:
    """Return what `backbeam preprocess --json` prints."""
    manifest = dataset.manifest
    return {
        "dataset_id": manifest.dataset_id,
        "dataset_digest": dataset.digest,
        "num_examples": {name: split.num_examples for name, split in manifest.splits.items()},
        "num_rejected": manifest.num_rejected,
        "parts": [part.dataset_id for part in manifest.parts],
        "seconds": rounded(log),
        "skipped": log.skipped,
        "paths": {"workspace": str(workspace), "dataset": str(dataset.folder)},
    }


def describe_validation(workspace: Path, record: ValidationRecord) -> dict[str, Any]:
    """Return what the commands that validate print of it with --json."""
    results = [result.model_dump(mode="json") for result in record.results]
    table = str(table_folder(workspace, record.dataset_id) / record.table.name)
    found = {
        "passed": not record.with_outcome("error"),
        "num_warnings": len(record.with_outcome("warning")),
        "results": results,
        "table": table,
    }
    return {"validation": found}


def describe_inspection(workspace: Path, found: Inspection) -> dict[str, Any]:
    """Return what `backbeam inspect --json` prints; validation is null if there was none."""
    manifest, record = found.dataset.manifest, found.validation
    named = [{"split": each.split, "index": each.index, "label": each.label} for each in found.named]
    about = {
        "dataset_id": manifest.dataset_id,
        "dataset_digest": found.dataset.digest,
        "image_size": [manifest.height, manifest.width],
        "num_rejected": manifest.num_rejected,
        "splits": found.statistics,
        "examples": named,
        "sheet": str(found.sheet),
    }
    return about | (describe_validation(workspace, record) if record else {"validation": None})


def inspection_text(workspace: Path, found: Inspection) -> str:
    """Show a person a data set's statistics, what its validation found, and where the contact sheet is."""
    manifest, record = found.dataset.manifest, found.validation
    head = f"{manifest.dataset_id}: {manifest.height} x {manifest.width} pixels, {manifest.num_rejected:,} rejected"
    validated = [validation_table(workspace, record)] if record else ["not validated yet: backbeam validate"]
    return "\n".join(
        [head, "", *_split_lines(found.statistics), "", *_class_lines(found), "", *validated, f"sheet   {found.sheet}"]
    )


def _split_lines(statistics: dict[str, Any]) -> list[str]:
    rows = [
        f"{name:10} {split['num_examples']:>10,} {split['num_shards']:>7,} {split['pixel_mean']:>11.2f} "
        f"{split['pixel_std']:>10.2f}"
        for name, split in statistics.items()
    ]
    return [f"{'split':10} {'examples':>10} {'shards':>7} {'pixel mean':>11} {'pixel std':>10}", *rows]


def _class_lines(found: Inspection) -> list[str]:
    """Say how many examples of each class there are in each split."""
    splits, names = found.statistics, found.dataset.manifest.class_names
    wide = max(len("class"), *map(len, names))
    rows = []
    for label, name in enumerate(names):
        counts = [split["classes"][label] for split in splits.values()]
        cells = "".join(f" {count['num_examples']:>10,} {_percent(count['share']):>9}" for count in counts)
        rows.append(f"{label:>5}  {name:{wide}}{cells}")
    head = "".join(f" {split:>10} {'share':>9}" for split in splits)
    return [f"label  {'class':{wide}}{head}", *rows]


def validation_table(workspace: Path, record: ValidationRecord) -> str:
    """Show a person what every check found."""
    head = f"{'check':18}  {'split':5}  {'value':>9}  {'threshold':>9}  {'severity':8}  outcome"
    return "\n".join([head, *map(_check_line, record.results), validation_text(workspace, record)])


def _check_line(result: CheckResult) -> str:
    concerned = f", {result.num_examples:,} examples" if result.num_examples else ""
    return (
        f"{result.check:18}  {result.split:5}  {result.value:>9.4g}  {result.threshold:>9.4g}  {result.severity:8}  "
        f"{result.outcome}{concerned}"
    )


def validation_text(workspace: Path, record: ValidationRecord) -> str:
    """Tell a person in a line how validation went, and where the table is."""
    counts = {outcome: len(record.with_outcome(outcome)) for outcome in ("passed", "warning", "error")}
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"checks  {said or 'none'}: {table_folder(workspace, record.dataset_id)}"


def describe_run(workspace: Path, run: RunRecord, log: Log) -> dict[str, Any]:
    """Return what `backbeam train --json` prints."""
    return {
        "run_id": run.run_id,
        "dataset_id": run.dataset_id,
        "recipe": run.config.recipe,
        "step": run.config.step,
        "seed": run.config.seed,
        "agreement": run.agreement.model_dump() if run.agreement else None,
        "seconds": rounded(log),
        "skipped": log.skipped,
        "paths": {
            "dataset": str(workspace / "datasets" / run.dataset_id),
            "run": str(workspace / "runs" / run.run_id),
            "reports": str(workspace / "reports"),
        },
    }


def describe_assistance(run_id: str, settings: Settings, log: Log) -> dict[str, Any]:
    """Return what `backbeam train --json` prints in a worker that is not the chief."""
    index = settings.cluster.task_index if settings.cluster else 0
    return {"run_id": run_id, "task_index": index, "seconds": rounded(log), "skipped": log.skipped}


def describe_evaluation(workspace: Path, run: RunRecord, evaluation: EvaluationRecord, log: Log) -> dict[str, Any]:
    """Return what `backbeam run --json` and `backbeam evaluate --json` print."""
    test = evaluation.test_result()
    kept = (
        "num_examples",
        "num_correct",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "first_1000_correct",
        "never_predicted",
    )
    return describe_run(workspace, run, log) | {"test": {name: getattr(test, name) for name in kept}}


def describe_runs(workspace: Path, runs: Sequence[RunRecord], log: Log) -> dict[str, Any]:
    """Return what `backbeam train --seeds --json` prints."""
    return {"runs": [describe_run(workspace, run, log) for run in runs]}


def describe_seeds(
    workspace: Path,
    runs: Sequence[RunRecord],
    evaluations: Sequence[EvaluationRecord],
    rows: list[dict[str, Any]],
    log: Log,
) -> dict[str, Any]:
    """Return what `backbeam run --seeds --json` prints; rows are those of the table `seeds`."""
    pairs = zip(runs, evaluations, strict=True)
    return {
        "runs": [describe_evaluation(workspace, *pair, log) for pair in pairs],
        "seeds": {row["split"]: {name: value for name, value in row.items() if name != "split"} for row in rows},
        "seconds": rounded(log),
        "skipped": log.skipped,
    }


def describe_recipes(recipes: dict[str, Recipe]) -> dict[str, Any]:
    """Return what `backbeam recipes --json` prints."""
    return {
        name: recipe._asdict() | {"config": recipe.config.model_dump(mode="json")} for name, recipe in recipes.items()
    }


def recipes_text(recipes: dict[str, Recipe]) -> str:
    """List the recipes for a person."""
    return "\n\n".join(
        f"{name}\n  {_shape(recipe.config)}\n  source     {recipe.source}\n  published  {recipe.published}\n"
        f"  measured   {recipe.measured}"
        for name, recipe in recipes.items()
    )


def describe_agreement(config: TrainingConfig, found: "list[Agreement]") -> dict[str, Any]:
    """Return what `backbeam gradcheck --json` prints."""
    return {
        "recipe": config.recipe,
        "layers": list(config.layers),
        "agrees": all(agreement.holds for agreement in found),
        "parameters": [agreement._asdict() | {"holds": agreement.holds} for agreement in found],
    }


def agreement_text(config: TrainingConfig, found: "list[Agreement]") -> str:
    """Show a person how far the manual gradients are from the others, parameter by parameter."""
    head = f"{'layer':>5}  {'parameter':9}  {'shape':>10}  {'from autodiff':>13}  {'from differences':>16}"
    rows = [
        f"{a.layer:>5}  {a.parameter:9}  {' x '.join(map(str, a.shape)):>10}  {a.from_autodiff:>13.1e}  "
        f"{a.from_differences:>16.1e}  {'agrees' if a.holds else 'DIFFERS'}"
        for a in found
    ]
    about = f"{config.recipe}, {_shape(config)}"
    return "\n".join(
        [about, "largest difference of the manual gradient, over its largest value, in float64", head, *rows]
    )


def describe_export(model: Model, target: Path) -> dict[str, Any]:
    """Return what `backbeam export --json` prints."""
    return {"run_id": model.run.run_id, "model_digest": model.run.parameters.sha256, "path": str(target)}


def export_text(model: Model, target: Path) -> str:
    """Tell a person what was exported."""
    return f"{model.run.run_id}: {_about(model.run)}\nexport  {target}"


def describe_answers(model: Model, answers: "list[Answer]") -> dict[str, Any]:
    """Return what `backbeam predict --json` prints."""
    return {
        "run_id": model.run.run_id,
        "model_digest": model.run.parameters.sha256,
        "predictions": [asdict(answer) for answer in answers],
    }


def answers_text(answers: "list[Answer]") -> str:
    """Tell a person what each image was taken for: a line an image."""
    return "\n".join(
        f"{_place(answer)}: {answer.class_name} ({answer.confidence:.3f})"
        + (f", then {answer.runner_up} ({answer.runner_up_confidence:.3f})" if answer.runner_up is not None else "")
        for answer in answers
    )


def _place(answer: "Answer") -> str:
    """Name an image; of a file name that is no text, what can be printed."""
    name = answer.file.encode("utf-8", "replace").decode()
    return name if answer.index is None else f"{name}[{answer.index}]"


def describe_report(report: "Report") -> dict[str, Any]:
    """Return what `backbeam report --json` prints."""
    return {"path": str(report.path), "num_bytes": report.num_bytes, "runs": report.figures}


def report_text(report: "Report") -> str:
    """Tell a person where the page is."""
    lines = [
        f"{row['run_id']}: {row['num_correct']:,} of {row['num_examples']:,} test examples are right, "
        f"{_percent(row['accuracy'])}"
        for row in report.figures
    ]
    return "\n".join([*lines, f"page    {report.path} ({report.num_bytes / 1000:,.0f} kB; opens in any browser)"])


def rounded(log: Log) -> dict[str, float]:
    """Return the seconds of each stage, to the millisecond."""
    return {stage: round(seconds, 3) for stage, seconds in log.seconds.items()}


def dataset_text(dataset: Dataset, log: Log) -> str:
    """Tell a person what data set there is now."""
    manifest = dataset.manifest
    splits = ", ".join(f"{split.num_examples:,} {name}" for name, split in manifest.splits.items())
    rejected = f", {manifest.num_rejected:,} rejected" if manifest.num_rejected else ""
    size = f"{manifest.height} x {manifest.width} pixels, {len(manifest.class_names)} classes"
    return f"{manifest.dataset_id}: {splits} examples of {size}{rejected}\n{_times(log)}\nshards  {dataset.folder}"


def runs_text(workspace: Path, runs: Sequence[RunRecord], log: Log) -> str:
    """Tell a person what runs there are now."""
    about = [line for run in runs for line in (f"{run.run_id}: {_about(run)}", *_agreement(run))]
    models = [f"model   {workspace / 'runs' / run.run_id}" for run in runs]
    return "\n".join([*about, _times(log), *models])


def seeds_text(
    workspace: Path, manifest: Manifest, runs: Sequence[RunRecord], rows: list[dict[str, Any]], log: Log
) -> str:
    """Tell a person how good a configuration is over several seeds."""
    test = next(row for row in rows if row["split"] == "test")
    return "\n".join(
        [
            *(
                _seed_line(run, *pair)
                for run, *pair in zip(runs, test["accuracies"], test["first_1000_correct"], strict=True)
            ),
            f"median {_percent(test['accuracy_median'])}, lowest {_percent(test['accuracy_lowest'])}, "
            f"highest {_percent(test['accuracy_highest'])} of the test examples are right; "
            f"median {test['first_1000_median']:g} of the first 1,000",
            *(f"seed {each['seed']} never answers {each['class_name']}" for each in test["never_predicted"]),
            f"{manifest.name}, recipe {runs[0].config.recipe}, {runs[0].config.step} step: {_shape(runs[0].config)}",
            "",
            _times(log),
            "",
            f"shards  {workspace / 'datasets' / runs[0].dataset_id}",
            f"models  {workspace / 'runs'}",
            f"tables  {workspace / 'reports'}",
        ]
    )


def _seed_line(run: RunRecord, accuracy: float, first_correct: int) -> str:
    line = f"seed {run.config.seed}: {_percent(accuracy)}, {first_correct:,} of the first 1,000"
    return "; ".join([line, *_agreement(run)])


def _agreement(run: RunRecord) -> list[str]:
    """Say how the two ways to the gradients agreed, if both were taken."""
    if run.agreement is None:
        return []
    found = run.agreement
    return [
        f"one manual step and one autodiff step differ by {found.largest_difference:.1e} at most, the two networks by "
        f"{found.drift:.1e} at the end, where the largest parameter is {found.largest_parameter:.1f}"
    ]


def assistance_text(run_id: str, settings: Settings) -> str:
    """Tell a person what a worker that is not the chief did."""
    index = settings.cluster.task_index if settings.cluster else 0
    return f"{run_id}: task {index} has done its share; the chief, task 0, writes the run"


def evaluation_text(workspace: Path, manifest: Manifest, run: RunRecord, evaluation: EvaluationRecord, log: Log) -> str:
    """Tell a person how good the model is, what it took and where everything is."""
    test = evaluation.test_result()
    splits = [result for result in evaluation.results if result.split != "test"]
    lines = [
        f"{test.num_correct:,} of {test.num_examples:,} test examples are right: {_accuracy(test)}",
        *(f"{result.num_correct:,} of {result.num_examples:,} {result.split} examples are right" for result in splits),
        *_warnings(test),
        f"{manifest.name}, {_about(run)}",
        *_agreement(run),
        "",
        _times(log),
        "",
        f"shards  {workspace / 'datasets' / run.dataset_id}",
        f"model   {workspace / 'runs' / run.run_id}",
        f"tables  {workspace / 'reports'}",
    ]
    if test.num_examples > test.first_1000_examples:
        lines.insert(1, f"{test.first_1000_correct:,} of the first {test.first_1000_examples:,} are right")
    return "\n".join(lines)


def _warnings(result: SplitResult) -> list[str]:
    return [f"never answered: {', '.join(result.never_predicted)}"] if result.never_predicted else []


def _accuracy(result: SplitResult) -> str:
    low, high = result.accuracy_low, result.accuracy_high
    return f"{_percent(result.accuracy)} (95 % interval {_percent(low)} to {_percent(high)})"


def _percent(part: float) -> str:
    return f"{100 * part:.2f} %"


def _about(run: RunRecord) -> str:
    config = run.config
    return f"recipe {config.recipe}, {config.step} step, seed {config.seed}: {_shape(config)}"


def _shape(config: TrainingConfig) -> str:
    layers = "-".join(map(str, config.layers))
    length = f"{config.num_steps:,} steps" if config.num_steps else f"{config.num_epochs:g} epochs in steps"
    return f"{layers}, {config.activation}, {config.output} with {config.loss}, {length} of {config.batch_size}"


def _times(log: Log) -> str:
    parts = [
        f"{stage} {seconds:.1f} s" + (" (already done)" if stage in log.skipped else "")
        for stage, seconds in log.seconds.items()
    ]
    return f"time    {', '.join(parts)}"


def next_steps(arguments: list[str], run: RunRecord) -> str:
    """Tell a person what to try after `backbeam run`: the same command with one thing changed, and other commands.

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
        (shlex.join([command, "report", run.run_id, *there]), "a page to look at, with back-propagation step by step"),
        (shlex.join([command, "inspect", run.dataset_id, *there]), "what the data set holds, and a picture of it"),
        (shlex.join([command, "recipes"]), "what else can be trained"),
    ]
    if any(argument.startswith("--seeds") for argument in arguments):
        lines.pop(1)
    return "\n".join(["", "what to try next:", *(f"  {line}    # {why}" for line, why in lines)])


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
