"""Worker processes of Beam's local engine, which replace those that Beam starts.

Beam's own workers import modules from the current folder and survive a killed driver by minutes; and if one ends before
it has connected, the job waits for it forever.
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
STOP_SECONDS = 10  # for a worker to end after the job
GRACE_SECONDS = 1  # between SIGTERM and SIGKILL: a worker may have inherited that SIGTERM is ignored
POLL_SECONDS = 0.2


def use_own_workers() -> None:
    """Register `WorkerProcess` with Beam's local engine."""
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WorkerProcess)


class WorkerProcess(GrpcWorkerHandler):  # type: ignore[misc]
    """A worker process; it shares the driver's standard error."""

    def __init__(self, _: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        """Start the process, and a thread that reports its early end."""
        options = json_format.MessageToDict(self.provision_info.provision_info.pipeline_options)
        variables = {  # read by `sdk_worker_main`
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json.dumps(options),
            "WORKER_ID": self.worker_id,
        }
        process = start_child(COMMAND, variables)
        self._process = process
        threading.Thread(target=self._watch, args=(process,), name=f"watch {self.worker_id}", daemon=True).start()

    def stop_worker(self) -> None:
        """Wait for the process, which ends when its connection is closed; kill it after STOP_SECONDS."""
        self._stopping.set()
        if self._process is None:  # it could not be started
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """If the process ends before the job, answer all of the engine's requests to it with an error."""
        problem = EngineFailed(f"the engine failed: a worker process {_describe_exit(process.wait())}")
        text = "".join(traceback.format_exception_only(problem))
        while not self._stopping.wait(POLL_SECONDS):
            # Beam's reader of the worker's output waits until the future is done; aborting it would not make it so.
            for future in list(self.control_conn._futures_by_id.values()):
                if not future.is_done():
                    future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=text))


def _describe_exit(code: int) -> str:
    if code < 0:
        names = {each.value: each.name for each in signal.Signals}  # most real-time signals have none
        return f"was killed by {names.get(-code, f'signal {-code}')}"
    return f"ended with code {code} before its work was done"


if __name__ == "__main__":  # the worker process
    end_with_parent(GRACE_SECONDS)

    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
