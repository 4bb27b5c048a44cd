"""The API for user-defined slicings: see "Slices of your own" in docs/tables.md."""

from pipeline.evaluate.slices import SLICINGS, Names, PredictedExamples, Slice, Slicing

__all__ = ["SLICINGS", "Names", "PredictedExamples", "Slice", "Slicing"]
