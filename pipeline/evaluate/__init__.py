"""Evaluate runs: tables of predictions and metrics, comparisons of runs, predictions for image files."""
