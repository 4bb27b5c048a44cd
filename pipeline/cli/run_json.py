"""JSON of the results of the commands about runs and recipes: one object each."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.recipes import Recipe, TrainingConfig
from pipeline.cli.dataset_output import round_seconds
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.evaluated_runs import EvaluatedRun, RunComparison, RunList
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.storage.places import Place
from pipeline.train.run_lookup import TrainedModel
from pipeline.train.run_record import RunRecord

if TYPE_CHECKING:
    from model.gradcheck import GradientCheck  # imports TensorFlow
    from pipeline.evaluate.predict import PredictedImage  # imports NumPy
    from pipeline.report.report import Report


def build_run_json(workspace: Place, run: RunRecord, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam train --json` prints."""
    return {
        "run_id": run.run_id,
        "dataset_id": run.dataset_id,
        "recipe": run.config.recipe,
        "step": run.config.step,
        "seed": run.config.seed,
        "agreement": run.agreement.model_dump() if run.agreement else None,
        "finished": run.finished,
        "seconds": round_seconds(log),
        "skipped": log.skipped,
        "paths": {
            "dataset": str(workspace / "datasets" / run.dataset_id),
            "run": str(workspace / "runs" / run.run_id),
            "reports": str(workspace / "reports"),
        },
    }


def build_task_json(run_id: str, settings: StageContext, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam train --json` prints in a worker that is not the chief."""
    index = settings.cluster.task_index if settings.cluster else 0
    return {"run_id": run_id, "task_index": index, "seconds": round_seconds(log), "skipped": log.skipped}


def build_evaluation_json(
    workspace: Place, run: RunRecord, evaluation: EvaluationRecord, log: StageLog
) -> dict[str, Any]:
    """Return what `backbeam run --json` and `backbeam evaluate --json` print."""
    test = evaluation.test_result()
    names = (
        "num_examples",
        "num_correct",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "first_1000_correct",
        "never_predicted",
    )
    return build_run_json(workspace, run, log) | {"test": {name: getattr(test, name) for name in names}}


def build_runs_json(workspace: Place, runs: Sequence[RunRecord], log: StageLog) -> dict[str, Any]:
    """Return what `backbeam train --seeds --json` prints."""
    return {"runs": [build_run_json(workspace, run, log) for run in runs]}


def build_seeds_json(
    workspace: Place,
    runs: Sequence[RunRecord],
    evaluations: Sequence[EvaluationRecord],
    rows: list[dict[str, Any]],
    log: StageLog,
) -> dict[str, Any]:
    """Return what `backbeam run --seeds --json` prints; rows are those of the table `seeds`."""
    pairs = zip(runs, evaluations, strict=True)
    return {
        "runs": [build_evaluation_json(workspace, *pair, log) for pair in pairs],
        "seeds": {row["split"]: {name: value for name, value in row.items() if name != "split"} for row in rows},
        "seconds": round_seconds(log),
        "skipped": log.skipped,
    }


def build_recipes_json(recipes: dict[str, Recipe]) -> dict[str, Any]:
    """Return what `backbeam recipes --json` prints."""
    return {
        name: recipe._asdict() | {"config": recipe.config.model_dump(mode="json")} for name, recipe in recipes.items()
    }


def build_gradient_checks_json(config: TrainingConfig, checks: "list[GradientCheck]") -> dict[str, Any]:
    """Return what `backbeam gradcheck --json` prints."""
    return {
        "recipe": config.recipe,
        "layers": list(config.layers),
        "agrees": all(check.holds for check in checks),
        "parameters": [check._asdict() | {"holds": check.holds} for check in checks],
    }


def build_export_json(model: TrainedModel, target: Path) -> dict[str, Any]:
    """Return what `backbeam export --json` prints."""
    return {"run_id": model.run.run_id, "model_digest": model.run.parameters.sha256, "path": str(target)}


def build_predictions_json(model: TrainedModel, predictions: "list[PredictedImage]") -> dict[str, Any]:
    """Return what `backbeam predict --json` prints."""
    return {
        "run_id": model.run.run_id,
        "model_digest": model.run.parameters.sha256,
        "predictions": [asdict(prediction) for prediction in predictions],
    }


def build_report_json(report: "Report") -> dict[str, Any]:
    """Return what `backbeam report --json` prints."""
    return {"path": str(report.path), "num_bytes": report.num_bytes, "runs": report.figures}


def build_run_list_json(listing: RunList) -> dict[str, Any]:
    """Return what `backbeam runs --json` prints."""
    return {
        "runs": [_build_run_summary_json(*summary) for summary in listing.runs],
        "problems": list(map(str, listing.problems)),
    }


def _build_run_summary_json(run: RunRecord, evaluation: EvaluationRecord | None) -> dict[str, Any]:
    config = run.config.model_dump(mode="json")
    results = {result.split: result.model_dump(mode="json") for result in evaluation.results} if evaluation else None
    return {
        "run_id": run.run_id,
        "dataset_id": run.dataset_id,
        "finished": run.finished,
        "config": config,
        "evaluation": results,
    }


def build_run_details_json(details: EvaluatedRun) -> dict[str, Any]:
    """Return what `backbeam show --json` prints."""
    results = details.evaluation.model_dump(mode="json")["results"]
    classes = [_remove_origin(row) for row in details.rows("classes")]
    return details.run.model_dump(mode="json") | {"evaluation": results, "classes": classes}


def _remove_origin(row: dict[str, Any]) -> dict[str, Any]:
    origin = ("run_id", "dataset_digest", "model_digest", "schema_version")
    return {name: value for name, value in row.items() if name not in origin}


def build_comparison_json(comparison: RunComparison) -> dict[str, Any]:
    """Return what `backbeam compare --json` prints; differences are B minus A."""
    return {
        "first": _build_run_summary_json(comparison.first.run, comparison.first.evaluation),
        "second": _build_run_summary_json(comparison.second.run, comparison.second.evaluation),
        "test": comparison.comparison._asdict(),
        "settings": comparison.differing_settings(),
    }
