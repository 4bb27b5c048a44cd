"""Runs a pipeline that was submitted to a cluster, in this process in place of the cluster's workers."""

import sys
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment


def main() -> None:
    staged = beam_runner_api_pb2.Pipeline.FromString(Path(sys.argv[1]).read_bytes())
    for environment in staged.components.environments.values():
        environment.CopyFrom(EmbeddedPythonEnvironment.default().to_runner_api(None))
    state = FnApiRunner().run_via_runner_api(staged, PipelineOptions([])).wait_until_finish()
    sys.exit(0 if state == "DONE" else f"the pipeline ended in state {state}")


if __name__ == "__main__":
    main()
