"""What a slicing of your own needs: see "Slices of your own" in docs/tables.md."""

from pipeline.evaluate.slices import SLICINGS, Answered, Names, Slice, Slicing

__all__ = ["SLICINGS", "Answered", "Names", "Slice", "Slicing"]
