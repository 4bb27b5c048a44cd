"""Files of a workspace, on a disk or in an object store: atomic writes, verified reads, locks and tables."""
