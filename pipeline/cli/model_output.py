"""The text and JSON that `backbeam recipes`, `gradcheck`, `export` and `predict` print."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.recipes import Recipe, TrainingConfig
from pipeline.cli.output import CommandOutput, Sheet
from pipeline.cli.run_output import describe_run, describe_training
from pipeline.evaluate.predict import ImagePrediction
from pipeline.report.reproduce_command import format_config
from pipeline.train.run_lookup import TrainedModel

if TYPE_CHECKING:
    from model.gradcheck import GradientCheck  # imports TensorFlow


def build_recipes_output(recipes: dict[str, Recipe]) -> CommandOutput:
    """Return the network, source, accuracy and settings of each recipe."""
    result = {name: _build_recipe_json(recipe) for name, recipe in recipes.items()}
    lines = [
        f"{name}\n  {describe_training(recipe.config)}\n  source     {recipe.source}\n  published  {recipe.published}\n"
        f"  measured   {recipe.measured}\n"
        for name, recipe in recipes.items()
    ]
    settings = [name for name in TrainingConfig.model_fields if name not in ("recipe", "warm_start")]
    rows = [[name, *(_format_value(getattr(recipe.config, name)) for recipe in recipes.values())] for name in settings]
    return result, [*lines, Sheet(("setting", *recipes), rows)]


def _format_value(value: Any) -> str:
    return "" if value is None else "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def build_recipe_output(recipe: Recipe) -> CommandOutput:
    """Return a recipe, as text a configuration file with its source and its accuracy in comments."""
    comments = [f"# {recipe.source}", f"# published: {recipe.published}; measured: {recipe.measured}"]
    return _build_recipe_json(recipe), [*comments, format_config(recipe.config).rstrip()]


def _build_recipe_json(recipe: Recipe) -> dict[str, Any]:
    return recipe._asdict() | {"config": recipe.config.model_dump(mode="json")}


def build_gradient_checks_output(config: TrainingConfig, checks: "list[GradientCheck]") -> CommandOutput:
    """Return the largest differences of the manual gradients from the other two, for each parameter."""
    result = {
        "recipe": config.recipe,
        "layers": list(config.layers),
        "agrees": all(check.holds for check in checks),
        "parameters": [check._asdict() | {"holds": check.holds} for check in checks],
    }
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
    return result, [
        f"{config.recipe}, {describe_training(config)}",
        "largest difference of the manual gradient, over its largest value, in float64;",
        f"from autodiff for every number, from central differences for up to {num_checked} of each",
        Sheet(("#layer", "parameter", "#shape", "#from autodiff", "#from differences", ""), rows),
    ]


def build_export_output(model: TrainedModel, target: Path) -> CommandOutput:
    """Return the exported run and the path of the export."""
    result = {"run_id": model.run.run_id, "model_digest": model.run.parameters.sha256, "path": str(target)}
    return result, [f"{model.run.run_id}: {describe_run(model.run)}", f"export  {target}"]


def build_predictions_output(model: TrainedModel, predictions: list[ImagePrediction]) -> CommandOutput:
    """Return the predicted class and the runner-up of each image, with their confidences."""
    result = {
        "run_id": model.run.run_id,
        "model_digest": model.run.parameters.sha256,
        "predictions": [asdict(prediction) for prediction in predictions],
    }
    return result, [_format_prediction(prediction) for prediction in predictions]


def format_remarks(predictions: list[ImagePrediction]) -> list[str]:
    """Return a line for each file with pictures that were changed, or may be of another style: the first one's remarks.

    The JSON output has those of every picture.
    """
    files = dict[str, list[ImagePrediction]]()
    for each in predictions:
        if each.remarks:
            files.setdefault(each.file, []).append(each)
    return [_format_remarks(remarked[0], len(remarked) - 1) for remarked in files.values()]


def _format_remarks(first: ImagePrediction, num_others: int) -> str:
    others = f"; other images of the file have remarks too: {num_others} (--json lists them)" if num_others else ""
    return f"predict: {_format_name(first)}: {'; '.join(first.remarks)}{others}"


def _format_name(prediction: ImagePrediction) -> str:
    name = _printable(prediction.file)
    return name if prediction.index is None else f"{name}[{prediction.index}]"


def _printable(file: str) -> str:
    return file.encode("utf-8", "replace").decode()  # a file name may hold bytes that are not UTF-8


def _format_prediction(prediction: ImagePrediction) -> str:
    line = f"{_format_name(prediction)}: {prediction.class_name} ({prediction.confidence:.3f})"
    if prediction.runner_up is None:
        return line
    return f"{line}, then {prediction.runner_up} ({prediction.runner_up_confidence:.3f})"
