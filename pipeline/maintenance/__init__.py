"""Verify, repair and reproduce what a workspace holds."""
