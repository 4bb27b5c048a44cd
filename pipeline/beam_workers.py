"""Worker processes of the local engine, in place of those that Beam starts itself.

Beam's own workers import from the current folder, live on for minutes when the driver is killed, and if they end before
they have connected, the job waits for them for ever.
"""

import json
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from google.protobuf import json_format, text_format

from model.errors import EngineFailed
from pipeline.processes import end_with_parent, start_child

COMMAND = (sys.executable, "-m", "pipeline.beam_workers")
STOP_SECONDS = 10  # for a worker to end once the job has
GRACE_SECONDS = 1  # SIGTERM ends a worker at once, unless whoever started the driver had it ignored
POLL_SECONDS = 0.2


def use_own_workers() -> None:
    """Have Beam's local engine start its worker processes by `WorkerProcess`."""
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WorkerProcess)


class WorkerProcess(GrpcWorkerHandler):  # type: ignore[misc]
    """A worker in a process of its own. Its standard error is the driver's."""

    def __init__(self, _: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._stopping = threading.Event()

    def start_worker(self) -> None:
        """Start the process, and a thread that waits for its end."""
        options = json_format.MessageToDict(self.provision_info.provision_info.pipeline_options)
        variables = {  # which Beam's worker reads
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json.dumps(options),
            "WORKER_ID": self.worker_id,
        }
        self._process = start_child(COMMAND, variables)
        threading.Thread(target=self._watch, name=f"watch {self.worker_id}", daemon=True).start()

    def stop_worker(self) -> None:
        """Wait for the process to end, as it does once its connection is closed; kill it if it does not."""
        self._stopping.set()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()

    def _watch(self) -> None:
        """If the process ends too early, answer in its place whatever it is asked: that it is gone."""
        problem = EngineFailed(f"the engine failed: a worker process {_how_ended(self._process.wait())}")
        text = "".join(traceback.format_exception_only(problem))
        while not self._stopping.wait(POLL_SECONDS):
            # An aborted future is not "done", for which Beam's reader of the worker's output waits; an answer is.
            for future in list(self.control_conn._futures_by_id.values()):
                if not future.is_done():
                    future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=text))


def _how_ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code} before its work was done"


if __name__ == "__main__":  # the worker's side
    end_with_parent(GRACE_SECONDS)

    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
