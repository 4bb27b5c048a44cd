"""Verify, repair, reproduce and delete the runs and data sets of a workspace."""
