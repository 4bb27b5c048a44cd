"""Files of a workspace, on a disk or in an object store: written whole, verified when read, locked."""
