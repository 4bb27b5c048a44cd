"""The whole job, and the parts of it that can be run alone. A stage is skipped if its result is complete and verifies.

    source files -> preprocess -> validate -> train -> evaluate

TensorFlow and Beam take seconds to import, so a stage imports them only if it has work to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from model.recipes import TrainingConfig
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.evaluate.learning_evidence import find_learning_problems
from pipeline.evaluate.learning_problems import LearningProblem
from pipeline.evaluate.stage import check_table_sizes, evaluate_stage
from pipeline.preprocess.dataset import Dataset, find_baseline, find_dataset
from pipeline.preprocess.scan_runner import check_by_workers
from pipeline.preprocess.stage import DatasetConfig, preprocess_stage, validate_stage
from pipeline.preprocess.validation_config import CheckSettings, ValidationRecord
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_record import RunRecord
from pipeline.train.stage import train_stage
from pipeline.train.training_process import TrainingProcess

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings  # imports NumPy


@dataclass(frozen=True)
class JobConfig:
    """The configuration of a job."""

    dataset: DatasetConfig
    checks: dict[str, CheckSettings]  # by the name of the check
    baseline: str | None  # the id of an earlier data set to compare with, or a prefix of it
    training: Sequence[TrainingConfig]  # one, or several that differ in their seeds
    tensorboard: bool
    checkpoints: CheckpointPolicy
    slicings: "Slicings"
    names: Sequence[str] = ()  # a name for each training configuration, or none
    writes_seeds: bool = False  # whether to write the table `seeds` of the runs


@dataclass(frozen=True)
class JobResult:
    """The results of a job: a data set, its validation, and a run, an evaluation and problems for each training."""

    dataset: Dataset
    validation: ValidationRecord
    runs: list[RunRecord]
    evaluations: list[EvaluationRecord]
    problems: list[list[LearningProblem]]  # why a run learned little; none of a run that learned well
    seeds: list[dict[str, Any]]  # the rows of the table `seeds`, one for each split; none if it is not written


@dataclass(frozen=True)
class ValidatedDataset:
    """A data set and its validation."""

    dataset: Dataset
    validation: ValidationRecord


def run_job(
    context: StageContext, config: JobConfig, log: StageLog, trainer: TrainingProcess | None = None
) -> JobResult:
    """Run all stages, skipping those whose result is complete; this process must hold the lock of the workspace.

    `trainer` is the process to train in; None for this one.

    Raises:
        BadUsage: options conflict with each other or with the sources.
        BadInput: a source is missing or damaged, a check of severity error failed, or the data set is too large for
            the tables of an evaluation.
        CorruptArtefact: a file of the workspace does not match its record.
        EngineFailed: the Beam engine failed.
    """
    baseline = find_baseline(context.workspace, config.baseline)
    dataset = preprocess_stage(context, config.dataset, log)
    validation = validate_stage(context, dataset, config.checks, baseline, log)
    check_table_sizes(dataset.manifest)  # before training, which may take hours
    runs = train_stage(
        context, dataset, config.training, config.tensorboard, config.checkpoints, log, config.names, trainer=trainer
    )
    evaluations = evaluate_stage(context, dataset, runs, config.slicings, log)
    pairs = zip(runs, evaluations, strict=True)
    problems = [find_learning_problems(context.workspace, run, evaluation) for run, evaluation in pairs]
    seeds = _write_seeds(context, config, runs, evaluations)
    return JobResult(dataset, validation, runs, evaluations, problems, seeds)


def _write_seeds(
    context: StageContext, config: JobConfig, runs: list[RunRecord], evaluations: list[EvaluationRecord]
) -> list[dict[str, Any]]:
    if not config.writes_seeds:
        return []
    from pipeline.evaluate.seeds import write_seeds  # imports pyarrow

    return write_seeds(context.workspace, runs, evaluations)


def preprocess_and_validate(
    context: StageContext, config: DatasetConfig, checks: dict[str, CheckSettings], baseline: str | None, log: StageLog
) -> ValidatedDataset:
    """Run the stages preprocess and validate; raises as `run_job`, and needs the lock as it does."""
    earlier = find_baseline(context.workspace, baseline)
    dataset = preprocess_stage(context, config, log)
    return ValidatedDataset(dataset, validate_stage(context, dataset, checks, earlier, log))


def validate_again(
    context: StageContext, name: str | None, checks: dict[str, CheckSettings], baseline: str | None, log: StageLog
) -> ValidatedDataset:
    """Find a data set as by `find_dataset` and validate it; raises as that and `validate_stage`; needs the lock."""
    earlier = find_baseline(context.workspace, baseline)
    dataset = find_dataset(context.workspace, name, partial(check_by_workers, context))
    return ValidatedDataset(dataset, validate_stage(context, dataset, checks, earlier, log))
