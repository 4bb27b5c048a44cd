"""What the commands print with --json: one object, for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.recipes import Recipe, TrainingConfig
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.records import EvaluationRecord
from pipeline.evaluate.run_overview import RunComparison, RunDetails, RunList
from pipeline.storage.places import Place
from pipeline.train.run_lookup import Model
from pipeline.train.run_record import RunRecord

if TYPE_CHECKING:
    from model.gradcheck import GradientCheck  # which imports TensorFlow
    from pipeline.evaluate.predict import PredictedImage  # which imports NumPy
    from pipeline.report.report import Report
from pipeline.cli.dataset_output import rounded


def run_json(workspace: Place, run: RunRecord, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam train --json` prints."""
    return {
        "run_id": run.run_id,
        "dataset_id": run.dataset_id,
        "recipe": run.config.recipe,
        "step": run.config.step,
        "seed": run.config.seed,
        "agreement": run.agreement.model_dump() if run.agreement else None,
        "finished": run.finished,
        "seconds": rounded(log),
        "skipped": log.skipped,
        "paths": {
            "dataset": str(workspace / "datasets" / run.dataset_id),
            "run": str(workspace / "runs" / run.run_id),
            "reports": str(workspace / "reports"),
        },
    }


def assistance_json(run_id: str, settings: StageContext, log: StageLog) -> dict[str, Any]:
    """Return what `backbeam train --json` prints in a worker that is not the chief."""
    index = settings.cluster.task_index if settings.cluster else 0
    return {"run_id": run_id, "task_index": index, "seconds": rounded(log), "skipped": log.skipped}


def evaluation_json(workspace: Place, run: RunRecord, evaluation: EvaluationRecord, log: StageLog) -> dict[str, Any]:
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
    return run_json(workspace, run, log) | {"test": {name: getattr(test, name) for name in kept}}


def runs_json(workspace: Place, runs: Sequence[RunRecord], log: StageLog) -> dict[str, Any]:
    """Return what `backbeam train --seeds --json` prints."""
    return {"runs": [run_json(workspace, run, log) for run in runs]}


def seeds_json(
    workspace: Place,
    runs: Sequence[RunRecord],
    evaluations: Sequence[EvaluationRecord],
    rows: list[dict[str, Any]],
    log: StageLog,
) -> dict[str, Any]:
    """Return what `backbeam run --seeds --json` prints; rows are those of the table `seeds`."""
    pairs = zip(runs, evaluations, strict=True)
    return {
        "runs": [evaluation_json(workspace, *pair, log) for pair in pairs],
        "seeds": {row["split"]: {name: value for name, value in row.items() if name != "split"} for row in rows},
        "seconds": rounded(log),
        "skipped": log.skipped,
    }


def recipes_json(recipes: dict[str, Recipe]) -> dict[str, Any]:
    """Return what `backbeam recipes --json` prints."""
    return {
        name: recipe._asdict() | {"config": recipe.config.model_dump(mode="json")} for name, recipe in recipes.items()
    }


def agreement_json(config: TrainingConfig, found: "list[GradientCheck]") -> dict[str, Any]:
    """Return what `backbeam gradcheck --json` prints."""
    return {
        "recipe": config.recipe,
        "layers": list(config.layers),
        "agrees": all(agreement.holds for agreement in found),
        "parameters": [agreement._asdict() | {"holds": agreement.holds} for agreement in found],
    }


def export_json(model: Model, target: Path) -> dict[str, Any]:
    """Return what `backbeam export --json` prints."""
    return {"run_id": model.run.run_id, "model_digest": model.run.parameters.sha256, "path": str(target)}


def answers_json(model: Model, answers: "list[PredictedImage]") -> dict[str, Any]:
    """Return what `backbeam predict --json` prints."""
    return {
        "run_id": model.run.run_id,
        "model_digest": model.run.parameters.sha256,
        "predictions": [asdict(answer) for answer in answers],
    }


def report_json(report: "Report") -> dict[str, Any]:
    """Return what `backbeam report --json` prints."""
    return {"path": str(report.path), "num_bytes": report.num_bytes, "runs": report.figures}


def listing_json(listing: RunList) -> dict[str, Any]:
    """Return what `backbeam runs --json` prints."""
    return {"runs": [_listed_json(*listed) for listed in listing.runs], "problems": list(map(str, listing.problems))}


def _listed_json(run: RunRecord, evaluation: EvaluationRecord | None) -> dict[str, Any]:
    config = run.config.model_dump(mode="json")
    results = {result.split: result.model_dump(mode="json") for result in evaluation.results} if evaluation else None
    about = {"run_id": run.run_id, "dataset_id": run.dataset_id, "finished": run.finished, "config": config}
    return about | {"evaluation": results}


def shown_json(shown: RunDetails) -> dict[str, Any]:
    """Return what `backbeam show --json` prints."""
    record = shown.run.model_dump(mode="json") | {"evaluation": shown.evaluation.model_dump(mode="json")["results"]}
    return record | {"classes": [_without_origin(row) for row in shown.classes]}


def _without_origin(row: dict[str, Any]) -> dict[str, Any]:
    origin = ("run_id", "dataset_digest", "model_digest", "schema_version")
    return {name: value for name, value in row.items() if name not in origin}


def compared_json(compared: RunComparison) -> dict[str, Any]:
    """Return what `backbeam compare --json` prints; differences are B's less A's."""
    settings = {name: list(pair) for name, pair in compared.differing_settings().items()}
    return {
        "first": _listed_json(compared.first.run, compared.first.evaluation),
        "second": _listed_json(compared.second.run, compared.second.evaluation),
        "test": compared.comparison._asdict(),
        "settings": settings,
    }
