"""The child's side of a scheduled run: the command line, in a process that ends when its scheduler is gone.

The scheduler holds the other end of this process's standard input and never writes to it. If it is killed, however that
is done, the input ends, and the run is terminated as by SIGTERM: it saves a checkpoint and gives the workspace free. A
pipe does that on every POSIX system; prctl's parent-death signal is of Linux alone, and has to be set between fork and
exec.
"""

import os
import signal
import sys
import threading


def end_with_parent() -> None:
    """Have this process terminated once its standard input ends."""
    threading.Thread(target=_wait_for_end, name="end with the scheduler", daemon=True).start()


def _wait_for_end() -> None:
    while os.read(sys.stdin.fileno(), 2**10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from pipeline.cli import main

    end_with_parent()
    main()
