"""The process of a scheduled run: the command line, in a process that ends when its scheduler is gone."""

from pipeline.cli.main import main
from pipeline.processes import end_with_parent

GRACE_SECONDS = 60  # to save a checkpoint, to a slow disk or a store

if __name__ == "__main__":
    end_with_parent(GRACE_SECONDS)
    main()
