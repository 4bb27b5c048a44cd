"""The child's side of a scheduled run: the command line, in a process that ends when its scheduler is gone.

If the scheduler is killed, however that is done, the run is terminated as by SIGTERM: it saves a checkpoint and gives
the workspace free.
"""

GRACE_SECONDS = 60  # to save a checkpoint, to a slow disk or a store

if __name__ == "__main__":
    from pipeline.child_process import end_with_parent
    from pipeline.cli import main

    end_with_parent(GRACE_SECONDS)
    main()
