"""Beam's job service for Python with two workers for each job, where the service itself starts one."""

import sys
from typing import Any

from apache_beam.runners.portability import local_job_service, local_job_service_main
from apache_beam.runners.portability.fn_api_runner import FnApiRunner


class TwoWorkersRunner(FnApiRunner):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._num_workers = 2


if __name__ == "__main__":
    local_job_service.fn_runner.FnApiRunner = TwoWorkersRunner
    local_job_service_main.run(sys.argv[1:])
