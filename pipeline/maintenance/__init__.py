"""Verify, repair, reproduce and delete what a workspace holds."""
