"""The API for user-defined slicings: see "Slices of your own" in docs/tables.md."""

from pipeline.evaluate.slices import SLICINGS, Answered, Names, Slice, Slicing

__all__ = ["SLICINGS", "Answered", "Names", "Slice", "Slicing"]
