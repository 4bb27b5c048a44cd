"""The evaluation stage. Imports Beam only if a run is not evaluated yet."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.context import StageContext, StageLog, capture_engine_messages, quiet_imports, run_unless_complete
from pipeline.evaluate.evaluation_record import (
    EVALUATION_NAME,
    EvaluationRecord,
    check_evaluation,
    finish_interrupted_addition,
    load_evaluation,
)
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.scan_runner import open_task_runner, prepare_local_workers
from pipeline.progress import show_event
from pipeline.storage.places import Place
from pipeline.storage.tables import check_rows
from pipeline.train.run_record import RunRecord

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings  # which imports NumPy

OUTPUT_BYTES = 4  # of a float32; `predictions` has an output of each class in every row


def evaluate_stage(
    context: StageContext, dataset: Dataset, runs: Sequence[RunRecord], slicings: "Slicings", log: StageLog
) -> list[EvaluationRecord]:
    """Evaluate runs on every split of their data set, unless that is complete; return their records in order.

    Slicings that a complete evaluation lacks are added to it. The files of large ones are checked on the engine's
    workers, if there are any. Raises as `beam_job.evaluate`, `check_evaluation` and `check_table_sizes`; and BadUsage
    if a run was evaluated with another slicing of the same name.
    """
    evaluated = [run for run in runs if _is_evaluated(context.workspace, run)]
    missing = [run for run in runs if run not in evaluated]
    additions = list(_find_additions(context.workspace, evaluated, slicings))

    def build() -> None:
        check_table_sizes(dataset.manifest)
        prepare_local_workers(context.beam_arguments, "pipeline.evaluate.beam_job")
        with log.timed("import"), quiet_imports():
            from pipeline.evaluate.beam_job import add_to_evaluation, evaluate
        with log.timed("evaluate"), capture_engine_messages(context.engine_log):
            beam_arguments = list(context.beam_arguments)
            for run in missing:
                evaluate(context.workspace, dataset.folder, dataset.manifest, run, beam_arguments, slicings)
            for run, new in additions:
                add_to_evaluation(context.workspace, dataset.folder, dataset.manifest, run, beam_arguments, new)

    def check() -> list[EvaluationRecord]:
        with open_task_runner(context, "check") as map_tasks:
            return [check_evaluation(context.workspace, run, map_tasks) for run in runs]

    evaluations = run_unless_complete("evaluate", not missing and not additions, build, check, context, log)
    for run, evaluation in zip(runs, evaluations, strict=True):
        test = evaluation.test_result()
        counts = {"examples": test.num_examples, "correct": test.num_correct}
        text = f"evaluate: {test.num_correct:,} of {test.num_examples:,} test examples right"
        show_event(text, "run_evaluated", stage="evaluate", run=run.run_id, counts=counts)
    return evaluations


def _is_evaluated(workspace: Place, run: RunRecord) -> bool:
    return (workspace / "runs" / run.run_id / EVALUATION_NAME).exists()


def _find_additions(
    workspace: Place, runs: Sequence[RunRecord], slicings: "Slicings"
) -> Iterator[tuple[RunRecord, "Slicings"]]:
    """Yield each of evaluated runs that lacks slicings, and those that it lacks; complete interrupted additions."""
    from pipeline.evaluate.slice_config import find_new_slicings

    for run in runs:
        finish_interrupted_addition(workspace, run)
        new = find_new_slicings(load_evaluation(workspace, run), slicings, workspace / "runs" / run.run_id)
        if new:
            yield run, new


def check_table_sizes(manifest: Manifest) -> None:
    """Check that no file of `confusion` and `predictions` would be larger than readers accept; raises BadInput.

    The manifest alone decides, so a job can check it before it trains.
    """
    num_classes = len(manifest.class_names)
    num_confusion_rows = len(manifest.splits) * num_classes**2
    check_rows(num_confusion_rows, 0, "confusion", f"{num_classes} classes are too many to evaluate")
    for split in manifest.splits.values():
        for shard in split.shards:
            name = f"predictions of {manifest.id_of(shard)}/{shard.name}"
            remedy = "preprocess again with a larger --num-shards"
            check_rows(shard.num_examples, OUTPUT_BYTES * num_classes, name, remedy)
