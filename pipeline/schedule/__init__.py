"""Retraining by the clock."""
