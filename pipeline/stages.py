"""The whole job on one page. Each stage skips what is complete and verifies, so the same job again is quick.

    source files -> preprocess -> validate -> train -> evaluate

TensorFlow and Beam take seconds to import: the first stage that has work for one of them imports it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.recipes import TrainingConfig
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.records import EvaluationRecord
from pipeline.evaluate.stage import evaluate_stage
from pipeline.evaluate.table_sizes import check_table_sizes
from pipeline.preprocess.dataset import Dataset, find_baseline
from pipeline.preprocess.stage import DatasetConfig, preprocess_stage, validate_stage
from pipeline.preprocess.validation_config import CheckSettings, ValidationRecord
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_record import RunRecord
from pipeline.train.stage import train_stage

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings  # which imports NumPy


@dataclass(frozen=True)
class JobConfig:
    """What a job is to make.

    Attributes:
        dataset: the sources and how they are preprocessed.
        checks: the settings of every check of validation.
        baseline: id of an earlier data set to compare with, or its beginning; None for none.
        training: one configuration, or several that differ in their seeds.
        tensorboard: whether to write logs for TensorBoard.
        checkpoints: when checkpoints are written.
        slicings: by which slices to evaluate.
    """

    dataset: DatasetConfig
    checks: dict[str, CheckSettings]
    baseline: str | None
    training: Sequence[TrainingConfig]
    tensorboard: bool
    checkpoints: CheckpointPolicy
    slicings: "Slicings"


@dataclass(frozen=True)
class JobResult:
    """What a job made: a data set, its validation, and a run and its evaluation for each training configuration."""

    dataset: Dataset
    validation: ValidationRecord
    runs: list[RunRecord]
    evaluations: list[EvaluationRecord]


def run_job(settings: StageContext, config: JobConfig, log: StageLog) -> JobResult:
    """Make what is missing of a data set, its runs and their evaluations.

    Args:
        settings: of every stage; this process must hold the lock of the workspace.
        config: what to make.
        log: records which stages were skipped, and how long the others took.

    Raises:
        BadUsage: the options do not fit each other or the sources.
        BadInput: a source is missing or damaged, a check of severity error failed, or the data set is too large for
            the tables of an evaluation.
        CorruptArtefact: a file of the workspace is not what its record says.
        EngineFailed: the Beam engine failed.
    """
    baseline = find_baseline(settings.workspace, config.baseline)
    dataset = preprocess_stage(settings, config.dataset, log)
    validation = validate_stage(settings, dataset, config.checks, baseline, log)
    check_table_sizes(dataset.manifest)  # before training, which may take hours
    runs = train_stage(settings, dataset, config.training, config.tensorboard, config.checkpoints, log)
    evaluations = evaluate_stage(settings, dataset, runs, config.slicings, log)
    return JobResult(dataset, validation, runs, evaluations)
