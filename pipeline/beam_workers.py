"""Worker processes of Beam's local engine, which replace those that Beam starts.

Beam's own workers import modules from the current folder and survive a killed driver by minutes; and if one ends before
it has connected, the job waits for it forever.
"""

import json
import threading
import traceback
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from google.protobuf import json_format, text_format

from pipeline.worker_server import Worker, start_worker, worker_error

STOP_SECONDS = 10  # for a worker to end after the job
POLL_SECONDS = 0.2


def use_own_workers() -> None:
    """Register `WorkerProcess` with Beam's local engine."""
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WorkerProcess)


class WorkerProcess(GrpcWorkerHandler):  # type: ignore[misc]
    """A worker process; it shares the driver's standard error."""

    def __init__(self, _: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._worker: Worker | None = None

    def start_worker(self) -> None:
        """Start the process, and a thread that reports its early end."""
        options = json_format.MessageToDict(self.provision_info.provision_info.pipeline_options)
        variables = {  # read by `sdk_worker_main`
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json.dumps(options),
            "WORKER_ID": self.worker_id,
        }
        worker = start_worker(variables)
        self._worker = worker
        threading.Thread(target=self._watch, args=(worker,), name=f"watch {self.worker_id}", daemon=True).start()

    def stop_worker(self) -> None:
        """Wait for the process, which ends when its connection is closed; kill it after STOP_SECONDS."""
        self._stopping.set()
        if self._worker is None:  # it could not be started
            return
        if not self._ended.wait(STOP_SECONDS):
            self._worker.kill()
            self._ended.wait()

    def _watch(self, worker: Worker) -> None:
        """If the process ends before the job, answer all of the engine's requests to it with an error."""
        try:
            code = worker.wait()
        finally:
            self._ended.set()
        text = "".join(traceback.format_exception_only(worker_error(code)))
        while not self._stopping.wait(POLL_SECONDS):
            # Beam's reader of the worker's output waits until the future is done; aborting it would not make it so.
            for future in list(self.control_conn._futures_by_id.values()):
                if not future.is_done():
                    future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=text))
