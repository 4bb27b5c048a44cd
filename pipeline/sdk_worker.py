"""The worker's side of `worker_processes`: Beam's Python worker, in a process that ends when its driver is gone."""

import sys

GRACE_SECONDS = 1  # SIGTERM ends a worker at once, unless whoever started the driver had it ignored

if __name__ == "__main__":
    from pipeline.processes import end_with_parent

    end_with_parent(GRACE_SECONDS)

    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
