"""The process of a scheduled run: the command line, ended when its scheduler dies."""

from pipeline.cli.main import main
from pipeline.processes import end_with_parent

GRACE_SECONDS = 60  # time to save a checkpoint to a slow disk or an object store

if __name__ == "__main__":
    end_with_parent(GRACE_SECONDS)
    main()
