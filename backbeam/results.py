"""The types of the results of `backbeam`, for annotations."""

from pipeline.evaluate.evaluation_record import EvaluationRecord, SplitResult
from pipeline.evaluate.predict import ClassifiedImages
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.validation_config import ValidationRecord
from pipeline.registry.retrain import RetrainResult
from pipeline.report.report import Report
from pipeline.stages import JobResult, ValidatedDataset
from pipeline.train.run_record import RunRecord

__all__ = [
    "ClassifiedImages",
    "Dataset",
    "EvaluationRecord",
    "JobResult",
    "Manifest",
    "Report",
    "RetrainResult",
    "RunRecord",
    "SplitResult",
    "ValidatedDataset",
    "ValidationRecord",
]
