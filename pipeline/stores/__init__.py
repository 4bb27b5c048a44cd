"""Remote file systems."""
