"""PTransforms for a Beam pipeline of your own: see "In a Beam pipeline of your own" in docs/python.md."""

from pipeline.evaluate.beam_job import EvaluateModel
from pipeline.evaluate.embedded_job import open_evaluation
from pipeline.preprocess.beam_job import PreprocessImages
from pipeline.preprocess.embedded_job import open_preprocessing
from pipeline.preprocess.stage import DatasetConfig

__all__ = ["DatasetConfig", "EvaluateModel", "PreprocessImages", "open_evaluation", "open_preprocessing"]
